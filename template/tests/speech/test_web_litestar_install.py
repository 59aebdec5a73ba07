"""What ``install`` leaves alone in an application that was there before."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotFoundException
from litestar.middleware import ASGIMiddleware
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from speech import SpeechClient
from speech.settings import SettingsError
from speech.testing.plugin import SandboxThread
from speech.web import create, get_speech, install
from speech.web.litestar_routes import SpeechPlugin

KEY = "a-key-that-only-these-tests-know"
SAY = "/v1/text-to-speech/OZ0L6eISlOejga3XjDFt"


@pytest.fixture(autouse=True)
def environment(speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEECH_CLIENT_KEYS", f"admin:{KEY}")
    monkeypatch.setenv("SPEECH_CACHE_DIR", str(tmp_path))


def host(*handlers: Any, **more: Any) -> Litestar:
    return Litestar(list(handlers), logging_config=None, **more)


@asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    routes = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with app.lifespan():
        async with httpx.AsyncClient(transport=routes, base_url="http://app", headers={"xi-api-key": KEY}) as http:
            yield http


@get("/orders/{number:int}")
async def order(number: FromPath[int]) -> None:
    raise NotFoundException("no such order")


@get("/greet", dependencies={"speech": Provide(get_speech)})
async def greet(speech: NamedDependency[SpeechClient]) -> None:
    speech.drain()
    await speech.synthesize("Hello")


async def test_the_hosts_own_errors_stay_its_own() -> None:
    """Outside the prefix nothing is ours: no 404, no 405, no shape."""
    app = host(order)
    install(app)
    async with running(app) as http:
        assert (await http.get("/nothing")).json() == {"status_code": 404, "detail": "Not Found"}
        assert (await http.get("/v1/models")).json() == {"status_code": 404, "detail": "Not Found"}
        assert (await http.get("/orders/1")).json() == {"status_code": 404, "detail": "no such order"}
        assert (await http.get("/orders/one")).json()["status_code"] == 404
        assert (await http.post("/orders/1")).json() == {"status_code": 405, "detail": "Method Not Allowed"}


async def test_the_hosts_own_handlers_are_kept() -> None:
    """Those that were there for its errors still answer them."""

    def mine(_: Request[Any, Any, Any], error: Exception) -> Response[str]:
        return Response("mine", status_code=418)

    app = host(order, exception_handlers={NotFoundException: mine})
    install(app)
    async with running(app) as http:
        assert (await http.get("/orders/1")).status_code == 418
        assert (await http.get("/speech/nothing")).json()["detail"]["code"] == "not_offered"


@pytest.mark.parametrize("how", ["install", "plugin"])
async def test_the_routes_are_under_a_prefix(how: str) -> None:
    """``/speech`` by default: that is then the base URL of ElevenLabs' SDK. A plugin does the same."""
    app = host(order, plugins=[SpeechPlugin()] if how == "plugin" else [])
    if how == "install":
        install(app)
    async with running(app) as http:
        spoken = await http.post(f"/speech{SAY}", json={"text": "Under a prefix."})
        assert (spoken.status_code, spoken.headers["content-type"]) == (200, "audio/mpeg")
        wav = {"file": ("a.mp3", spoken.content, "audio/mpeg")}
        heard = await http.post("/speech/v1/speech-to-text", data={"model_id": "scribe_v2"}, files=wav)
        assert heard.json()["text"] == "Under a prefix."
        assert (await http.get("/speech/dashboard")).status_code == 200
        assert (await http.get("/speech/nothing")).json()["detail"]["code"] == "not_offered"
        assert (await http.options(f"/speech{SAY}")).status_code == 405
        assert (await http.get("/orders/1")).json()["detail"] == "no such order"
        assert "/speech" not in str(app.openapi_schema.paths)


