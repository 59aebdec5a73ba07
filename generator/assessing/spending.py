"""Which calls go to ElevenLabs, which of them are paid for, and who gets to them."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, cast

from .names import Known, Names
from .project import Project
from .syntax import Module, Parameter, Scope
from .values import argument, bound_value, text_of

CLIENT = re.compile(r"^elevenlabs\.(Async)?ElevenLabs\(\)\.([\w.]+)(\(\))?$")
# Read in SDK 2.78.0 and its history: every method that is billed.  Generators send nothing before they are iterated.
LAZY = set(
    "text_to_speech.convert text_to_speech.stream text_to_speech.stream_with_timestamps text_to_speech.convert_realtime"
    " text_to_speech.convert_as_stream text_to_dialogue.convert text_to_dialogue.stream"
    " text_to_dialogue.stream_with_timestamps text_to_sound_effects.convert speech_to_speech.convert"
    " speech_to_speech.stream speech_to_speech.convert_as_stream audio_isolation.convert audio_isolation.stream"
    " music.compose music.stream music.compose_detailed_stream generate".split()
)
PAID = LAZY | set(
    "text_to_speech.convert_with_timestamps text_to_dialogue.convert_with_timestamps speech_to_text.convert"
    " music.compose_detailed music.video_to_music text_to_voice.create_previews text_to_voice.design"
    " text_to_voice.remix dubbing.create".split()
)
FUNCTIONS = {"elevenlabs.generate": "generate"}
HOST = re.compile(r"api\.(\w+\.)?(\w+\.)?elevenlabs\.io")
PAID_PATH = re.compile(
    r"text-to-(?:speech|dialogue|voice)|speech-to-(?:text|speech)|sound-generation|/music|audio-isolation"
)
VERBS = r"(?:get|post|put|patch|delete|request|stream|send|urlopen|ws_connect|head|options|build_request)"
HTTP = re.compile(
    rf"^(?:(requests|httpx|aiohttp|urllib3?)(?:\.request)?\.{VERBS}"
    rf"|(requests\.(?:Session|session)|httpx\.(?:Async)?Client|aiohttp\.ClientSession|urllib3\.PoolManager)\(\)\.{VERBS})$"
)
ASYNC_HTTP = ("httpx.AsyncClient", "aiohttp.")
# A worker runs it.
QUEUED = re.compile(r"\.(?:delay|apply_async|send|send_with_options|s|si|kiq|defer|schedule|remote|spawn)$")
# What we render spends too, but minds its timeouts, retries and limits: only who may call it is the host's own affair.
OURS = re.compile(r"(?:^|\.)speech\.(?:client:Client|blocking:Blocking)\.(synthesize|stream|transcribe)$")

T = TypeVar("T")


class Spend(NamedTuple):
    """A call to ElevenLabs in the source."""

    call: ast.Call
    scope: Scope
    what: str  # "text_to_speech.convert", or the method and URL of an HTTP call
    known: Known
    paid: bool
    lazy: bool
    blocks: bool  # from the library of the blocking kind
    http: bool

    @property
    def module(self) -> Module:
        return self.scope.module


class Spending:
    """All calls of a project that reach ElevenLabs, and its functions by what they call."""

    def __init__(self, project: Project) -> None:
        self.project, self.meaning = project, project.meaning
        self._cache: dict[str, list[Spend]] = {}
        self._once: dict[tuple[object, ...], Any] = {}

    @cached_property
    def all(self) -> list[Spend]:
        return [spend for module in self.project.served for spend in self.of_module(module)]

    def of_module(self, module: Module) -> Iterator[Spend]:
        for scope in module.scopes.values():
            yield from self.direct(scope)

    def direct(self, scope: Scope) -> list[Spend]:
        if scope.key not in self._cache:
            self._cache[scope.key] = [spend for call in scope.calls if (spend := spend_of(call, scope, self.meaning))]
        return self._cache[scope.key]

    def called(self, scope: Scope) -> Iterator[tuple[ast.Call, Scope]]:
        """The project's own functions that *scope* calls or hands on to be called."""
        for call in scope.calls:
            for expr in [call.func, *call.args, *(keyword.value for keyword in call.keywords)]:
                known = (
                    self.meaning.of(expr, scope) if isinstance(expr, (ast.Name, ast.Attribute, ast.Lambda)) else None
                )
                inner = scope.module.scopes.get(expr) if isinstance(expr, ast.Lambda) else None
                inner = inner or (self.meaning.functions.get(QUEUED.sub("", known.name)) if known else None)
                if inner is None and known and expr is call.func and known.name in self.meaning.classes:
                    inner = self.meaning.functions.get(f"{known.name}.__init__")
                if inner is not None:
                    yield call, inner

    def once(self, key: tuple[object, ...], find: Callable[[], T], meanwhile: T) -> T:
        """What *find* gives, found once; *meanwhile* where that leads back to itself, as helpers may."""
        if key not in self._once:
            self._once[key] = meanwhile
            self._once[key] = find()
        return cast(T, self._once[key])

    def calls_of_given(self, function: ast.expr, scope: Scope) -> Iterator[tuple[ast.Call, Scope]]:
        """Where the project's *function* calls what it is given: itself, or in the wrapper that it makes."""
        name = self.meaning.name(function, scope)
        own = self.meaning.functions.get(f"{name[:-2]}.__call__" if name.endswith("()") else name)
        if own is None and isinstance(function, ast.Call):  # a decorator with arguments
            own = self.meaning.functions.get(self.meaning.name(function.func, scope))
        for inner in [one for one in own.module.functions if inside(one, own)] if own else []:
            for call in inner.calls:
                if isinstance(call.func, ast.Name) and is_parameter(call.func.id, inner):
                    yield call, inner

    @cached_property
    def constructions(self) -> dict[str, list[tuple[ast.Call, Scope]]]:
        """Where the project makes instances of its own classes, by their keys."""
        found: dict[str, list[tuple[ast.Call, Scope]]] = {}
        for module in self.project.served:
            for scope in module.scopes.values():
                for call in scope.calls:
                    if (name := self.meaning.name(call.func, scope)) in self.meaning.classes:
                        found.setdefault(name, []).append((call, scope))
        return found

    def handed(self, expr: ast.expr, scope: Scope, depth: int = 3) -> list[Known]:
        """The instances that callers give for a parameter, or for an attribute that the constructor keeps."""
        found: list[Known] = []
        for given, where in self.given(expr, scope):
            known = self.meaning.of(given, where)
            if known and known.call:
                found.append(known)
            elif depth:
                found += self.handed(given, where, depth - 1)
        return found

    def given(self, expr: ast.expr, scope: Scope) -> Iterator[tuple[ast.expr, Scope]]:
        if isinstance(expr, ast.Name):
            owner = next((one for one in Names.visible(scope) if expr.id in one.bindings), None)
            if owner is not None and isinstance(owner.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from self.arguments(self.callers.get(owner.key, []), owner.key, expr.id, parameters_of(owner))
        elif isinstance(expr, ast.Attribute):
            key = self.meaning.name(expr.value, scope).removesuffix("()")
            if cls := self.meaning.classes.get(key):
                init = self.meaning.functions.get(f"{key}.__init__")
                kept = [value.id for _, value in cls.attributes.get(expr.attr, []) if isinstance(value, ast.Name)]
                names = parameters_of(init) if init else fields_of(cls)
                for name in kept if init else [expr.attr]:
                    yield from self.arguments(self.constructions.get(key, []), key, name, names)

    def arguments(
        self, calls: list[tuple[ast.Call, Scope]], key: str, name: str, names: list[str]
    ) -> Iterator[tuple[ast.expr, Scope]]:
        for call, where in calls:
            if name in names and self.meaning.name(call.func, where) == key:
                if (given := argument(call, name, names.index(name))) is not None:
                    yield given, where

    def within(self, scope: Scope, depth: int = 3) -> list[Spend]:
        """Paid calls that calling *scope* leads to, its own first."""
        return [spend for one in self.reach(scope, depth) for spend in self.direct(one) if spend.paid]

    def ours_within(self, scope: Scope, depth: int = 3) -> str:
        """The method of a rendered client that calling *scope* leads to; empty where it leads to none."""
        keys = (inner.key for one in self.reach(scope, depth) for _, inner in self.called(one))
        return next((f"SpeechClient.{made[1]}" for key in keys if (made := OURS.search(key))), "")

    def reach(self, scope: Scope, depth: int) -> Iterator[Scope]:
        """*scope*, and the project's functions that it calls, that those call, and so on."""
        seen = {scope.key}
        level = [scope]
        for _ in range(depth + 1):
            yield from level
            level = [inner for one in level for _, inner in self.called(one) if inner.key not in seen]
            seen |= {one.key for one in level}

    @cached_property
    def callers(self) -> dict[str, list[tuple[ast.Call, Scope]]]:
        """Who calls a function, by its key."""
        found: dict[str, list[tuple[ast.Call, Scope]]] = {}
        for module in self.project.served:
            for scope in module.scopes.values():
                for call, inner in self.called(scope):
                    found.setdefault(inner.key, []).append((call, scope))
        return found


def parameters_of(scope: Scope) -> list[str]:
    """As a call from outside counts them."""
    assert isinstance(scope.node, (ast.FunctionDef, ast.AsyncFunctionDef))
    return [one.arg for one in (*scope.node.args.posonlyargs, *scope.node.args.args) if one.arg not in ("self", "cls")]


def fields_of(scope: Scope) -> list[str]:
    """Of a dataclass, as its constructor takes them."""
    nodes = scope.node.body if isinstance(scope.node, ast.ClassDef) else []
    return [one.target.id for one in nodes if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]


def inside(scope: Scope, outer: Scope) -> bool:
    return scope is outer or bool(scope.parent and inside(scope.parent, outer))


def is_parameter(name: str, scope: Scope) -> bool:
    where = next((one for one in Names.visible(scope) if name in one.bindings), None)
    return where is not None and any(isinstance(one, Parameter) for one in where.bindings[name])


def spend_of(call: ast.Call, scope: Scope, meaning: Names) -> Spend | None:
    known = meaning.of(call.func, scope)
    if known is None:
        return None
    if made := CLIENT.match(known.name):
        what = made[2]
        if "." not in what and what not in PAID | {"clone"}:
            return None
        return Spend(call, scope, what, known, what in PAID, what in LAZY, not made[1], http=False)
    if what := FUNCTIONS.get(known.name, ""):
        return Spend(call, scope, what, known, True, False, True, http=False)
    return http_spend(call, scope, known, meaning)


def http_spend(call: ast.Call, scope: Scope, known: Known, meaning: Names) -> Spend | None:
    if not HTTP.match(known.name):
        return None
    url = url_of(call, scope, known, meaning)
    if not HOST.search(url) and "xi-api-key" not in sent_headers(call, scope, meaning):
        return None
    method = method_of(call, scope, known, meaning)
    paid = (method == "post" and is_unsaid(url)) or (
        bool(PAID_PATH.search(url)) and method not in ("get", "head", "options", "delete")
    )
    return Spend(
        call, scope, f"{method} {url}"[:80], known, paid, False, not known.name.startswith(ASYNC_HTTP), http=True
    )


def method_of(call: ast.Call, scope: Scope, known: Known, meaning: Names) -> str:
    method = known.name.rpartition(".")[2]
    if method == "urlopen":
        made = bound_value(call.args[0], scope, meaning) if call.args else None
        sends = [one for one in (call, made) if isinstance(one, ast.Call) and argument(one, "data", 1) is not None]
        return "post" if sends else "get"
    said = text_of(argument(call, "method", 0), scope, meaning).lower()
    return said if method in ("request", "stream", "build_request") and said.isalpha() else method


def url_of(call: ast.Call, scope: Scope, known: Known, meaning: Names) -> str:
    urls = [text_of(arg, scope, meaning) for arg in call.args[:2]] + [text_of(argument(call, "url"), scope, meaning)]
    url = next((url for url in urls if url and ("/" in url or "://" in url)), "")
    base = text_of(argument(known.call, "base_url"), known.scope, meaning) if known.call and known.scope else ""
    base = base or (
        text_of(known.call.args[0], known.scope, meaning) if known.call and known.scope and known.call.args else ""
    )
    return f"{base}{url}" if url.startswith("/") or not url else url


def sent_headers(call: ast.Call, scope: Scope, meaning: Names) -> str:
    """The names of the headers that are given with the call, as one text."""
    headers = argument(call, "headers")
    if isinstance(headers, (ast.Name, ast.Attribute, ast.Call)):
        headers = bound_value(headers, scope, meaning)
    return ast.unparse(headers).lower() if headers is not None else ""


def is_unsaid(url: str) -> bool:
    """Is the path only known to whoever gives it?"""
    return not re.search(r"\w", HOST.sub("", url).replace("https://", "")) or url.endswith(("/{}", "/v1{}"))
