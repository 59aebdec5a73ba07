"""The applications of a project: what is mounted in what, and whose modules import which."""

import ast
from collections.abc import Iterator

from .names import last_name
from .project import Project
from .routes import MADE_APP, app_around
from .syntax import Imported, Module, Scope
from .values import argument


class Apps:
    """``made``: the calls that make one, and where."""

    def __init__(self, project: Project, scopes: list[Scope]) -> None:
        self.meaning = project.meaning
        calls = [(call, scope) for scope in scopes for call in scope.calls]
        self.made = {call: scope for call, scope in calls if MADE_APP.match(self.meaning.name(call.func, scope) + "()")}
        self._parents: dict[ast.Call, set[ast.Call]] = {}
        for call, scope in calls:
            if (inner := self.taken_in(call)) is not None:
                self.mount(call, scope, inner)
        self._reached: dict[ast.Call, set[str]] = {}

    @staticmethod
    def taken_in(call: ast.Call) -> ast.expr | None:
        """``Mount("/x", inner)``, ``app.mount("/x", inner)``, ``app.include_router(inner)`` and their like."""
        last = last_name(call.func)
        if last in ("Mount", "mount", "add_subapp"):
            return argument(call, "app", 1)
        return call.args[0] if last in ("include_router", "register_blueprint", "add_routes") and call.args else None

    def mount(self, call: ast.Call, scope: Scope, taken: ast.expr) -> None:
        inner = self.meaning.of(taken, scope)
        on = self.meaning.of(call.func.value, scope) if isinstance(call.func, ast.Attribute) else None
        outer = app_around(call, scope, self.meaning) or (on.call if on else None)
        if inner and inner.call and outer:
            self._parents.setdefault(inner.call, set()).add(outer)

    def above(self, app: ast.Call) -> set[ast.Call]:
        """It, and what it is mounted in."""
        found, waiting = {app}, [app]
        while waiting:
            outer = self._parents.get(waiting.pop(), set()) - found
            found |= outer
            waiting += outer
        return found

    def reaches(self, app: ast.Call, module: Module) -> bool:
        if app not in self._reached:
            self._reached[app] = self.imported_by(self.made[app].module) if app in self.made else set()
        return module.dotted in self._reached[app]

    def imported_by(self, module: Module) -> set[str]:
        """The project's modules that this one imports, those that they import, and so on."""
        found, waiting = {module.dotted}, [module]
        while waiting:
            for inner in self.imports(waiting.pop()):
                if inner.dotted not in found:
                    found.add(inner.dotted)
                    waiting.append(inner)
        return found

    def imports(self, module: Module) -> Iterator[Module]:
        bindings = (one for scope in module.scopes.values() for some in scope.bindings.values() for one in some)
        for dotted in {one.dotted.lstrip(".") for one in bindings if isinstance(one, Imported)}:
            for name in (dotted, dotted.rpartition(".")[0]):
                if name and (inner := self.meaning.module(name, module)):
                    yield inner
