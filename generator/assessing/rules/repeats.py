"""The same words, spoken and paid for again."""

import ast
import re
from collections.abc import Iterator

from .. import facts
from ..findings import Severity
from ..names import last_name
from ..routes import Route, routes
from ..rule import Case, Hit, Rule, at
from ..spending import Spend, is_unsaid
from ..syntax import Scope
from ..values import argument, text_of
from .retries import unnested

CACHES = re.compile(r"cache|memo|lru|store(?!d_)|redis|exists\(|is_?file\(|is None|not in |if not _", re.IGNORECASE)
MISSED = re.compile(r"KeyError|LookupError|FileNotFoundError|DoesNotExist")
SPOKEN = ("text_to_speech.", "generate", "text_to_dialogue.", "text_to_sound_effects.")
CHOICES = ("voice_id", "voice", "model_id", "model", "voice_settings", "output_format", "language_code", "seed")


def repeated(case: Case) -> Iterator[Hit]:
    served = {route.handler.key: route for route in routes(case.project)}
    for spend in case.spending.all:
        given = text_given(spend, case)
        if not spend.paid or given is None or not speaks(spend) or is_cached(spend.scope):
            continue
        yield from given_by_callers(given, spend.scope, case, served)
        text = constant_text(given, spend, case)
        if not text:
            continue
        if loop := loop_around(spend.call, spend.scope):
            yield at(spend.module, spend.call, in_loop(loop, text))
        elif route := route_of(spend, case, served):
            yield at(spend.module, spend.call, f"the same text at every request of {route.says}: {price(text)}")


def speaks(spend: Spend) -> bool:
    """Does it turn text into sound?  The path of an HTTP call may be its caller's; then its text says so."""
    return spend.what.startswith(SPOKEN) or "text-to-speech" in spend.what or (spend.http and is_unsaid(spend.what))


def given_by_callers(
    given: ast.expr, scope: Scope, case: Case, served: dict[str, Route], depth: int = 2
) -> Iterator[Hit]:
    """A route or a loop that hands its constant text to a helper, or to a helper of that."""
    node = scope.node
    if not isinstance(given, ast.Name) or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args) if arg.arg not in ("self", "cls")]
    if given.id not in names:
        return
    for call, caller in case.spending.callers.get(scope.key, []):
        said = argument(call, given.id, names.index(given.id))
        if not isinstance(said, (ast.Constant, ast.Name, ast.Attribute)) or is_cached(caller):
            continue
        text = text_of(said, caller, case.project.meaning)
        if text and "{}" not in text:
            if loop := loop_around(call, caller):
                yield at(caller.module, call, in_loop(loop, text))
            elif caller.key in served:
                says = served[caller.key].says
                yield at(caller.module, call, f"the same text at every request of {says}: {price(text)}")
        elif depth:
            yield from given_by_callers(said, caller, case, served, depth - 1)


def in_loop(line: int, text: str) -> str:
    return f"the same text at every turn of the loop in line {line}: {price(text)}"


def price(text: str) -> str:
    usd = len(text) * facts.usd_per_1000() / 1000
    return f"{len(text):,} characters are {usd:.4f} USD at the list price, each time"


def constant_text(given: ast.expr, spend: Spend, case: Case) -> str:
    """The text, where it is the same at every call."""
    if any(isinstance(node, ast.Call) and "environ" not in ast.unparse(node) for node in ast.walk(given)):
        return ""
    text = text_of(given, spend.scope, case.project.meaning)
    return "" if "{}" in text else text


def text_given(spend: Spend, case: Case) -> ast.expr | None:
    """The argument, or the field of the body, that is spoken."""
    if spend.what.endswith("convert_realtime"):
        return None
    given = argument(spend.call, "text", 0 if spend.what == "generate" else None)
    body = argument(spend.call, "json") or argument(spend.call, "data")
    if isinstance(body, ast.Call) and last_name(body.func) in ("dumps", "encode") and body.args:
        body = body.args[0]
    if given is None and spend.http and isinstance(body, ast.Name):
        body = next((value for value, _ in case.project.meaning.values(body, spend.scope)), body)
    return of_dict(body, "text") if given is None and isinstance(body, ast.Dict) else given


