"""What an expression means: a dotted name, whichever alias, variable or attribute it goes by.

``elevenlabs.ElevenLabs()`` is an instance, ``elevenlabs.ElevenLabs().text_to_speech.convert`` its method;
``shop.tts:Speaker.speak`` is the project's own.  Followed are imports and re-exports, variables, attributes
of ``self``, parameters by annotation or ``Depends``, what the project's functions return, and partials.
"""

import ast
import builtins
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .syntax import Binding, Bound, Defined, Imported, Module, Parameter, Scope

OTHERS = {
    "aiohttp",
    "django",
    "elevenlabs",
    "fastapi",
    "flask",
    "httpx",
    "litestar",
    "requests",
    "starlette",
    "tenacity",
}
DEEPEST = 12  # steps from name to name
HOLDERS = {"state", "app", "application", "current_app", "g", "extensions", "ctx", "context", "config", "bot"}
MEMBERS = {
    "text_to_speech",
    "speech_to_text",
    "text_to_dialogue",
    "text_to_sound_effects",
    "speech_to_speech",
    "audio_isolation",
}
TRANSPARENT = ("with_raw_response", "with_streaming_response")
HANDED_ON = {"functools.partial", "functools.partialmethod", "copy.copy", "weakref.proxy"}
FIELDS = {"dataclasses.field", "attrs.field", "attr.ib", "attr.field", "pydantic.Field", "pydantic.fields.Field"}
DEPENDS = {"fastapi.Depends", "fastapi.Security", "fastapi.params.Depends", "fast_depends.Depends"}
MOVED = (
    ("elevenlabs.client.", "elevenlabs."),
    ("elevenlabs.base_client.Base", "elevenlabs."),
    ("elevenlabs.base_client.AsyncBase", "elevenlabs.Async"),
)


class Known(NamedTuple):
    """A dotted name, and the call that made the instance it belongs to, with that call's scope."""

    name: str
    call: ast.Call | None = None
    scope: Scope | None = None


