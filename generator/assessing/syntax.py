"""A module as Python's own parser sees it: its scopes, what each name in them is bound to, and its functions."""

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from .files import Source

Callable = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
ScopeNode = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
WITHOUT_PLACE = {"ctx", "op", "ops", "kind", "type_comment", "type_ignores"}
NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Imported(NamedTuple):
    dotted: str


class Bound(NamedTuple):
    """A name set to the value of an expression; the annotation says what the value may not."""

    value: ast.expr
    annotation: ast.expr | None = None


class Parameter(NamedTuple):
    annotation: ast.expr | None
    default: ast.expr | None


class Defined(NamedTuple):
    scope: "Scope"


Binding = Imported | Bound | Parameter | Defined


@dataclass(eq=False, slots=True)
class Scope:
    """A module, a class or a function, with what its names are bound to."""

    module: "Module"
    node: ScopeNode
    parent: "Scope | None"
    name: str
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    attributes: dict[str, list[tuple["Scope", ast.expr]]] = field(default_factory=dict)  # of a class: self.x = ...
    calls: list[ast.Call] = field(default_factory=list)
    nodes: list[ast.AST] = field(default_factory=list)  # what runs when this runs: not the bodies of functions in it
    elsewhere: dict[str, "Scope"] = field(default_factory=dict)  # names that ``global`` and ``nonlocal`` lend

    @property
    def key(self) -> str:
        return f"{self.module.dotted}:{self.name}"

    @property
    def node_name(self) -> str:
        return self.name.rpartition(".")[2] or self.module.source.name

    @property
    def is_async(self) -> bool:
        return isinstance(self.node, ast.AsyncFunctionDef)

    @property
    def is_function(self) -> bool:
        return isinstance(self.node, NESTED)

    @property
    def in_class(self) -> "Scope | None":
        """The class whose method this is."""
        return self.parent if self.parent and isinstance(self.parent.node, ast.ClassDef) and self.is_function else None

    @property
    def decorators(self) -> list[ast.expr]:
        return [] if isinstance(self.node, (ast.Module, ast.Lambda)) else self.node.decorator_list


@dataclass(eq=False)
class Module:
    """A parsed source.  *dotted* is its path with dots, from the folder that is assessed."""

    source: Source
    tree: ast.Module
    lines: list[int] | None = None  # of a notebook: the line in the file of each line of the code

    def __post_init__(self) -> None:
        self.scopes: dict[ast.AST, Scope] = {}
        self.parents: dict[ast.AST, ast.AST] = {}
        self.strings: list[ast.Constant] = []
        self.top = Scope(self, self.tree, None, "")
        Reader(self).read(self.tree, self.top)

    @cached_property
    def dotted(self) -> str:
        parts = self.source.name.rsplit(".", 1)[0].split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)

    @property
    def package(self) -> list[str]:
        parts = self.dotted.split(".")
        return parts if self.source.name.endswith("__init__.py") else parts[:-1]

    @property
    def functions(self) -> Iterator[Scope]:
        return (scope for scope in self.scopes.values() if scope.is_function)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def place(self, node: ast.AST) -> tuple[int, int]:
        """Line and column in the file, both from 1, in characters."""
        line, at = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        text = self.source_line(line)
        column = len(text.encode()[:at].decode("utf-8", "ignore")) + 1
        return (self.lines[line - 1] if self.lines and line <= len(self.lines) else line), column

    @cached_property
    def _source_lines(self) -> list[str]:
        return self.source.lines

    def source_line(self, line: int) -> str:
        return self._source_lines[line - 1] if 0 < line <= len(self._source_lines) else ""


