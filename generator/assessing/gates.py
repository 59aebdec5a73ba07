"""What asks who calls: on a route, on its function, on its router, or on the whole application."""

import ast
import re
from collections.abc import Iterator

from .applications import Apps
from .project import Project
from .routes import MADE_APP, Route
from .syntax import Scope

# The words that everybody uses for it; that one of them is there is all that can be told from outside.
ASKS = re.compile(
    r"auth(?!or(?:s|ed|ing)?\b)|login|logged_?in|(?<!anonymous_)user|current_user|token|api_?key|jwt|permission|principal|credential|guard|require|verify|verified"
    r"|protected|secur|session|signature|signed|admin|staff|tenant|account|caller|access|oauth|identity|compare_digest|hmac",
    re.IGNORECASE,
)
NOT_ASKING = re.compile(
    r"AllowAny|csrf_exempt|AnonymousUser|authentication_classes\(\[\]\)|require_(?:http_methods|POST|GET|safe)|get_or_create|UserAgent|user_agent|max_tokens|requires_csrf",
    re.IGNORECASE,
)
REFUSES = re.compile(
    r"\b40[13]\b|HTTP_40[13]|Unauthori[sz]ed|Forbidden|PermissionDenied|NotAuthorized|PermissionDeniedException|AuthenticationFailed|NotAuthenticated|WebSocketException|login_url|redirect_to_login|redirect\([^)]*(?:login|sign_?in)"
)
BEFORE = ("get_permissions", "dispatch", "initial", "prepare", "check_permissions")  # a view runs it first
NOBODY = re.compile(r"permission_classes(?: ?= ?|\()[\[(][\])]")
REFUSES_SOCKET = re.compile(r"\b(?:1008|3000|3003|4[04]0[13])\b|WS_1008")
HOOKS = {"before_request", "before_app_request", "before_websocket", "middleware", "on_request"}


