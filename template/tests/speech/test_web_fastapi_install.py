"""What ``install`` leaves alone in an application that was there before."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException

from speech import SpeechClient
from speech.settings import SettingsError
from speech.testing.plugin import SandboxThread
from speech.web import get_speech, install

KEY = "a-key-that-only-these-tests-know"
SAY = "/v1/text-to-speech/OZ0L6eISlOejga3XjDFt"


@pytest.fixture(autouse=True)
def environment(speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEECH_CLIENT_KEYS", f"admin:{KEY}")
    monkeypatch.setenv("SPEECH_CACHE_DIR", str(tmp_path))


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    routes = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=routes, base_url="http://app", headers={"xi-api-key": KEY}) as http:
            yield http


async def test_the_hosts_own_errors_stay_its_own() -> None:
    """Outside the prefix nothing is ours: no 404, no 405, no shape."""
    app = FastAPI()
    install(app)

    @app.get("/orders/{number}")
    async def order(number: int) -> None:
        raise HTTPException(404, "no such order")

    async with running(app) as http:
        assert (await http.get("/nothing")).json() == {"detail": "Not Found"}
        assert (await http.get("/v1/models")).json() == {"detail": "Not Found"}
        assert (await http.get("/orders/1")).json() == {"detail": "no such order"}
        assert (await http.get("/orders/one")).json()["detail"][0]["type"] == "int_parsing"
        assert (await http.post("/orders/1")).json() == {"detail": "Method Not Allowed"}


async def test_the_routes_are_under_a_prefix() -> None:
    """``/speech`` by default: that is then the base URL of ElevenLabs' SDK."""
    app = FastAPI()
    install(app)
    async with running(app) as http:
        spoken = await http.post(f"/speech{SAY}", json={"text": "Under a prefix."})
        assert (spoken.status_code, spoken.headers["content-type"]) == (200, "audio/mpeg")
        assert (await http.get("/speech/dashboard")).status_code == 200
        assert (await http.get("/speech/nothing")).json()["detail"]["code"] == "not_offered"
        assert "/speech" not in app.openapi()["paths"]


async def test_at_the_root_the_hosts_routes_come_first() -> None:
    """Also those that were added later: the gateway answers what nobody else does."""
    app = FastAPI()
    install(app, prefix="")

    @app.get("/healthz")
    async def health() -> str:
        return "mine"

    async with running(app) as http:
        assert (await http.get("/healthz")).json() == "mine"
        assert (await http.get("/v1/models")).status_code == 200
        assert (await http.get("/nothing")).json()["detail"]["code"] == "not_offered"


async def test_the_hosts_lifespan_runs_inside_ours() -> None:
    """It has a client from its first line to its last, and its state arrives."""
    seen = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        seen.append(app.state.speech.ready)
        yield {"name": "host"}
        seen.append(app.state.speech.ready)

    app = FastAPI(lifespan=lifespan)
    install(app)
    async with app.router.lifespan_context(app) as state:
        assert state == {"name": "host"}
    assert seen == [True, True]
    assert not app.state.speech.ready


async def test_an_error_in_a_route_of_the_host_is_a_proper_answer() -> None:
    """The vendor's shape, the status, and when to come back."""
    app = FastAPI()
    install(app)

    @app.get("/greet")
    async def greet(speech: SpeechClient = Depends(get_speech)) -> None:  # noqa: B008
        speech.drain()
        await speech.synthesize("Hello")

    async with running(app) as http:
        answer = await http.get("/greet")
        assert (answer.status_code, answer.json()["detail"]["code"]) == (503, "draining")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-speech-request-id"] == answer.json()["detail"]["request_id"]
        assert (await http.get("/speech/readyz")).status_code == 503


async def test_a_route_without_a_client_says_what_is_missing() -> None:
    """Not an AttributeError from the inside."""
    app = FastAPI()

    @app.get("/greet")
    async def greet(speech: SpeechClient = Depends(get_speech)) -> None:  # noqa: B008
        raise AssertionError

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
        with pytest.raises(RuntimeError, match="install"):
            await http.get("/greet")


async def test_routes_without_keys_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the host, ``uvicorn`` by hand too: nobody must spend unasked."""
    monkeypatch.delenv("SPEECH_CLIENT_KEYS")
    app = FastAPI()
    install(app)
    with pytest.raises(SettingsError, match="SPEECH_CLIENT_KEYS"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_bug_of_ours_wears_the_shape_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """500, without a word of what went wrong inside."""
    app = FastAPI()
    install(app)
    async with running(app) as http:
        with monkeypatch.context() as broken:
            broken.setattr(app.state.speech, "house", None)
            answer = await http.get("/speech/v1/models")
        assert (answer.status_code, answer.json()["detail"]["code"]) == (500, "internal_error")
        assert "NoneType" not in answer.text
