"""What ``install`` leaves alone in an application that was there before."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import speech as package
from speech.client import Client
from speech.settings import SettingsError
from speech.testing.plugin import SandboxThread
from speech.web import get_speech, install

KEY = "a-key-that-only-these-tests-know"
SAY = "/v1/text-to-speech/OZ0L6eISlOejga3XjDFt"
MINE = {"xi-api-key": KEY}
SOURCE = Path(package.__file__).parents[package.__name__.count(".") + 1]


@pytest.fixture(autouse=True)
def environment(speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEECH_CLIENT_KEYS", f"admin:{KEY}")
    monkeypatch.setenv("SPEECH_CACHE_DIR", str(tmp_path))


@contextmanager
def running(app: Flask) -> Iterator[FlaskClient]:
    try:
        yield app.test_client()
    finally:
        app.extensions["speech"].close()


def detail(answer: TestResponse) -> dict[str, Any]:
    found: dict[str, Any] = answer.get_json()["detail"]
    return found


def test_the_hosts_own_errors_stay_its_own() -> None:
    """Outside the prefix nothing is ours: no 404, no 405, no shape."""
    app = Flask(__name__)
    install(app)

    @app.get("/orders/<int:number>")
    def order(number: int) -> str:
        abort(404, "no such order")

    with running(app) as http:
        assert "<h1>Not Found</h1>" in http.get("/nothing").text
        assert "<h1>Not Found</h1>" in http.get("/v1/models").text
        assert "no such order" in http.get("/orders/1").text
        assert "<h1>Method Not Allowed</h1>" in http.post("/orders/1").text


def test_the_routes_are_under_a_prefix() -> None:
    """``/speech`` by default: that is then the base URL of ElevenLabs' SDK."""
    app = Flask(__name__)
    install(app)
    with running(app) as http:
        spoken = http.post(f"/speech{SAY}", json={"text": "Under a prefix."}, headers=MINE)
        assert (spoken.status_code, spoken.headers["content-type"]) == (200, "audio/mpeg")
        assert http.get("/speech/dashboard", headers=MINE).status_code == 200
        assert detail(http.get("/speech/nothing"))["code"] == "not_offered"
        assert not [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/speech")]


def test_at_the_root_the_hosts_routes_come_first() -> None:
    """Also those that were added later: the gateway answers what nobody else does."""
    app = Flask(__name__)
    install(app, prefix="")

    @app.get("/healthz")
    def health() -> str:
        return "mine"

    with running(app) as http:
        assert http.get("/healthz").text == "mine"
        assert "<h1>Method Not Allowed</h1>" in http.post("/healthz").text
        assert http.get("/v1/models", headers=MINE).status_code == 200
        assert detail(http.get("/nothing"))["code"] == "not_offered"


def test_the_hosts_rules_for_people_are_not_for_machines() -> None:
    """A login, a token against forged forms, a small bound on bodies: for its pages, not for an SDK with a key."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 10
    install(app)
    app.before_request(lambda: abort(403))
    app.register_error_handler(Exception, lambda error: ("the host's", 500))
    with running(app) as http:
        assert detail(http.get("/speech/nothing"))["code"] == "not_offered"
        assert http.post(f"/speech{SAY}", json={"text": "I have a key."}, headers=MINE).status_code == 200


async def drain(client: Client) -> None:
    client.drain()


def test_an_error_in_a_route_of_the_host_is_a_proper_answer() -> None:
    """The vendor's shape, the status, and when to come back."""
    app = Flask(__name__)
    install(app)

    @app.get("/greet")
    def greet() -> str:
        get_speech().run(drain)
        return str(get_speech().synthesize("Hello"))

    with running(app) as http:
        answer = http.get("/greet")
        assert (answer.status_code, detail(answer)["code"]) == (503, "draining")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-speech-request-id"] == detail(answer)["request_id"]
        assert http.get("/speech/readyz").status_code == 503


def test_a_route_without_a_client_says_what_is_missing() -> None:
    """Not a KeyError from the inside."""
    app = Flask(__name__)
    app.add_url_rule("/greet", view_func=lambda: get_speech().synthesize("Hello").data)
    app.testing = True
    with pytest.raises(RuntimeError, match=r"install\(app\)"):
        app.test_client().get("/greet")


@pytest.mark.parametrize(("name", "value"), [("SPEECH_CLIENT_KEYS", ""), ("SPEECH_TIER", "gold")])
def test_what_can_not_work_is_said_when_it_is_installed(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Whoever runs the host, not at the first caller; without keys nobody may spend."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as refused:
        install(Flask(__name__))
    assert "\n" not in str(refused.value)


def test_nothing_starts_before_the_first_call() -> None:
    """So that a server may load the application first and fork its workers then."""
    before = threading.active_count()
    app = Flask(__name__)
    install(app)
    assert threading.active_count() == before
    with running(app) as http:
        assert http.get("/nothing").status_code == 404
        assert threading.active_count() == before
        assert http.get("/speech/healthz").status_code == 200
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_the_client_is_closed_when_the_process_ends(tmp_path: Path) -> None:
    """Under any server, and quietly."""
    script = f"""
import atexit
from flask import Flask
from {package.__name__}.web import install
app = Flask("host")
atexit.register(lambda: print(app.extensions["speech"]._closed))  # runs after what is registered after it
install(app)
assert app.test_client().post("/speech{SAY}", json={{"text": "Hello"}}, headers={MINE}).status_code == 200
"""
    environ = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_a_bug_of_ours_wears_the_shape_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """500, without a word of what went wrong inside."""
    app = Flask(__name__)
    install(app)
    with running(app) as http:
        monkeypatch.setattr("speech.web.account.models", lambda client: client.no_such_thing)
        answer = http.get("/speech/v1/models", headers=MINE)
        assert (answer.status_code, detail(answer)["code"]) == (500, "internal_error")
        assert "no_such_thing" not in answer.text