class Gates:
    """What asks who calls: on a route, its function, its router, or on the whole application."""

    def __init__(self, project: Project) -> None:
        self.project, self.meaning = project, project.meaning
        scopes = [scope for module in project.served for scope in module.scopes.values()]
        self.gated = {gate for scope in scopes for gate in self.global_gates(scope)}
        self.apps = Apps(project, scopes) if self.gated else None

    def closed(self, route: Route) -> bool:
        if self.opened_explicitly(route):
            return False
        scope = route.handler
        return (
            self.passes_app(route)
            or any(self.asks(expr, scope) for expr in route.around)
            or any(self.asks(decorator, scope) for decorator in scope.decorators)
            or self.parameters_ask(scope)
            or self.body_asks(scope)
            or self.class_asks(scope)
            or self.router_asks(route)
        )

    def passes_app(self, route: Route) -> bool:
        """Does every request of its application pass what asks?  None stands for one that can't be told."""
        if self.apps is None or None in self.gated or len(self.apps.made) < 2:
            return bool(self.gated)
        chain = self.apps.above(route.app) if route.app is not None else set()
        if not chain.isdisjoint(self.apps.made):
            return not chain.isdisjoint(self.gated)
        return any(self.apps.reaches(app, route.handler.module) for app in self.gated if app is not None)

    @staticmethod
    def opened_explicitly(route: Route) -> bool:
        owner = route.handler.in_class
        said = [ast.unparse(decorator) for decorator in route.handler.decorators]
        if owner is not None and isinstance(owner.node, ast.ClassDef):
            said += [ast.unparse(node) for node in owner.node.body if isinstance(node, ast.Assign)]
        return any("AllowAny" in one or NOBODY.search(one) for one in said)

    def asks(self, expr: ast.expr, scope: Scope, depth: int = 0) -> bool:
        """An expression that names a guard, or a function that refuses, or is given what asks."""
        if ASKS.search(NOT_ASKING.sub("", without_path(expr))):
            return True
        names = [node for node in ast.walk(expr) if isinstance(node, (ast.Name, ast.Attribute))]
        if any(self.refuses(node, scope) or self.is_given_asking(node, scope, depth) for node in names):
            return True
        values = [found for node in names for found in self.meaning.values(node, scope)] if depth < 3 else []
        return any(self.asks(value, where, depth + 1) for value, where in values if isinstance(value, ast.Call))

    def is_given_asking(self, expr: ast.expr, scope: Scope, depth: int) -> bool:
        """A dependency that itself depends on what asks, or an instance of what does."""
        name = self.meaning.name(expr, scope)
        own = self.meaning.functions.get(name)
        return name.startswith("fastapi.security.") or bool(own and depth < 3 and self.parameters_ask(own, depth + 1))

    def refuses(self, expr: ast.expr, scope: Scope) -> bool:
        name = self.meaning.name(expr, scope).removesuffix("()")
        own = self.meaning.functions.get(name)
        owner = self.meaning.classes.get(name)
        return bool((own or owner) and REFUSES.search(ast.unparse((own or owner).node)))  # type: ignore[union-attr]

    def parameters_ask(self, scope: Scope, depth: int = 0) -> bool:
        """``user: User = Depends(...)``, ``Annotated[..., Security(...)]``, or an alias of one."""
        assert isinstance(scope.node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        arguments = scope.node.args
        injected = [(one, scope) for one in (*arguments.defaults, *arguments.kw_defaults) if one is not None]
        annotations = [
            arg.annotation
            for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            if arg.annotation is not None
        ]
        injected += [self.behind(annotation, scope) for annotation in annotations]
        return any(self.injection_asks(node, where, depth) for expr, where in injected for node in ast.walk(expr))

    def behind(self, annotation: ast.expr, scope: Scope) -> tuple[ast.expr, Scope]:
        """``CurrentUser`` may be an alias of ``Annotated[User, Depends(current_user)]``."""
        return next(iter(self.meaning.values(annotation, scope)), (annotation, scope))

    def injection_asks(self, node: ast.AST, scope: Scope, depth: int) -> bool:
        if not isinstance(node, ast.Call):
            return False
        last = (
            node.func.attr
            if isinstance(node.func, ast.Attribute)
            else node.func.id
            if isinstance(node.func, ast.Name)
            else ""
        )
        return last == "Security" or (last == "Depends" and any(self.asks(arg, scope, depth) for arg in node.args))

    def body_asks(self, scope: Scope) -> bool:
        """It refuses with 401 or 403 itself, compares a secret, or calls what is named for it."""
        for node in scope.nodes:
            if isinstance(node, ast.Raise) and node.exc is not None and REFUSES.search(ast.unparse(node.exc)):
                return True
            if isinstance(node, ast.Return) and node.value is not None and REFUSES.search(ast.unparse(node.value)):
                return True
            if isinstance(node, ast.Call) and self.call_asks(node, scope):
                return True
            if isinstance(node, (ast.If, ast.IfExp)) and re.search(
                r"is_authenticated|is_staff|session\b|current_user", ast.unparse(node.test)
            ):
                return True
        return False

    def call_asks(self, call: ast.Call, scope: Scope) -> bool:
        last = ast.unparse(call.func).rpartition(".")[2]
        if last == "close" and REFUSES_SOCKET.search(ast.unparse(call)):
            return True
        if last == "abort" and call.args and REFUSES.search(ast.unparse(call.args[0])):
            return True
        if re.match(
            r"^_?(?:require|check|verify|ensure|authenticate|authori[sz]e|assert|validate)_?\w*$", last
        ) and ASKS.search(last):
            return bool(
                re.search(
                    r"auth|user|token|key|login|permission|admin|signature|access|jwt|session|caller|secret",
                    last,
                    re.IGNORECASE,
                )
            )
        return last == "compare_digest" or self.refuses(call.func, scope) and not self.spends(call, scope)

    def spends(self, call: ast.Call, scope: Scope) -> bool:
        """The helper that speaks may well turn ElevenLabs' own 401 into an error: that is no guard."""
        own = self.meaning.functions.get(self.meaning.name(call.func, scope))
        return own is not None and bool(
            re.search(r"text_to_speech|speech_to_text|elevenlabs|text-to-speech", ast.unparse(own.node))
        )

    def class_asks(self, scope: Scope) -> bool:
        """Base classes, attributes such as ``permission_classes`` and ``guards``, and decorators."""
        return scope.in_class is not None and self.class_says(scope.in_class)

    def class_says(self, owner: Scope, depth: int = 4) -> bool:
        if not isinstance(owner.node, ast.ClassDef):
            return False
        bases = [self.meaning.name(base, owner.parent or owner) or ast.unparse(base) for base in owner.node.bases]
        if any(
            re.search(
                r"Required|Permission|UserPassesTest|AuthenticatedView|SecuredView|Protected", base.rpartition(".")[2]
            )
            for base in bases
        ):
            return True
        for node in owner.node.body:
            if (
                isinstance(node, (ast.Assign, ast.AnnAssign))
                and node.value is not None
                and named(node, ("permission_classes", "guards", "dependencies", "decorators", "middleware"))
            ):
                only_asks = named(node, ("permission_classes", "guards"))  # whatever is in there, it is there to ask
                said = NOT_ASKING.sub("", ast.unparse(node.value))
                if self.asks(node.value, owner) or (only_asks and re.search(r"\w", said)):
                    return True
        if any(ASKS.search(NOT_ASKING.sub("", ast.unparse(decorator))) for decorator in owner.node.decorator_list):
            return True
        own = (self.meaning.classes.get(self.meaning.name(base, owner.parent or owner)) for base in owner.node.bases)
        if depth and any(one is not None and self.class_says(one, depth - 1) for one in own):
            return True
        before = (self.meaning.functions.get(f"{owner.key}.{name}") for name in BEFORE)
        return any(one is not None and self.hands_out_guards(one) for one in before)

    def hands_out_guards(self, scope: Scope) -> bool:
        """``get_permissions`` and its like: they refuse, or return what does."""
        returned = [node.value for node in scope.nodes if isinstance(node, ast.Return) and node.value]
        return self.body_asks(scope) or any(self.asks(one, scope) or "IsA" in ast.unparse(one) for one in returned)

    def router_asks(self, route: Route) -> bool:
        """``dependencies`` of a router or of ``include_router``, a blueprint's ``before_request``."""
        last = route.owner.rpartition(".")[2]
        if not last or ":" in route.owner:
            return False
        made = self.meaning.of(ast.parse(route.owner, mode="eval").body, route.module.top)
        if (
            made
            and made.call
            and made.scope
            and any(
                self.asks(keyword.value, made.scope)
                for keyword in made.call.keywords
                if keyword.arg in ("dependencies", "guards", "middleware")
            )
        ):
            return True
        return any(
            self.hooks_on(scope, last, route) for module in self.project.served for scope in module.scopes.values()
        )

    def hooks_on(self, scope: Scope, last: str, route: Route) -> bool:
        where = scope.parent or scope
        for decorator in scope.decorators:
            function = decorator.func if isinstance(decorator, ast.Call) else decorator
            if (
                isinstance(function, ast.Attribute)
                and function.attr in HOOKS
                and scope.module is route.module
                and self.function_asks(scope)
            ):
                if ast.unparse(function.value).rpartition(".")[2] == last:
                    return True
        for call in scope.calls:
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            given = [ast.unparse(arg) for arg in call.args]
            if name in ("include_router", "register_blueprint", "mount") and any(
                self.is_router(one, last, route, scope) for one in given
            ):
                if any(
                    self.asks(keyword.value, where)
                    for keyword in call.keywords
                    if keyword.arg in ("dependencies", "guards")
                ):
                    return True
            if (
                name in HOOKS
                and isinstance(call.func, ast.Attribute)
                and ast.unparse(call.func.value).rpartition(".")[2] == last
            ):
                if any(self.asks(arg, scope) for arg in call.args):
                    return True
        return False

    def is_router(self, said: str, last: str, route: Route, scope: Scope) -> bool:
        stem = route.module.dotted.rpartition(".")[2]
        if said.rpartition(".")[2] == last and (stem in said or scope.module is route.module):
            return True
        values = scope.module.top.bindings.get(said, [])
        return any(getattr(value, "dotted", "").endswith(f"{stem}.{last}") for value in values)

    def function_asks(self, scope: Scope) -> bool:
        return bool(
            ASKS.search(NOT_ASKING.sub("", scope.name))
            or REFUSES.search(ast.unparse(scope.node))
            or self.body_asks(scope)
        )

    def global_gates(self, scope: Scope) -> Iterator[ast.Call | None]:
        """By middleware, hooks and settings: the call that made the application all of whose requests they see."""
        where = scope.parent or scope
        for decorator in scope.decorators:
            function = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(function, ast.Attribute) and function.attr in HOOKS and self.function_asks(scope):
                if self.is_app(function.value, where) or function.attr == "before_app_request":
                    yield self.made(function.value, where)
        for call in scope.calls:
            if self.call_gates(call, scope):
                on = call.func.value if isinstance(call.func, ast.Attribute) else None
                name = self.meaning.name(call.func, scope)
                yield call if on is None or MADE_APP.match(name + "()") else self.made(on, scope)
        if scope.parent is None and self.settings_ask(scope):
            yield None

    def made(self, expr: ast.expr, scope: Scope) -> ast.Call | None:
        known = self.meaning.of(expr, scope)
        return known.call if known else None

    def call_gates(self, call: ast.Call, scope: Scope) -> bool:
        name = self.meaning.name(call.func, scope).rpartition(".")[2]
        attr = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if (
            attr in ("add_middleware", "before_request")
            and isinstance(call.func, ast.Attribute)
            and self.is_app(call.func.value, scope)
        ):
            return any(self.asks(arg, scope) for arg in call.args[:1])
        if attr in ("append", "insert") and ast.unparse(call.func).rpartition(".")[0].endswith(".middlewares"):
            return any(self.asks(arg, scope) for arg in call.args)
        if name in ("FastAPI", "Litestar", "Starlette", "Application"):
            chosen = [
                keyword.value
                for keyword in call.keywords
                if keyword.arg in ("dependencies", "guards", "middleware", "middlewares", "on_app_init")
            ]
            return any(self.asks(one, scope) or self.list_asks(one, scope) for one in chosen)
        return False

    def list_asks(self, expr: ast.expr, scope: Scope) -> bool:
        return (
            any(self.asks(value, where) for value, where in self.meaning.values(expr, scope))
            if isinstance(expr, ast.Name)
            else False
        )

    def is_app(self, expr: ast.expr, scope: Scope) -> bool:
        name = self.meaning.name(expr, scope)
        return bool(re.search(r"(?:FastAPI|Starlette|Flask|Quart|Sanic)\(\)$", name)) or ast.unparse(expr) in (
            "app",
            "application",
        )

    def settings_ask(self, scope: Scope) -> bool:
        """Django: a middleware that wants a login, or REST framework's default permissions."""
        for node in scope.nodes:
            if isinstance(node, ast.Assign) and named(node, ("MIDDLEWARE",)):
                if re.search(r"LoginRequired|RequireLogin|TokenAuth|ApiKey|APIKey", ast.unparse(node.value)):
                    return True
            if isinstance(node, ast.Assign) and named(node, ("REST_FRAMEWORK",)):
                said = ast.unparse(node.value)
                if "DEFAULT_PERMISSION_CLASSES" in said and re.search(
                    r"IsA|Permission(?!_CLASSES|s)",
                    said.replace("rest_framework.permissions", "").replace("DEFAULT_PERMISSION_CLASSES", ""),
                ):
                    return True
        return False


def without_path(expr: ast.expr) -> str:
    """Its source, but for texts: a path ``/users/speak`` asks nobody for anything."""
    return " ".join(
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(expr)
        if isinstance(node, (ast.Name, ast.Attribute))
    )


def named(node: ast.Assign | ast.AnnAssign, names: tuple[str, ...]) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(target, ast.Name) and target.id in names for target in targets)
