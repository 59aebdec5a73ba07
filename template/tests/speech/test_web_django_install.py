"""What ``install`` leaves alone in a project that was there before, and what it needs of it."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from asgiref.sync import markcoroutinefunction
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncRequestFactory, Client
from django.test.utils import override_settings
from django.urls import include, path

from speech.settings import SettingsError
from speech.testing.plugin import SandboxThread
from speech.web import create, django_urls, get_speech, install
from speech.web.django_routes import Front, serve

KEY = "a-key-that-only-these-tests-know"
SAY = "/v1/text-to-speech/OZ0L6eISlOejga3XjDFt"
FORGERY = "django.middleware.csrf.CsrfViewMiddleware"
LOGIN = f"{__name__}.LoginRequired"


class LoginRequired:
    """As Django's own, which needs a database."""

    sync_capable, async_capable = False, True

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> Any:
        return await self._get_response(request)

    def process_view(self, request: HttpRequest, view: Any, *_: Any) -> HttpResponse | None:
        return HttpResponse(status=302) if getattr(view, "login_required", True) else None


def order(request: HttpRequest, number: int) -> HttpResponse:
    raise Http404("no such order")


async def greet(request: HttpRequest) -> HttpResponse:
    speech = get_speech()
    speech.drain()
    await speech.synthesize("Hello")
    raise AssertionError


def greet_in_a_thread(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"thread": threading.current_thread().name, "ready": get_speech.blocking().snapshot()["ready"]})


async def greet_wrongly(request: HttpRequest) -> HttpResponse:
    get_speech.blocking().synthesize("Hello")
    raise AssertionError


async def health(request: HttpRequest) -> HttpResponse:
    return HttpResponse("mine")


urlpatterns = [
    path("orders/<int:number>", order),
    path("greet", greet),
    path("thread", greet_in_a_thread),
    path("wrong", greet_wrongly),
    path("healthz", health),
    path("voice/", include(django_urls)),
]