def parse(source: Source, lines: list[int] | None = None) -> Module:
    """Raises ValueError with one line for what Python 3 can't parse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Module(source, ast.parse(source.text), lines)
        except SyntaxError as error:
            raise ValueError(f"line {error.lineno}: {error.msg}") from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"Python's parser: {str(error) or type(error).__name__}") from None


class Reader:
    """One walk that fills in scopes, bindings, calls and parents; an explicit stack, for deep trees."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def read(self, tree: ast.Module, top: Scope) -> None:
        self.module.scopes[tree] = top
        waiting: list[tuple[ast.AST, Scope]] = [(tree, top)]
        while waiting:
            node, scope = waiting.pop()
            inner = self.enter(node, scope)
            for name, children in reversed(list(fields(node))):
                where = inner if name == "body" or inner is scope else scope  # defaults and decorators run outside
                for child in reversed(children):
                    self.module.parents[child] = node
                    where.nodes.append(child)
                    waiting.append((child, where))

    def enter(self, node: ast.AST, scope: Scope) -> Scope:
        if isinstance(node, (*NESTED, ast.ClassDef)):
            return self.define(node, scope)
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self.module.strings.append(node)
        elif isinstance(node, ast.Call):
            scope.calls.append(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self.imports(node, scope)
        else:
            self.assigns(node, scope)
        return scope

    def define(self, node: Callable | ast.ClassDef, scope: Scope) -> Scope:
        last = f"lambda@{node.lineno}:{node.col_offset}" if isinstance(node, ast.Lambda) else node.name
        inner = Scope(self.module, node, scope, f"{scope.name}.{last}" if scope.name else last)
        self.module.scopes[node] = inner
        bind(scope, last, Defined(inner))
        if not isinstance(node, ast.ClassDef):
            for name, parameter in parameters(node.args):
                bind(inner, name, parameter)
        return inner

    def imports(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bind(
                    scope,
                    alias.asname or alias.name.split(".")[0],
                    Imported(alias.name if alias.asname else alias.name.split(".")[0]),
                )
            return
        above = self.module.package[: len(self.module.package) - node.level + 1] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            bind(scope, alias.asname or alias.name, Imported(("." if node.level else "") + f"{source}.{alias.name}"))

    def assigns(self, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self.bind_target(target, node.value, scope)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            bind(scope, node.target.id, Bound(node.value, node.annotation))
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            self.bind_target(node.target, node.value, scope)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            bind(scope, node.target.id, Parameter(node.annotation, None))
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            self.bind_target(node.optional_vars, node.context_expr, scope)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            for name in ast.walk(node.target):
                if isinstance(name, ast.Name):
                    bind(scope, name.id, Parameter(None, None))
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            lender = self.module.top if isinstance(node, ast.Global) or scope.parent is None else scope.parent
            scope.elsewhere |= dict.fromkeys(node.names, lender)

    def bind_target(self, target: ast.expr, value: ast.expr, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            bind(scope, target.id, Bound(value))
        elif (
            isinstance(target, ast.Attribute)
            and isinstance(target.value, ast.Name)
            and target.value.id in ("self", "cls")
        ):
            home = scope
            while home.parent and not isinstance(home.node, ast.ClassDef):
                home = home.parent
            home.attributes.setdefault(target.attr, []).append((scope, value))
        elif isinstance(target, ast.Attribute):
            self.module.top.attributes.setdefault(f"*.{target.attr}", []).append((scope, value))
            if isinstance(target.value, ast.Name):  # `local.session = ...`, as this module calls it
                self.module.top.attributes.setdefault(f"{target.value.id}.{target.attr}", []).append((scope, value))
        elif isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List)):
            for one, its in zip(target.elts, value.elts, strict=False):
                self.bind_target(one, its, scope)


def fields(node: ast.AST) -> Iterator[tuple[str, list[ast.AST]]]:
    """Its children by name, but for what stands nowhere: contexts and operators."""
    for name in node._fields:
        if name not in WITHOUT_PLACE:
            value = getattr(node, name, None)
            if isinstance(value, list):
                yield name, [one for one in value if isinstance(one, ast.AST)]
            elif isinstance(value, ast.AST):
                yield name, [value]


def bind(scope: Scope, name: str, binding: Binding) -> None:
    scope.elsewhere.get(name, scope).bindings.setdefault(name, []).append(binding)


def parameters(args: ast.arguments) -> Iterator[tuple[str, Parameter]]:
    plain = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    for arg, default in [*zip(plain, defaults, strict=True), *zip(args.kwonlyargs, args.kw_defaults, strict=True)]:
        yield arg.arg, Parameter(arg.annotation, default)
    for rest in (args.vararg, args.kwarg):
        if rest:
            yield rest.arg, Parameter(None, None)
