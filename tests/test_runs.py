"""What is rendered runs: its own tests, its commands and its service, as child processes on real sockets."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from elevenlabs.client import ElevenLabs
from elevenlabs.core.request_options import RequestOptions
from rendering import PACKAGES, SERVICES, Renders, home, names, run, run_rendered_tests

VOICE = "OZ0L6eISlOejga3XjDFt"
ONCE = RequestOptions(max_retries=0)
KEY = "a-key-that-only-these-tests-know"
STARTS_WITHIN_S = 60


def services(*rows: tuple[str, str, str]) -> list[dict[str, Any]]:
    names_of = ("framework", "cache_backend", "metrics")
    return [{"layout": "service"} | dict(zip(names_of, row, strict=True)) for row in rows]


# Every value at least once, every backend under both kinds of server; `make test-all` runs all of them, whole.
WHOLE = services(("fastapi", "memory", "prometheus"))
STORED = services(("django", "redis", "none"), ("flask", "disk", "prometheus"))
CROSSED = services(("litestar", "disk", "none"), ("none", "memory", "none"), ("flask", "redis", "prometheus"))
FEW = WHOLE + STORED + CROSSED
# Where a framework meets a backend; all that there is of a server is seen in WHOLE (uvicorn) and over flask (gunicorn).
MEET = "install or gateway or host or blocking or whole_path or test_it_drains"
KEEP = f"{MEET} or commands or together or accounts or store or claims or cache or ledger or diary or reconciling"
GATEWAYS = [row for row in FEW if row["framework"] != "none"]


def environment(project: Path, **more: str) -> dict[str, str]:
    """The rendered package is found, and its files land in the test's own folder."""
    return {"PYTHONPATH": str(home(project).parent), "SPEECH_ENV": "development"} | more


@pytest.mark.parametrize("answers", WHOLE, ids=names(WHOLE))
def test_rendered_tests_pass(renders: Renders, tmp_path: Path, answers: dict[str, Any]) -> None:
    """Out of the box, without a key."""
    check_rendered_tests(renders, tmp_path, answers)


@pytest.mark.parametrize(("answers", "more"), zip(STORED, ("", " or wsgi or serve"), strict=True), ids=names(STORED))
def test_rendered_tests_of_a_backend_pass(renders: Renders, tmp_path: Path, answers: dict[str, Any], more: str) -> None:
    """All but those of the core, which is the same to the byte in every project."""
    check_rendered_tests(renders, tmp_path, answers, "-k", KEEP + more)


@pytest.mark.parametrize("answers", CROSSED, ids=names(CROSSED))
def test_rendered_tests_of_what_answers_change_pass(renders: Renders, tmp_path: Path, answers: dict[str, Any]) -> None:
    """Routes, threads, commands and the whole path: what a framework and a backend do to each other."""
    check_rendered_tests(renders, tmp_path, answers, "-k", MEET)


@pytest.mark.full
@pytest.mark.parametrize("answers", SERVICES, ids=names(SERVICES))
def test_rendered_tests_pass_for_every_answer(renders: Renders, tmp_path: Path, answers: dict[str, Any]) -> None:
    """The same, for every service that is offered."""
    check_rendered_tests(renders, tmp_path, answers)


def check_rendered_tests(renders: Renders, tmp_path: Path, answers: dict[str, Any], *argv: str) -> None:
    project = renders.own(answers, tmp_path / "project")
    done = run_rendered_tests(project, *argv)

    assert done.returncode == 0, done.stdout[-4000:]
    assert not (project / ".speech").exists()  # what the owner's own service has cached and counted


