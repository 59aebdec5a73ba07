"""How to test a route of yours: ask for ``speech_sandbox`` before the application is built, and call the route."""

from collections.abc import Iterator

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from speech.testing.plugin import SandboxThread
from speech.web import get_speech, install


def build_app() -> Flask:
    """Stands for your application: one route, under your own rules."""
    app = Flask(__name__)
    install(app)

    @app.get("/greetings/<name>")
    def greet(name: str) -> Response:
        speech = get_speech()
        audio = speech.synthesize(f"Hello {name}!")
        return Response(audio.data, mimetype=audio.media_type)

    return app


@pytest.fixture
def client(speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    monkeypatch.setenv("SPEECH_CLIENT_KEYS", "tests:a-key-that-only-these-tests-know")  # routes need some to start
    app = build_app()
    yield app.test_client()
    app.extensions["speech"].close()


def test_a_greeting_is_spoken_and_paid_once(client: FlaskClient, speech_sandbox: SandboxThread) -> None:
    first, again = client.get("/greetings/Ada"), client.get("/greetings/Ada")
    assert first.headers["content-type"] == "audio/mpeg"
    assert first.data == again.data
    assert speech_sandbox.state()["calls"] == 1


def test_an_account_without_credits_is_said_in_plain_words(client: FlaskClient, speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(credits=0)
    answer = client.get("/greetings/Ada")
    assert (answer.status_code, answer.get_json()["detail"]["code"]) == (402, "insufficient_credits")
    assert speech_sandbox.state()["bill_credits"] == 0


def test_a_short_illness_of_the_vendor_is_not_noticed(client: FlaskClient, speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(faults=["503"])
    assert client.get("/greetings/Ada").status_code == 200
    assert speech_sandbox.state()["calls"] == 2
