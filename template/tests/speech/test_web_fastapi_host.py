"""How to test a route of yours: ask for ``speech_sandbox`` before the application is built, and call the route."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Response

from speech import SpeechClient
from speech.testing.plugin import SandboxThread
from speech.web import get_speech, install


def build_app() -> FastAPI:
    """Stands for your application: one route, under your own rules."""
    app = FastAPI()
    install(app)

    @app.get("/greetings/{name}")
    async def greet(name: str, speech: Annotated[SpeechClient, Depends(get_speech)]) -> Response:
        audio = await speech.synthesize(f"Hello {name}!")
        return Response(audio.data, media_type=audio.media_type)

    return app


@pytest.fixture
async def client(speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setenv("SPEECH_CLIENT_KEYS", "tests:a-key-that-only-these-tests-know")  # routes need some to start
    app = build_app()
    routes = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=routes, base_url="http://app") as client:
        yield client


async def test_a_greeting_is_spoken_and_paid_once(client: httpx.AsyncClient, speech_sandbox: SandboxThread) -> None:
    first, again = await client.get("/greetings/Ada"), await client.get("/greetings/Ada")
    assert first.headers["content-type"] == "audio/mpeg"
    assert first.content == again.content
    assert speech_sandbox.state()["calls"] == 1


async def test_an_account_without_credits_is_said_in_plain_words(
    client: httpx.AsyncClient, speech_sandbox: SandboxThread
) -> None:
    speech_sandbox.set(credits=0)
    answer = await client.get("/greetings/Ada")
    assert (answer.status_code, answer.json()["detail"]["code"]) == (402, "insufficient_credits")
    assert speech_sandbox.state()["bill_credits"] == 0


async def test_a_short_illness_of_the_vendor_is_not_noticed(
    client: httpx.AsyncClient, speech_sandbox: SandboxThread
) -> None:
    speech_sandbox.set(faults=["503"])
    assert (await client.get("/greetings/Ada")).status_code == 200
    assert speech_sandbox.state()["calls"] == 2
