"""Texts and numbers as far as the source says them."""

import ast

from .names import Names
from .syntax import Scope

UNKNOWN = "{}"
READS_ENVIRONMENT = {"os.getenv", "os.environ.get", "decouple.config", "os.environ.setdefault", "environ.get"}
JOINS = {"urllib.parse.urljoin", "os.path.join", "posixpath.join"}


def argument(call: ast.Call | None, name: str, position: int | None = None) -> ast.expr | None:
    if call is None:
        return None
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    plain = call.args
    return plain[position] if position is not None and position < len(plain) else None


def given(call: ast.Call, name: str, scope: Scope, meaning: Names) -> ast.expr | None:
    """A keyword of the call, or of the ``partial`` that is called."""
    bound = bound_value(call.func, scope, meaning) if isinstance(call.func, ast.Name) else None
    is_partial = isinstance(bound, ast.Call) and "partial" in ast.unparse(bound.func)
    return argument(call, name) or (argument(bound, name) if is_partial and isinstance(bound, ast.Call) else None)


def has_unpacked(call: ast.Call) -> bool:
    """Is something given by ``**``, which may be anything?"""
    return any(keyword.arg is None for keyword in call.keywords)


def text_of(expr: ast.expr | None, scope: Scope | None, meaning: Names, depth: int = 0) -> str:
    """The text, with ``{}`` for what only a run would tell; empty where it is no text at all."""
    if expr is None or scope is None or depth > 8:
        return ""
    match expr:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(value, scope, meaning, depth + 1) or UNKNOWN for value in values)
        case ast.FormattedValue(value=value):
            return text_of(value, scope, meaning, depth + 1)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = [text_of(side, scope, meaning, depth + 1) for side in (left, right)]
            return "".join(part or UNKNOWN for part in parts) if any(parts) else ""
        case ast.BinOp(left=left, op=ast.Mod()):
            return text_of(left, scope, meaning, depth + 1)
        case ast.BinOp(left=left, op=ast.Div(), right=right):  # httpx.URL, pathlib
            return text_of(left, scope, meaning, depth + 1) + "/" + text_of(right, scope, meaning, depth + 1)
        case ast.Call(func=ast.Attribute(value=value, attr="format" | "rstrip" | "strip")):
            return text_of(value, scope, meaning, depth + 1)
        case ast.Call(func=func) if (own := meaning.functions.get(meaning.name(func, scope))) is not None:
            said = {text_of(node.value, own, meaning, depth + 1) for node in own.nodes if isinstance(node, ast.Return)}
            return said.pop() if len(said) == 1 else ""
        case ast.Call(func=func, args=args):
            return text_of_call(meaning.name(func, scope), args, expr, scope, meaning, depth + 1)
        case ast.BoolOp(values=values):
            return next((text for value in values if (text := text_of(value, scope, meaning, depth + 1))), "")
        case ast.Name() | ast.Attribute():
            found = {text_of(value, where, meaning, depth + 1) for value, where in meaning.values(expr, scope)}
            return found.pop() if len(found) == 1 else ""
        case _:
            return ""


def text_of_call(name: str, args: list[ast.expr], call: ast.Call, scope: Scope, meaning: Names, depth: int) -> str:
    if name in READS_ENVIRONMENT:
        return text_of(argument(call, "default", 1), scope, meaning, depth)
    if name in JOINS:
        return "/".join(text_of(arg, scope, meaning, depth) or UNKNOWN for arg in args)
    if name in ("builtins.str", "httpx.URL", "yarl.URL", "urllib.request.Request") and args:
        return text_of(args[0], scope, meaning, depth)
    return ""


def number_of(expr: ast.expr | None, scope: Scope, meaning: Names, depth: int = 0) -> float | None:
    """A number that the source says; None where only a run would tell."""
    if depth > 8:
        return None
    match expr:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.Name() | ast.Attribute():
            found = {number_of(value, where, meaning, depth + 1) for value, where in meaning.values(expr, scope)}
            return found.pop() if len(found) == 1 else None
        case ast.Call(func=func) if (
            meaning.name(func, scope)
            in (
                "builtins.int",
                "builtins.float",
            )
            and expr.args
        ):
            inner = text_of(expr.args[0], scope, meaning)
            return float(inner) if inner.replace(".", "", 1).isdigit() else number_of(expr.args[0], scope, meaning)
        case ast.Call(func=func) if meaning.name(func, scope) in READS_ENVIRONMENT:
            default = argument(expr, "default", 1)
            text = text_of(default, scope, meaning)
            return float(text) if text.replace(".", "", 1).isdigit() else number_of(default, scope, meaning)
        case _:
            return None


def bound_value(expr: ast.expr, scope: Scope, meaning: Names) -> ast.expr | None:
    """The expression behind a name, or behind the result of one of the project's functions."""
    found = behind(expr, scope, meaning)
    return found[0] if found else None


def behind(expr: ast.expr, scope: Scope, meaning: Names, depth: int = 0) -> tuple[ast.expr, Scope] | None:
    """That expression with the scope to read it in."""
    first: tuple[ast.expr, Scope] | None = None
    if isinstance(expr, (ast.Name, ast.Attribute)):
        first = next(meaning.values(expr, scope), None)
    own = meaning.function(expr, scope) if first is None else None
    if own is not None:
        return next(((node.value, own) for node in own.nodes if isinstance(node, ast.Return) and node.value), None)
    if first is None or depth > 8:
        return first
    return behind(*first, meaning, depth + 1) or first