class Names:
    def __init__(self, modules: Iterable[Module]) -> None:
        self._by_ending: dict[str, list[Module]] = defaultdict(list)
        self.functions: dict[str, Scope] = {}
        self.classes: dict[str, Scope] = {}
        self._states: dict[str, list[tuple[Scope, ast.expr]]] = defaultdict(list)
        self._found: dict[ast.expr, Known | None] = {}
        for module in modules:
            self._add(module)

    def _add(self, module: Module) -> None:
        parts = module.dotted.split(".")
        for start in range(len(parts)):
            self._by_ending[".".join(parts[start:])].append(module)
        for scope in module.scopes.values():
            if scope.is_function:
                self.functions[scope.key] = scope
            elif isinstance(scope.node, ast.ClassDef):
                self.classes[scope.key] = scope
        for name, values in module.top.attributes.items():
            self._states[name] += values

    # -- names ------------------------------------------------------------------------------------------------------

    def of(self, expr: ast.expr, scope: Scope, depth: int = 0) -> Known | None:
        """None where it can't be told from the source."""
        if expr in self._found:
            return self._found[expr]
        if depth > DEEPEST:
            return None
        self._found[expr] = None  # a name that leads to itself
        self._found[expr] = found = self._of(expr, scope, depth + 1)
        return found

    def name(self, expr: ast.expr, scope: Scope) -> str:
        known = self.of(expr, scope)
        return known.name if known else ""

    def _of(self, expr: ast.expr, scope: Scope, depth: int) -> Known | None:
        match expr:
            case ast.Name(id=name):
                return self._named(name, scope, depth)
            case ast.Attribute(value=value, attr=attr):
                if last_name(value) in HOLDERS and (kept := self._state(attr, depth)):
                    return kept
                base = self.of(value, scope, depth)
                if base and ":" not in base.name and (kept := self._kept_on(expr, scope, depth)):
                    return kept
                return self._member(base, attr, depth) if base else self._by_its_members(expr, scope)
            case ast.Call():
                return self._called(expr, scope, depth)
            case ast.Await(value=value) | ast.NamedExpr(value=value):
                return self.of(value, scope, depth)
            case ast.IfExp(body=body, orelse=orelse):
                return fullest(self.of(one, scope, depth) for one in (body, orelse))
            case ast.BoolOp(values=values):
                return fullest(self.of(value, scope, depth) for value in values)
            case _:
                return None

    def _kept_on(self, expr: ast.Attribute, scope: Scope, depth: int) -> Known | None:
        """``threading.local().session`` and its like: what this module itself keeps on somebody else's object."""
        name = expr.value.id if isinstance(expr.value, ast.Name) else ""
        values = scope.module.top.attributes.get(f"{name}.{expr.attr}", [])
        return fullest(self.of(value, where, depth) for where, value in values)

    def _by_its_members(self, expr: ast.Attribute, scope: Scope) -> Known | None:
        """``client.text_to_speech`` of an unknown client: nobody else's has it; blocking where nothing is awaited."""
        old = expr.attr == "generate" and is_spoken(scope.module.parents.get(expr))
        if not old and expr.attr not in MEMBERS:
            return None
        return Known(f"elevenlabs.{'Async' if within_async(scope) else ''}ElevenLabs().{expr.attr}")

    def _named(self, name: str, scope: Scope, depth: int) -> Known | None:
        if owner := self._receiver(name, scope):
            return owner
        for where in self.visible(scope):
            if name in where.bindings:
                return self._first(where.bindings[name], where, depth)
        return Known(f"builtins.{name}") if hasattr(builtins, name) else None

    @staticmethod
    def visible(scope: Scope) -> Iterator[Scope]:
        """Scopes in which a name is looked up: a method does not see its class's names."""
        yield scope
        while (above := scope.parent) is not None:
            if not isinstance(above.node, ast.ClassDef):
                yield above
            scope = above

    @staticmethod
    def _receiver(name: str, scope: Scope) -> Known | None:
        """``self`` and ``cls``, in methods and what is defined in them."""
        where: Scope | None = scope
        while where and not where.in_class:
            where = where.parent
        if where and where.in_class and name in ("self", "cls"):
            return Known(where.in_class.key + ("()" if name == "self" else ""))
        return None

    def _first(self, bindings: list[Binding], scope: Scope, depth: int) -> Known | None:
        return next((found for binding in bindings if (found := self._bound(binding, scope, depth))), None)

    def _bound(self, binding: Binding, scope: Scope, depth: int) -> Known | None:
        match binding:
            case Imported(dotted):
                return self._imported(dotted, scope.module, depth)
            case Bound(value, annotation):
                known = self.of(value, scope, depth)
                return known or (self._annotated(annotation, scope, depth) if annotation is not None else None)
            case Defined(inner):
                return Known(inner.key)
            case Parameter(annotation, default):
                return self._parameter(annotation, default, scope, depth)

    def _parameter(
        self, annotation: ast.expr | None, default: ast.expr | None, scope: Scope, depth: int
    ) -> Known | None:
        if default is not None and (given := self.injected(default, scope, depth)):
            return given
        return self._annotated(annotation, scope, depth) if annotation is not None else None

    def injected(self, default: ast.expr, scope: Scope, depth: int = 0) -> Known | None:
        """What ``Depends(get_client)`` gives."""
        if isinstance(default, ast.Call) and self.name(default.func, scope) in DEPENDS and default.args:
            made = self.of(default.args[0], scope, depth)
            return self._result(made, default, scope, depth) if made else None
        return None

    def _annotated(self, annotation: ast.expr, scope: Scope, depth: int) -> Known | None:
        match annotation:
            case ast.Constant(value=str(text)):
                try:
                    return self._annotated(ast.parse(text, mode="eval").body, scope, depth)
                except SyntaxError:
                    return None
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self._annotated(left, scope, depth) or self._annotated(right, scope, depth)
            case ast.Subscript(value=value, slice=inner):
                if self.name(value, scope).rpartition(".")[2] not in (
                    "Annotated",
                    "Optional",
                    "ClassVar",
                    "Final",
                    "Union",
                ):
                    return None
                parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                made = (self.injected(part, scope, depth) for part in parts[1:])
                return next(filter(None, made), None) or self._annotated(parts[0], scope, depth)
            case ast.Name() | ast.Attribute():
                known = self.of(annotation, scope, depth)
                if known is None or (":" in known.name and known.name not in self.classes):
                    return self._alias(annotation, scope, depth)
                return Known(known.name + "()") if not known.name.endswith("()") else known
            case _:
                return None

    def _alias(self, annotation: ast.expr, scope: Scope, depth: int) -> Known | None:
        """``Speech = Annotated[Client, Depends(get_client)]``, under its name."""
        behind = next(self.values(annotation, scope), None)
        if behind is None or not isinstance(behind[0], ast.Subscript) or depth > DEEPEST:
            return None
        return self._annotated(*behind, depth + 1)

    # -- members and results ----------------------------------------------------------------------------------------

    def _member(self, base: Known, attr: str, depth: int) -> Known | None:
        if attr in TRANSPARENT:
            return base
        if base.name.endswith(":"):
            return self._exported(base.name[:-1], attr, depth)
        owner = self.classes.get(base.name.removesuffix("()"))
        if owner is not None:
            return self._of_class(owner, attr, depth)
        return (
            Known(plain(f"{base.name}.{attr}"), base.call, base.scope)
            if not base.name.startswith("builtins.")
            else None
        )

    def _of_class(self, owner: Scope, attr: str, depth: int) -> Known | None:
        if kept := fullest(self.of(value, scope, depth) for scope, value in owner.attributes.get(attr, [])):
            return kept
        if attr in owner.bindings:
            found = self._first(owner.bindings[attr], owner, depth)
            method = self.functions.get(found.name) if found else None
            return self._returned(method, depth) if method and self._is_property(method) else found
        assert isinstance(owner.node, ast.ClassDef)
        for base in owner.node.bases:
            known = self.of(base, owner.parent or owner, depth)
            if known and depth <= DEEPEST and (found := self._member(Known(known.name + "()"), attr, depth + 1)):
                return found
        return None

    def _is_property(self, method: Scope) -> bool:
        where = method.parent or method
        return any(self.name(one, where).endswith("property") for one in method.decorators)

    def function(self, expr: ast.expr, scope: Scope) -> Scope | None:
        """The project's function that evaluating *expr* runs: it is called here, or it is a property."""
        if isinstance(expr, ast.Call):
            return self.functions.get(self.name(expr.func, scope))
        if isinstance(expr, ast.Attribute) and (
            owner := self.classes.get(self.name(expr.value, scope).removesuffix("()"))
        ):
            method = self.functions.get(f"{owner.key}.{expr.attr}")
            return method if method and self._is_property(method) else None
        return None

    def _state(self, attr: str, depth: int) -> Known | None:
        """``app.state.client`` and its like: an attribute that the project sets once, under that name."""
        values = self._states.get(f"*.{attr}", [])
        return self.of(values[0][1], values[0][0], depth) if len(values) == 1 else None

    def _called(self, call: ast.Call, scope: Scope, depth: int) -> Known | None:
        function = self.of(call.func, scope, depth)
        if function is None:
            return None
        last = function.name.rpartition(".")[2]
        if (function.name in HANDED_ON or last in ("enter_context", "enter_async_context")) and call.args:
            return self.of(call.args[0], scope, depth)
        if function.name in FIELDS:
            made = next((one.value for one in call.keywords if one.arg in ("default_factory", "factory")), None)
            known = self.of(made, scope, depth) if made is not None else None
            return self._result(known, call, scope, depth) if known else None
        if function.name == "typing.cast" and len(call.args) == 2:
            return self._annotated(call.args[0], scope, depth) or self.of(call.args[1], scope, depth)
        return self._result(function, call, scope, depth)

    def _result(self, function: Known, call: ast.Call, scope: Scope, depth: int) -> Known | None:
        called = f"{function.name.removesuffix('()')}.__call__" if function.name.endswith("()") else function.name
        if own := self.functions.get(called):
            return self._returned(own, depth)
        return Known(plain(function.name + "()"), call, scope)

    def _returned(self, function: Scope, depth: int) -> Known | None:
        values = [node.value for node in function.nodes if isinstance(node, (ast.Return, ast.Yield)) and node.value]
        if isinstance(function.node, ast.Lambda):
            values = [function.node.body]
        found = next((found for value in values if (found := self.of(value, function, depth))), None)
        annotation = getattr(function.node, "returns", None)
        return found or (self._annotated(annotation, function.parent or function, depth) if annotation else None)

    def values(self, expr: ast.expr, scope: Scope) -> Iterator[tuple[ast.expr, Scope]]:
        """The expressions that a name or an attribute was set to, with the scope to read each in."""
        match expr:
            case ast.Name(id=name):
                for where in self.visible(scope):
                    if name in where.bindings:
                        yield from self._values(where.bindings[name], where)
                        return
            case ast.Attribute(value=value, attr=attr):
                base = self.name(value, scope)
                if base.endswith(":"):
                    top = self._top(base[:-1])
                    yield from self._values(top.bindings.get(attr, []), top) if top else ()
                elif owner := self.classes.get(base.removesuffix("()")):
                    yield from ((its, where) for where, its in owner.attributes.get(attr, []))
                    yield from self._values(owner.bindings.get(attr, []), owner)

    def _values(self, bindings: list[Binding], where: Scope) -> Iterator[tuple[ast.expr, Scope]]:
        for binding in bindings:
            match binding:
                case Bound(value, _):
                    yield value, where
                case Imported(dotted):
                    home, _, last = dotted.lstrip(".").rpartition(".")
                    module = self.module(home, where.module, near=dotted.startswith(".")) if home else None
                    if module and module.top is not where:
                        yield from self._values(module.top.bindings.get(last, []), module.top)
                case Parameter(_, default):
                    yield default or ast.Constant(value=None), where

    def _top(self, dotted: str) -> Scope | None:
        return next((module.top for module in self._by_ending.get(dotted, []) if module.dotted == dotted), None)

    # -- imports ----------------------------------------------------------------------------------------------------

    def _imported(self, dotted: str, importer: Module, depth: int) -> Known | None:
        """The project's module, or a name in it; else somebody else's, by its own name."""
        own, near = dotted.lstrip("."), dotted.startswith(".")
        if (module := self.module(own, importer, near=near)) is not None:
            return Known(module.dotted + ":")
        home, _, last = own.rpartition(".")
        if home and (module := self.module(home, importer, near=near)) is not None:
            return self._exported(module.dotted, last, depth) or Known(f"{module.dotted}:{last}")
        return Known(plain(own)) if not dotted.startswith(".") else None

    def module(self, dotted: str, importer: Module, *, near: bool = False) -> Module | None:
        """The project's module of that name: of several, the one nearest to who imports it.

        *near* is a relative import: a package may be called ``site`` or ``email`` then.
        """
        first = dotted.split(".")[0]
        if not near and (first in OTHERS or first in sys.stdlib_module_names):
            return None
        there = [module for module in self._by_ending.get(dotted, []) if module is not importer]
        if "." not in dotted:  # a top-level name: of the root, or of the folder that a script is started in
            roots = (dotted, f"src.{dotted}", ".".join([*importer.package, dotted]))
            there = [module for module in there if module.dotted in roots]
        if not there:
            return None
        return max(
            there,
            key=lambda module: (module.dotted == dotted, shared(module.dotted, importer.dotted), -len(module.dotted)),
        )

    def _exported(self, dotted: str, attr: str, depth: int) -> Known | None:
        top = self._top(dotted)
        if top is not None and attr in top.bindings:
            return self._first(top.bindings[attr], top, depth)
        inner = next(
            (one for one in self._by_ending.get(f"{dotted}.{attr}", []) if one.dotted == f"{dotted}.{attr}"), None
        )
        return Known(inner.dotted + ":") if inner else None


def is_spoken(call: ast.AST | None) -> bool:
    """``client.generate(text=..., voice=...)``"""
    return isinstance(call, ast.Call) and {"text", "voice"} <= {keyword.arg for keyword in call.keywords}


def within_async(scope: Scope | None) -> bool:
    return scope is not None and (scope.is_async or within_async(scope.parent))


def fullest(found: Iterable[Known | None]) -> Known | None:
    """Of ``http or Client(timeout=5)``, what was made here says more than an annotation."""
    known = [one for one in found if one]
    return next((one for one in known if one.call is not None), known[0] if known else None)


def last_name(expr: ast.expr) -> str:
    return expr.attr if isinstance(expr, ast.Attribute) else expr.id if isinstance(expr, ast.Name) else ""


def plain(name: str) -> str:
    """The SDK's classes by their public place."""
    for old, new in MOVED:
        if name.startswith(old):
            return new + name[len(old) :]
    return name


def shared(one: str, other: str) -> int:
    """How many leading parts two dotted names have in common."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return next(
        (index for index, (left, right) in enumerate(pairs) if left != right), min(one.count("."), other.count(".")) + 1
    )
