"""Which functions answer HTTP requests, in FastAPI, Starlette, Flask, Quart, Django, Litestar and aiohttp."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from .names import Names
from .project import Project
from .syntax import Module, Scope
from .values import argument, text_of

VERBS = {"get", "post", "put", "patch", "delete", "route", "api_route", "websocket", "view"}
APPS = re.compile(
    r"^(fastapi\.(?:FastAPI|APIRouter|routing\.APIRouter)|starlette\.applications\.Starlette|flask\.(?:Flask|Blueprint)"
    r"|quart\.(?:Quart|Blueprint)|aiohttp\.web\.(?:RouteTableDef|Application)|sanic\.(?:Sanic|Blueprint)|bottle\.Bottle)\(\)(?:\.router)?$"
)
MADE_APP = re.compile(
    r"^(?:fastapi\.(?:applications\.)?FastAPI|starlette\.applications\.Starlette|litestar\.(?:app\.)?Litestar|flask\.Flask|quart\.Quart"
    r"|aiohttp\.web\.Application|sanic\.Sanic|bottle\.Bottle)\(\)$"
)
BY_CALL = {
    "add_api_route": 1,
    "add_route": 1,
    "add_url_rule": 2,
    "add_post": 1,
    "add_get": 1,
    "add_api_websocket_route": 1,
}
BY_NAME = re.compile(
    r"^(?:django\.urls\.(?:re_)?path|django\.conf\.urls\.url|starlette\.routing\.(?:Route|WebSocketRoute)|aiohttp\.web\.(?:get|post|route))$"
)
LITESTAR = re.compile(r"^litestar(?:\.handlers)?\.(?:get|post|put|patch|delete|route|websocket|websocket_listener)$")
VIEW_METHODS = ("get", "post", "put", "patch", "delete", "create", "list", "retrieve", "update", "handle", "dispatch")
VIEWS = re.compile(r"(?:View|ViewSet|MethodView|HTTPEndpoint|Resource|Controller)$")


class Route(NamedTuple):
    """*owner* is the app or router (or class) that it hangs on; *around* what its registration says beside the path."""

    handler: Scope
    framework: str
    says: str
    owner: str
    around: tuple[ast.expr, ...]
    module: Module
    app: ast.Call | None = None  # the call that made the application or the router, where the registration says which


def routes(project: Project) -> Iterator[Route]:
    seen: set[str] = set()
    for module in project.served:
        for scope in list(module.scopes.values()):
            for route in (
                *decorated(scope, project.meaning),
                *registered(scope, project),
                *method_of_view(scope, project.meaning),
            ):
                if route.handler.key not in seen:
                    seen.add(route.handler.key)
                    yield route


def decorated(scope: Scope, meaning: Names) -> Iterator[Route]:
    if not scope.is_function:
        return
    for decorator in scope.decorators:
        call = decorator if isinstance(decorator, ast.Call) else None
        function = call.func if call else decorator
        where = scope.parent or scope
        path = text_of(call.args[0], where, meaning) if call and call.args else ""
        if isinstance(function, ast.Attribute) and function.attr in VERBS:
            known = meaning.of(function.value, where)
            if known and APPS.match(known.name):
                owner = ast.unparse(function.value)
                says = f"{function.attr.upper()} {path}"
                yield Route(scope, known.name.split(".")[0], says, owner, given(call), scope.module, known.call)
                return
        name = meaning.name(function, where)
        if LITESTAR.match(name):
            owner = scope.in_class.key if scope.in_class else ""
            yield Route(
                scope, "litestar", f"{name.rpartition('.')[2].upper()} {path}", owner, given(call), scope.module
            )
            return
        if name in ("rest_framework.decorators.api_view", "rest_framework.decorators.action"):
            yield Route(scope, "django", f"the view {scope.name}", "", (), scope.module)
            return


def app_around(node: ast.AST, scope: Scope, meaning: Names) -> ast.Call | None:
    """``Starlette(routes=[Route(...)])``, or ``routes = [Route(...)]`` that is given to one."""
    above = list(scope.module.above(node))
    kept = {
        target.id
        for one in above
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    given = [call for call in scope.calls if kept & {one.id for one in arguments(call) if isinstance(one, ast.Name)}]
    calls = (one for one in [*above, *given] if isinstance(one, ast.Call))
    return next((call for call in calls if MADE_APP.match(meaning.name(call.func, scope) + "()")), None)


def arguments(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args
    yield from (keyword.value for keyword in call.keywords)


def given(call: ast.Call | None) -> tuple[ast.expr, ...]:
    return (
        tuple([*call.args[1:], *(keyword.value for keyword in call.keywords if keyword.arg != "response_class")])
        if call
        else ()
    )


def registered(scope: Scope, project: Project) -> Iterator[Route]:
    """``add_url_rule``, ``path("speak/", views.speak)`` and their like."""
    meaning = project.meaning
    for call in scope.calls:
        name = meaning.name(call.func, scope)
        attr = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if attr in BY_CALL and (owner := meaning.of(call.func.value, scope)) and APPS.match(owner.name):  # type: ignore[attr-defined]
            target = (
                argument(call, "view_func") or argument(call, "endpoint", BY_CALL[attr]) or argument(call, "handler")
            )
            framework, on = owner.name.split(".")[0], ast.unparse(call.func.value)  # type: ignore[attr-defined]
            app = owner.call
        elif BY_NAME.match(name):
            target, framework, on = argument(call, "view", 1) or argument(call, "endpoint", 1), name.split(".")[0], ""
            app = app_around(call, scope, meaning)
        else:
            continue
        path = text_of(call.args[0], scope, meaning) if call.args else ""
        for handler in handlers(target, scope, meaning):
            around = (target, *given(call)) if target else ()
            yield Route(handler, framework, f"/{path.lstrip('/')}", on, around, scope.module, app)


def handlers(target: ast.expr | None, scope: Scope, meaning: Names) -> Iterator[Scope]:
    """The function behind ``views.speak``, ``login_required(views.speak)`` or ``Speak.as_view()``."""
    if target is None:
        return
    name = meaning.name(target, scope)
    if own := meaning.functions.get(name):
        yield own
    elif name in meaning.classes:
        yield from methods(name, meaning)
    elif isinstance(target, ast.Call):
        if isinstance(target.func, ast.Attribute) and target.func.attr == "as_view":
            yield from methods(meaning.name(target.func.value, scope), meaning)
        for arg in target.args:
            yield from handlers(arg, scope, meaning)
        if isinstance(target.func, ast.Call):
            yield from handlers(target.func, scope, meaning)


def methods(key: str, meaning: Names) -> Iterator[Scope]:
    for method in VIEW_METHODS:
        if own := meaning.functions.get(f"{key}.{method}"):
            yield own


def method_of_view(scope: Scope, meaning: Names) -> Iterator[Route]:
    """A class-based view answers, wherever it is registered."""
    owner = scope.in_class
    if owner is None or not isinstance(owner.node, ast.ClassDef) or scope.name.rpartition(".")[2] not in VIEW_METHODS:
        return
    bases = [meaning.name(base, owner.parent or owner) or ast.unparse(base) for base in owner.node.bases]
    if any(VIEWS.search(base) for base in bases):
        framework = next(
            (one for one in ("django", "rest_framework", "flask", "starlette") if any(one in base for base in bases)),
            "django",
        )
        yield Route(
            scope,
            "django" if framework == "rest_framework" else framework,
            f"the view {owner.name}",
            owner.key,
            (),
            scope.module,
        )
