"""How to test a route of yours: ask for ``speech_sandbox`` before the application is built, and call the route."""

from collections.abc import Iterator

import pytest
from litestar import Litestar, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.testing import TestClient

from speech import SpeechClient
from speech.testing.plugin import SandboxThread
from speech.web import get_speech, install

Client = TestClient[Litestar]


@get("/greetings/{name:str}", dependencies={"speech": Provide(get_speech)})
async def greet(name: FromPath[str], speech: NamedDependency[SpeechClient]) -> Response[bytes]:
    audio = await speech.synthesize(f"Hello {name}!")
    return Response(audio.data, media_type=audio.media_type)


def build_app() -> Litestar:
    """Stands for your application: one route, under your own rules."""
    app = Litestar([greet])
    install(app)
    return app


@pytest.fixture
def client(speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("SPEECH_CLIENT_KEYS", "tests:a-key-that-only-these-tests-know")  # routes need some to start
    with TestClient(build_app()) as client:
        yield client


def test_a_greeting_is_spoken_and_paid_once(client: Client, speech_sandbox: SandboxThread) -> None:
    first, again = client.get("/greetings/Ada"), client.get("/greetings/Ada")
    assert first.headers["content-type"] == "audio/mpeg"
    assert first.content == again.content
    assert speech_sandbox.state()["calls"] == 1


def test_an_account_without_credits_is_said_in_plain_words(client: Client, speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(credits=0)
    answer = client.get("/greetings/Ada")
    assert (answer.status_code, answer.json()["detail"]["code"]) == (402, "insufficient_credits")
    assert speech_sandbox.state()["bill_credits"] == 0


def test_a_short_illness_of_the_vendor_is_not_noticed(client: Client, speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(faults=["503"])
    assert client.get("/greetings/Ada").status_code == 200
    assert speech_sandbox.state()["calls"] == 2