@pytest.fixture(autouse=True)
def environment(speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEECH_CLIENT_KEYS", f"admin:{KEY}")
    monkeypatch.setenv("SPEECH_CACHE_DIR", str(tmp_path))
    create()  # configures Django, where nobody did


@pytest.fixture
def project() -> Iterator[dict[str, Any]]:
    """The end of a settings.py, with ``install(globals())``."""
    settings: dict[str, Any] = {"ROOT_URLCONF": __name__, "MIDDLEWARE": [FORGERY], "ALLOWED_HOSTS": ["*"]}
    install(settings)
    with override_settings(**settings):
        yield settings


@asynccontextmanager
async def running(app: Any = None) -> AsyncIterator[httpx.AsyncClient]:
    routes = httpx.ASGITransport(app or get_asgi_application())
    async with httpx.AsyncClient(transport=routes, base_url="http://app", headers={"xi-api-key": KEY}) as http:
        yield http


@pytest.mark.usefixtures("project")
async def test_the_hosts_own_errors_stay_its_own() -> None:
    """Outside the prefix nothing is ours: no 404, no shape."""
    async with running() as http:
        for url in ("/nothing", "/v1/models", "/orders/1", "/speechless"):
            answer = await http.get(url)
            assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_the_hosts_settings_are_kept(project: dict[str, Any]) -> None:
    """One middleware more, in front; nothing is taken away."""
    assert project["MIDDLEWARE"][1:] == [FORGERY] and project["ROOT_URLCONF"] == __name__


@pytest.mark.parametrize("prefix", ["/speech", "/voice"])
@pytest.mark.parametrize("more", [[FORGERY], [FORGERY, LOGIN]])
async def test_the_routes_are_under_a_prefix(project: dict[str, Any], prefix: str, more: list[str]) -> None:
    """``/speech`` by default, or wherever ``include`` puts them; neither cookie nor token nor login is asked for."""
    with override_settings(MIDDLEWARE=[project["MIDDLEWARE"][0], *more]):
        async with running() as http:
            spoken = await http.post(f"{prefix}{SAY}", json={"text": "Under a prefix."})
            assert (spoken.status_code, spoken.headers["content-type"]) == (200, "audio/mpeg")
            streamed = await http.post(f"{prefix}{SAY}/stream", json={"text": "Under a prefix."})
            assert (streamed.content, streamed.headers["x-cache"]) == (spoken.content, "hit")
            file = {"file": ("a.mp3", spoken.content, "audio/mpeg")}
            heard = await http.post(f"{prefix}/v1/speech-to-text", data={"model_id": "scribe_v2"}, files=file)
            assert heard.json()["text"] == "Under a prefix."
            assert (await http.get(f"{prefix}/dashboard")).status_code == 200
            for method, url, status in (("GET", "/nothing", 404), ("GET", SAY, 405), ("OPTIONS", SAY, 405)):
                answer = await http.request(method, f"{prefix}{url}")
                assert (answer.status_code, answer.json()["detail"]["code"]) == (status, "not_offered")
            unknown = await http.get(f"{prefix}/v1/models", headers={"xi-api-key": "nobody's"})
            assert unknown.status_code == 401


@pytest.mark.usefixtures("project")
async def test_what_is_too_large_is_refused(speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Django's DATA_UPLOAD_MAX_MEMORY_SIZE says, which is smaller than a recording and larger than a text."""
    monkeypatch.setenv("SPEECH_MAX_UPLOAD_MB", "4")
    async with running() as http:
        assert (await http.post(f"/speech{SAY}", content=b" " * (2**20 + 1))).status_code == 413
        for size, status in ((3_500_000, 400), (4_000_000, 413)):
            file = {"file": ("a.mp3", b"only words " * (size // 11), "audio/mpeg")}
            answer = await http.post("/speech/v1/speech-to-text", data={"model_id": "scribe_v2"}, files=file)
            assert answer.status_code == status, answer.text
    assert speech_sandbox.state()["calls"] == 0


@pytest.mark.usefixtures("project")
async def test_a_stream_that_nobody_takes_is_closed(speech_sandbox: SandboxThread) -> None:
    """Begun by the view, and dropped before Django asked for the first piece: the slot is free again."""
    speech = await get_speech.open()
    fault = {"x-sandbox-fault": "stall;after=3;s=60", "xi-api-key": KEY}
    ask = AsyncRequestFactory().post(SAY, '{"text": "Nobody listens."}', content_type="x/json", headers=fault)
    answer = await serve(ask, f"{SAY[1:]}/stream")
    assert answer.status_code == 200 and speech.snapshot()["pools"]["standard"]["in_flight"] == 1
    del answer
    gc.collect()
    for _ in range(100):
        await asyncio.sleep(0.02)
        if speech.snapshot()["pools"]["standard"]["in_flight"] == 0:
            break
    assert speech_sandbox.state()["in_flight"]["standard"] == 0


@pytest.mark.usefixtures("project")
async def test_an_error_in_a_view_of_the_host_is_a_proper_answer() -> None:
    """The vendor's shape, the status, and when to come back."""
    async with running() as http:
        answer = await http.get("/greet")
        assert (answer.status_code, answer.json()["detail"]["code"]) == (503, "draining")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-speech-request-id"] == answer.json()["detail"]["request_id"]
        assert (await http.get("/speech/readyz")).status_code == 503


@pytest.mark.usefixtures("project")
async def test_a_sync_view_speaks_through_the_servers_loop() -> None:
    """From its own thread, with the client that the async views have: draining that one drains this."""
    async with running() as http:
        assert (await http.get("/thread")).json()["ready"]
        get_speech().drain()
        assert not (await http.get("/thread")).json()["ready"]


@pytest.mark.usefixtures("project")
async def test_a_view_that_would_wait_for_itself_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    """Instead of hanging for ever, and the server with it."""
    async with running() as http:
        assert (await http.get("/wrong")).status_code == 500
    assert "it takes get_speech(), not get_speech.blocking()" in caplog.text


@pytest.mark.usefixtures("project")
def test_under_wsgi_threads_have_a_client_and_coroutines_are_told_why_not() -> None:
    """One beside them; where every request has a loop of its own, a client of its own would take the whole plan."""
    get_wsgi_application()
    client = Client()
    assert client.get("/thread").json()["ready"]
    with pytest.raises(RuntimeError, match="ASGI"):
        client.get("/greet")
    assert client.get("/speech/v1/models").status_code == 404


@pytest.mark.usefixtures("project")
def test_an_application_that_starts_takes_over() -> None:
    """The facade that the one before it had is closed, and its thread gone: one client a process."""
    get_wsgi_application()
    before = get_speech.blocking()
    assert before.snapshot()["ready"]
    get_wsgi_application()
    with pytest.raises(RuntimeError, match="closed"):
        before.snapshot()
    assert get_speech.blocking().snapshot()["ready"]


def test_the_client_is_closed_when_its_loop_ends() -> None:
    """No server has to say so; and the next loop has a client of its own."""

    async def once() -> Any:
        speech = await get_speech.open()
        assert speech is await get_speech.open() is get_speech()
        return speech

    first, second = asyncio.run(once()), asyncio.run(once())
    assert first is not second and first.draining and second.draining


@pytest.mark.usefixtures("project")
async def test_a_view_without_a_client_says_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    """Not an AttributeError from the inside."""
    with override_settings(MIDDLEWARE=[]):
        async with running() as http:
            assert (await http.get("/greet")).status_code == 500
    assert "install(globals()) in settings.py opens one" in caplog.text


@pytest.mark.usefixtures("project")
def test_routes_without_keys_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the host, ``uvicorn`` by hand too: nobody must spend unasked."""
    monkeypatch.delenv("SPEECH_CLIENT_KEYS")
    with pytest.raises(SettingsError, match="SPEECH_CLIENT_KEYS"):
        get_asgi_application()


@pytest.mark.usefixtures("project")
async def test_a_bug_of_ours_wears_the_shape_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """500, without a word of what went wrong inside."""
    async with running() as http:
        await http.get("/speech/healthz")
        with monkeypatch.context() as broken:
            broken.setattr(get_speech(), "house", None)
            answer = await http.get("/speech/v1/models")
        assert (answer.status_code, answer.json()["detail"]["code"]) == (500, "internal_error")
        assert "NoneType" not in answer.text


# ------------------------------------------------------------------------------------------------------ on real sockets


@asynccontextmanager
async def serving() -> AsyncIterator[httpx.AsyncClient]:
    """The project under uvicorn, as ``uvicorn project.asgi:application`` runs it."""
    server = uvicorn.Server(uvicorn.Config(get_asgi_application(), port=0, lifespan="off", log_config=None))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"xi-api-key": KEY}) as http:
            yield http
    finally:
        server.should_exit = True
        await running


async def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(250):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come true")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("prefix", ["/speech", "/voice"])
async def test_who_leaves_frees_the_slot(
    prefix: str, speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the queue, and in the middle of a stream: Django cancels the view, and nothing is sent for nobody."""
    monkeypatch.setenv("SPEECH_LIMITS", '{"standard": 1}')
    stalls = {"x-sandbox-fault": "stall;after=3;s=60"}
    async with serving() as http:
        await http.get("/healthz")
        pool = get_speech().policies.limiters["standard"].snapshot
        say = f"{prefix}{SAY}/stream"
        async with http.stream("POST", say, json={"text": "I leave halfway through."}, headers=stalls) as answer:
            chunks = answer.aiter_bytes()
            assert await anext(chunks)
            for url in (say, f"{prefix}{SAY}"):
                leaver = asyncio.create_task(http.post(url, json={"text": "I will not wait."}))
                await eventually(lambda: sum(pool()["queued"].values()) == 1)
                leaver.cancel()
                await eventually(lambda: sum(pool()["queued"].values()) == 0)
            assert pool()["in_flight"] == 1
        await eventually(lambda: pool()["in_flight"] == 0)
        assert (await http.post(say, json={"text": "Is there room?"})).status_code == 200
    assert speech_sandbox.state()["calls"] == 2


@pytest.mark.usefixtures("project")
async def test_a_stream_that_breaks_is_broken_for_its_caller(speech_sandbox: SandboxThread) -> None:
    """Never a clean end, which would be taken for whole audio; before the first byte it has a status."""
    async with serving() as http:
        speech_sandbox.set(faults=["cut;after=3"])
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(f"/speech{SAY}/stream", json={"text": "This breaks in the middle of it."})
        speech_sandbox.set(credits=0)
        assert (await http.post(f"/speech{SAY}/stream", json={"text": "And this before."})).status_code == 402


# ----------------------------------------------------------------------------------------------------- in front of it


@asynccontextmanager
async def living(app: Front) -> AsyncIterator[httpx.AsyncClient]:
    """As a server does it: *app*'s lifespan around its requests."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan"}, told.get, said.put))
    await told.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    async with running(app) as http:
        yield http
    await told.put({"type": "lifespan.shutdown"})
    assert (await said.get())["type"] == "lifespan.shutdown.complete"
    await life


@pytest.mark.usefixtures("project")
async def test_in_front_the_projects_views_come_first() -> None:
    """At the root the routes answer what nobody else does; under a prefix nothing but that."""
    async with living(Front(get_asgi_application())) as http:
        assert (await http.get("/healthz")).text == "mine"
        assert (await http.get("/v1/models")).status_code == 200
        assert (await http.get("/nothing")).json()["detail"]["code"] == "not_offered"
    async with living(Front(get_asgi_application(), "/say")) as http:
        assert (await http.get("/healthz")).text == "mine"
        assert (await http.get("/say/readyz")).json() == {"ready": True}  # with a client of its own
        assert (await http.get("/v1/models")).headers["content-type"] == "text/html; charset=utf-8"
    assert get_speech.server and get_speech.server.client.draining


@pytest.mark.usefixtures("project")
async def test_what_can_not_start_is_said_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a line, for its log."""
    front = Front(get_asgi_application())
    monkeypatch.setenv("SPEECH_TIER", "gold")
    told = [{"type": "lifespan.startup"}]
    said: list[Any] = []

    async def receive() -> Any:
        return told.pop()

    async def send(message: Any) -> None:
        said.append(message)

    with suppress(IndexError):
        await front({"type": "lifespan"}, receive, send)
    assert said[0]["type"] == "lifespan.startup.failed" and "SPEECH_TIER is 'gold'" in said[0]["message"]