async def test_at_the_root_the_hosts_routes_come_first() -> None:
    """Also those that were added later, and those with parameters: the gateway answers what nobody else does."""

    @get("/healthz", sync_to_thread=False)
    def health() -> str:
        return "mine"

    @post("/v1/orders/{number:int}", sync_to_thread=False)
    def placed(number: FromPath[int]) -> int:
        return number

    app = host()
    install(app, prefix="")
    app.register(health)
    app.register(placed)
    async with running(app) as http:
        assert (await http.get("/healthz")).text == "mine"
        assert (await http.post("/v1/orders/7")).json() == 7
        assert (await http.get("/v1/orders/7")).json()["status_code"] == 405
        assert (await http.get("/v1/models")).status_code == 200
        assert (await http.get("/nothing")).json()["detail"]["code"] == "not_offered"


async def test_the_hosts_lifespan_runs_inside_ours() -> None:
    """Its hooks have a client from their first line to their last; with the plugin, its lifespans too."""
    seen: list[bool] = []

    async def look(app: Litestar) -> None:
        seen.append(app.state.speech.ready)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        await look(app)
        yield
        await look(app)

    hooked = host(on_startup=[look], on_shutdown=[look])
    install(hooked)
    for app in (hooked, host(lifespan=[lifespan], plugins=[SpeechPlugin()])):
        async with app.lifespan():
            pass
        assert not app.state.speech.ready
    assert seen == [True] * 4


async def test_the_hosts_middleware_sees_our_routes_too() -> None:
    """As it does every other mount."""
    seen: list[str] = []

    class Watch(ASGIMiddleware):
        async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
            seen.append(scope["raw_path"].decode())
            await next_app(scope, receive, send)

    app = host(middleware=[Watch()])
    install(app)
    async with running(app) as http:
        assert (await http.get("/speech/healthz")).status_code == 200
    assert seen == ["/speech/healthz"]


@pytest.mark.parametrize("how", ["install", "plugin"])
async def test_an_error_in_a_route_of_the_host_is_a_proper_answer(how: str) -> None:
    """The vendor's shape, the status, and when to come back."""
    app = host(greet, plugins=[SpeechPlugin()] if how == "plugin" else [])
    if how == "install":
        install(app)
    async with running(app) as http:
        answer = await http.get("/greet")
        assert (answer.status_code, answer.json()["detail"]["code"]) == (503, "draining")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-speech-request-id"] == answer.json()["detail"]["request_id"]
        assert (await http.get("/speech/readyz")).status_code == 503


async def test_a_route_without_a_client_says_what_is_missing() -> None:
    """Not an AttributeError from the inside."""
    with pytest.raises(RuntimeError, match="install"):
        await get_speech(host().state)


async def test_routes_without_keys_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the host, ``uvicorn`` by hand too: nobody must spend unasked."""
    monkeypatch.delenv("SPEECH_CLIENT_KEYS")
    app = host()
    install(app)
    with pytest.raises(ExceptionGroup) as refused:
        async with app.lifespan():
            pass
    assert refused.group_contains(SettingsError, match="SPEECH_CLIENT_KEYS")


async def test_a_bug_of_ours_wears_the_shape_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """500, without a word of what went wrong inside."""
    app = host()
    install(app)
    async with running(app) as http:
        with monkeypatch.context() as broken:
            broken.setattr(app.state.speech, "house", None)
            answer = await http.get("/speech/v1/models")
        assert (answer.status_code, answer.json()["detail"]["code"]) == (500, "internal_error")
        assert "NoneType" not in answer.text


async def test_a_crash_in_a_route_of_an_owner_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """In a service, where Litestar configures no logging; a 404 of the owner's is not worth a line."""

    @get("/crash")
    async def crash() -> None:
        raise ZeroDivisionError

    app = create()
    app.register(crash)
    app.register(order)
    async with running(app) as http:
        assert (await http.get("/crash")).status_code == 500
        assert (await http.get("/orders/1")).status_code == 404
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