@contextmanager
def started(*argv: str, cwd: Path, port: int, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A child process that answers on *port*; killed if the test did not end it."""
    child = subprocess.Popen(
        [sys.executable, *argv],
        cwd=cwd,
        env=os.environ | env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_until_it_listens(child, port)
        yield child
    finally:
        child.kill()
        child.communicate()


def wait_until_it_listens(child: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            pytest.fail(f"ended with {child.returncode}: {child.communicate()[0]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"nothing listens on {port}")


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A server for one test."""
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if not server:
        pytest.skip("needs redis-server (or valkey-server) on the path: apt-get install redis-server")
    port = free_port()
    with subprocess.Popen([server, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL) as child:
        yield f"redis://127.0.0.1:{port}/0"
        child.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def speak_and_transcribe(base_url: str) -> None:
    sdk = ElevenLabs(base_url=base_url, api_key=KEY)
    audio = b"".join(sdk.text_to_speech.convert(VOICE, text="Hello from a test.", model_id="eleven_flash_v2_5"))
    text = sdk.speech_to_text.convert(model_id="scribe_v2", file=("a.mp3", audio), request_options=ONCE)

    assert len(audio) > 1000
    assert getattr(text, "text", "")


@pytest.mark.parametrize("answers", GATEWAYS, ids=names(GATEWAYS))
def test_service_speaks_through_the_official_sdk(
    renders: Renders, tmp_path: Path, answers: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """`serve --sandbox` needs no key, counts what it spent, and ends with 0 when it is told to."""
    project, port = renders.of(answers), free_port()
    argv = ("-m", "acme_voice", "serve", "--sandbox", "--port", str(port))
    redis = {"REDIS_URL": request.getfixturevalue("redis_url")} if answers["cache_backend"] == "redis" else {}
    with started(*argv, cwd=tmp_path, port=port, env=environment(project, **redis)) as service:
        url = f"http://127.0.0.1:{port}"
        speak_and_transcribe(url)
        usage = httpx.get(f"{url}/usage").json()
        metrics = httpx.get(f"{url}/metrics")
        service.send_signal(signal.SIGTERM)
        code = service.wait(60)

    assert usage["totals"]["requests"] == 2
    assert usage["totals"]["characters"] == len("Hello from a test.")
    assert metrics.status_code == (200 if answers["metrics"] == "prometheus" else 404)
    assert code == 0


ON_DISK = next(row for row in PACKAGES if row["framework"] == "none" and row["cache_backend"] == "disk")
NO_FRAMEWORK = [row for row in FEW if row["framework"] == "none"] + [ON_DISK]


@pytest.mark.parametrize("answers", NO_FRAMEWORK, ids=names(NO_FRAMEWORK))
def test_without_framework_the_commands_work(renders: Renders, tmp_path: Path, answers: dict[str, Any]) -> None:
    """`speak` and `check` run; `serve` ends with 2 and says why."""
    project = renders.of(answers)
    package = f"{home(project).name}.speech"
    out = tmp_path / "hello.mp3"
    spoken = run(
        sys.executable, "-m", package, "speak", "Hello", "--sandbox", "--out", out, cwd=tmp_path, **environment(project)
    )
    served = run(sys.executable, "-m", package, "serve", "--sandbox", cwd=tmp_path, **environment(project))

    assert spoken.returncode == 0, spoken.stderr
    assert out.stat().st_size > 1000
    assert served.returncode == 2
    assert len(served.stderr.strip().splitlines()) == 1


HOSTS = {
    "fastapi": """
from typing import Annotated

import uvicorn
from app.speech import SpeechClient
from app.speech.web import get_speech, install
from fastapi import Depends, FastAPI, Response

app = FastAPI()
install(app)


@app.get("/say/{text}")
async def say(text: str, speech: Annotated[SpeechClient, Depends(get_speech)]) -> Response:
    audio = await speech.synthesize(text)
    return Response(audio.data, media_type=audio.media_type)


uvicorn.run(app, port=PORT, log_level="warning")
""",
    "litestar": """
import uvicorn
from app.speech import SpeechClient
from app.speech.web import get_speech, install
from litestar import Litestar, Response, get
from litestar.di import Provide


@get("/say/{text:str}", dependencies={"speech": Provide(get_speech)})
async def say(text: str, speech: SpeechClient) -> Response[bytes]:
    audio = await speech.synthesize(text)
    return Response(audio.data, media_type=audio.media_type)


app = Litestar([say])
install(app)
uvicorn.run(app, port=PORT, log_level="warning")
""",
    "flask": """
from app.speech.web import get_speech, install
from flask import Flask, Response

app = Flask("host")
install(app)


@app.get("/say/<text>")
def say(text: str) -> Response:
    audio = get_speech().synthesize(text)
    return Response(audio.data, mimetype=audio.media_type)


app.run(port=PORT)
""",
    "django": """
import django
import uvicorn
from app.speech.web import get_speech, install
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path


async def say(request: HttpRequest, text: str) -> HttpResponse:
    audio = await get_speech().synthesize(text)
    return HttpResponse(audio.data, content_type=audio.media_type)


urlpatterns = [path("say/<text>", say)]
project = {"ALLOWED_HOSTS": ["*"], "ROOT_URLCONF": __name__, "SECRET_KEY": "of-this-test-alone"}
install(project)
settings.configure(**project)
django.setup()
uvicorn.run(get_asgi_application(), port=PORT, lifespan="off", log_level="warning")
""",
}
HOSTED = [
    row
    for row in PACKAGES
    if row["framework"] != "none" and row["cache_backend"] == "memory" and row["metrics"] == "prometheus"
]


@pytest.mark.parametrize("answers", HOSTED, ids=names(HOSTED))
def test_package_speaks_in_its_host(renders: Renders, tmp_path: Path, answers: dict[str, Any]) -> None:
    """Three lines in an application that exists; with gateway, ElevenLabs' routes beside it under a prefix."""
    project = renders.of(answers)
    port, sandbox_port = free_port(), free_port()
    (tmp_path / "main.py").write_text(HOSTS[answers["framework"]].replace("PORT", str(port)))
    env = environment(
        project,
        ELEVENLABS_BASE_URL=f"http://127.0.0.1:{sandbox_port}",
        ELEVENLABS_API_KEY="sandbox-accepts-any-key",
        SPEECH_CLIENT_KEYS=f"tests:{KEY}",
    )
    sandbox = ("-m", "app.speech", "sandbox", "--port", str(sandbox_port))
    with (
        started(*sandbox, cwd=tmp_path, port=sandbox_port, env=env),
        started("main.py", cwd=tmp_path, port=port, env=env),
    ):
        url = f"http://127.0.0.1:{port}"
        said = httpx.get(f"{url}/say/hello", timeout=30)
        if answers["gateway"]:
            speak_and_transcribe(f"{url}/speech")
        else:
            assert httpx.get(f"{url}/speech/healthz").status_code == 404

    assert (said.status_code, said.headers["content-type"]) == (200, "audio/mpeg")


def test_readme_examples_run(renders: Renders, tmp_path: Path) -> None:
    """The Python blocks of the rendered README, against a service on its sandbox."""
    project, port, sandbox_port = renders.of(SERVICES[0]), free_port(), free_port()
    blocks = re.findall(r"```python\n(.*?)```", (project / "README.md").read_text(), re.S)
    env = environment(
        project, ELEVENLABS_BASE_URL=f"http://127.0.0.1:{sandbox_port}", ELEVENLABS_API_KEY="sandbox-accepts-any-key"
    )
    sandbox = ("-m", "acme_voice", "sandbox", "--port", str(sandbox_port))
    serve = ("-m", "acme_voice", "serve", "--port", str(port))
    with (
        started(*sandbox, cwd=tmp_path, port=sandbox_port, env=env),
        started(*serve, cwd=tmp_path, port=port, env=env),
    ):
        assert len(blocks) >= 2
        for block in blocks:
            done = run(sys.executable, "-c", block.replace("localhost:8000", f"127.0.0.1:{port}"), cwd=tmp_path, **env)

            assert done.returncode == 0, done.stderr


def test_import_loads_neither_sdk_nor_framework(renders: Renders, tmp_path: Path) -> None:
    """The SDK takes a second: it comes with the first call, and a script never loads a web framework."""
    code = "import sys, acme_voice.speech; print(sorted({'elevenlabs', 'fastapi', 'uvicorn'} & set(sys.modules)))"
    done = run(sys.executable, "-c", code, cwd=tmp_path, **environment(renders.of(SERVICES[0])))

    assert done.stdout.strip() == "[]", done.stderr