def of_dict(body: ast.Dict, name: str) -> ast.expr | None:
    pairs = zip(body.keys, body.values, strict=True)
    return next((value for key, value in pairs if isinstance(key, ast.Constant) and key.value == name), None)


def is_cached(scope: Scope) -> bool:
    """By a decorator, or by a look before the call: anything in its function that asks whether it is there already."""
    if any(CACHES.search(ast.unparse(decorator)) for decorator in scope.decorators):
        return True
    if any(missed_first(node) for node in scope.nodes):
        return True
    tests = (node.test for node in scope.nodes if isinstance(node, (ast.If, ast.IfExp, ast.While)))
    if any(CACHES.search(ast.unparse(test)) for test in tests):
        return True
    return any(
        isinstance(node, ast.Call) and re.search(r"cache", ast.unparse(node.func), re.IGNORECASE)
        for node in scope.nodes
    )


def missed_first(node: ast.AST) -> bool:
    """A cache that is asked, and left by an exception where it has nothing."""
    if isinstance(node, ast.With):
        waits = [ast.unparse(item.context_expr) for item in node.items if "suppress" in ast.unparse(item.context_expr)]
    elif isinstance(node, ast.Try):
        waits = [ast.unparse(one.type) for one in node.handlers if one.type]
    else:
        return False
    hit = any(isinstance(inner, ast.Return) for statement in node.body for inner in unnested(statement))
    return hit and any(MISSED.search(said) for said in waits)


def loop_around(call: ast.Call, scope: Scope) -> int:
    """The line of a loop that says the same in the same voice at every turn; 0 where there is none."""
    for above in scope.module.above(call):
        if above is scope.node:
            return 0
        if isinstance(above, (ast.For, ast.AsyncFor, ast.While)):
            turned = (
                set()
                if isinstance(above, ast.While)
                else {node.id for node in ast.walk(above.target) if isinstance(node, ast.Name)}
            )
            used = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
            derived = {name for name in used if name in set_in(above)}
            if not turned & used and not derived and not leaves_after(call, scope, above):
                return scope.module.place(above)[0]
            return 0
    return 0


def set_in(loop: ast.For | ast.AsyncFor | ast.While) -> set[str]:
    """Names that the loop's body sets: other ones each turn, perhaps."""
    inner = (node for statement in loop.body for node in ast.walk(statement))
    return {node.id for node in inner if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def leaves_after(call: ast.Call, scope: Scope, loop: ast.For | ast.AsyncFor | ast.While) -> bool:
    """A loop that ends with the first success is a retry."""
    node: ast.AST = call
    for above in scope.module.above(call):
        if isinstance(node, (ast.Return,)):
            return True
        for block in (getattr(above, "body", None), getattr(above, "orelse", None)):
            if isinstance(block, list) and node in block:
                rest = [*block[block.index(node) :], *(above.orelse if isinstance(above, ast.Try) else [])]
                if any(isinstance(inner, (ast.Return, ast.Break)) for one in rest for inner in unnested(one)):
                    return True
        if above is loop:
            return False
        node = above
    return False


def route_of(spend: Spend, case: Case, served: dict[str, Route]) -> Route | None:
    """The route whose request leads to this call, at once or through one helper."""
    if route := served.get(spend.scope.key):
        return route
    callers = case.spending.callers.get(spend.scope.key, [])
    return next(
        (served[caller.key] for call, caller in callers if caller.key in served and not is_cached(caller)), None
    )


RULES = [
    Rule(
        "repeated-synthesis", "The same text is paid for again and again", Severity.warning,
        "the same seed gives the same length and other bytes: only a cache repeats audio, and a hit costs nothing",
        "speak it once and keep the audio: in a file, or in a cache whose key has text, voice, model and settings",
        repeated,
    )
]  # fmt: skip
