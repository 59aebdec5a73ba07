"""What a thread can't notice, noticed for it; a server of threads that ends in order. Real sockets and processes."""

import asyncio
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

import speech as package
from speech.catalogue import DEFAULT_VOICE, HTTP_POOLS
from speech.settings import Settings
from speech.web import wsgi

SOURCE = Path(package.__file__).parents[package.__name__.count(".") + 1]
SAY = f"/v1/text-to-speech/{DEFAULT_VOICE}"
FLASH = "eleven_flash_v2_5"
Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def line() -> Iterator[Ends]:
    """A connection: our end, and the caller's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


# ------------------------------------------------------------------------------------------------------------- leavers


def hang_up(theirs: socket.socket) -> None:
    theirs.close()


def reset(theirs: socket.socket) -> None:
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()


@pytest.mark.parametrize("leave", [hang_up, reset])
async def test_a_leaver_is_noticed_while_a_thread_waits(line: Ends, leave: Callable[[socket.socket], None]) -> None:
    """However he goes; whoever goes on after CallerLeft finds every slot given back."""
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    asyncio.get_running_loop().call_later(0.05, leave, line[1])
    with pytest.raises(wsgi.CallerLeft):
        await asyncio.wait_for(wsgi.unless_left(work(), line[0]), 10)
    assert ended


async def test_who_stays_gets_the_answer_and_leaves_no_trace(line: Ends) -> None:
    """The connection blocks as before and the loop has forgotten it: it serves the next request."""
    assert await wsgi.unless_left(asyncio.sleep(0.05, "done"), line[0]) == "done"
    assert line[0].getblocking() and not asyncio.get_running_loop().remove_reader(line[0])


async def test_behind_another_request_nobody_can_be_seen_leaving(line: Ends) -> None:
    """A limit of watching the connection: what was sent ahead hides its end. Not a byte of it is lost."""
    line[1].sendall(b"GET /next")
    asyncio.get_running_loop().call_later(0.05, line[1].close)
    assert await wsgi.unless_left(asyncio.sleep(0.3, "done"), line[0]) == "done"
    assert line[0].recv(100) == b"GET /next"


async def test_where_no_connection_is_shown_nobody_is_seen_leaving() -> None:
    """Another server, or TLS: the work is done all the same."""
    assert wsgi.line_of({}) is None and wsgi.line_of({"gunicorn.socket": object()}) is None
    assert await wsgi.unless_left(asyncio.sleep(0, "done"), None) == "done"


def test_a_cut_connection_is_reset_and_can_still_be_closed(line: Ends) -> None:
    """The caller gets an error whatever he has read; the server closes what it thinks is still open, and no other."""
    ours, theirs = line
    number = ours.fileno()
    ours.sendall(b"half an answer")
    assert isinstance(wsgi.cut(ours), ConnectionResetError)
    with pytest.raises(ConnectionResetError):
        while theirs.recv(100):
            pass
    assert ours.fileno() == number
    ours.setblocking(True)
    ours.close()


# ------------------------------------------------------------------------------------------------------- the service


class Service:
    """A running ``serve``."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process, self._log = process, log
        self.url = str(eventually(lambda: re.search(r"serving on (http://[^\"]+)", log.read_text()))[1])
        self.address = ("127.0.0.1", int(self.url.rpartition(":")[2]))
        eventually(lambda: self.get("/readyz").status_code == 200)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30)

    def speak(self, text: str, fault: str = "ok", path: str = SAY) -> httpx.Response:
        headers = {"X-Sandbox-Fault": fault}
        return httpx.post(f"{self.url}{path}", json={"text": text, "model_id": FLASH}, headers=headers, timeout=60)

    def now(self) -> dict[str, Any]:
        now: dict[str, Any] = self.get("/usage").json()["now"]
        return now

    def ask(self, head: str, body: bytes = b"") -> socket.socket:
        """By hand: a connection with a request on it."""
        connection = socket.create_connection(self.address, timeout=20)
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        return connection

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]


def eventually(holds: Callable[[], Any], within_s: float = 20) -> Any:
    """What it gives, once that is true."""
    until = time.monotonic() + within_s
    while True:
        with suppress(httpx.TransportError):
            if found := holds():
                return found
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.02)


def started(folder: Path, *argv: str, **variables: str) -> "subprocess.Popen[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SPEECH_", "ELEVENLABS_"))}
    environ |= {"PYTHONPATH": str(SOURCE)} | variables
    command = [sys.executable, "-m", package.__name__, "serve", "--port", "0", "--sandbox", *argv]
    with (folder / "log").open("w") as stderr:
        return subprocess.Popen(command, env=environ, cwd=folder, stderr=stderr, text=True)


@contextmanager
def serving(folder: Path, *argv: str, **variables: str) -> Iterator[Service]:
    process = started(folder, *argv, **variables)
    try:
        yield Service(process, folder / "log")
    finally:
        if process.poll() is None:
            process.terminate()
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service"), SPEECH_MAX_UPLOAD_MB="3") as service:
        yield service


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_broken_stream_ends_in_a_reset(service: Service, version: str) -> None:
    """By HTTP/1.1 the last chunk would be missing anyway; by 1.0, as many a proxy asks, an orderly end is a whole
    answer. And nothing of it looks like a failure of ours in the log."""
    body = json.dumps({"text": f"This breaks by {version}.", "model_id": FLASH}).encode()
    head = f"POST {SAY}/stream HTTP/{version}\nHost: x\nContent-Length: {len(body)}\nX-Sandbox-Fault: cut;after=3"
    with service.ask(head, body) as connection, pytest.raises(ConnectionResetError):
        while connection.recv(65536):
            pass
    assert service.get("/healthz").status_code == 200
    assert not [line for line in service.told() if line["level"] == "error"]


def test_an_upload_without_a_length_is_refused_while_it_arrives(service: Service) -> None:
    """The answer is there although the caller never stops sending."""
    head = (
        "POST /v1/speech-to-text HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n"
        "Content-Type: multipart/form-data; boundary=y"
    )
    part = b'--y\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"\0" * 3 * 10**6
    with service.ask(head, b"%x\r\n%s\r\n" % (len(part), part)) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("keyterms", "x")] * 1100, 422),
        ([("keyterms", "x")] * 1101, 413),
        ([("keyterms", "x" * 2**20)] * 2, 422),
        ([("keyterms", "x" * (2**20 + 1))], 413),
        ([("keyterms", "x" * 2**20)] * 3, 413),
    ],
)
def test_a_form_is_bounded(service: Service, parts: list[tuple[str, str]], status: int) -> None:
    """In its parts, in the length of each that is no file, and in all; below that it is read, and lacks a model."""
    form = [(name, (None, value)) for name, value in parts]
    assert httpx.post(f"{service.url}/v1/speech-to-text", files=form, timeout=30).status_code == status


def test_a_body_that_is_no_multipart_form_is_not_read(service: Service) -> None:
    """An urlencoded form would be read into memory as a whole."""
    answer = httpx.post(f"{service.url}/v1/speech-to-text", data={"model_id": "scribe_v2"})
    assert (answer.status_code, answer.json()["detail"]["code"]) == (422, "malformed")


# --------------------------------------------------------------------------------------------------------- the threads


def test_threads_are_as_many_as_wait_and_no_more() -> None:
    """Every slot and every place in the queues, to a bound."""
    plan = {pool: 2 for pool in HTTP_POOLS}
    assert wsgi.places(Settings(limits=plan, queue_size=0)) == 6
    assert wsgi.places(Settings(limits=plan, queue_size=3)) == 15
    assert wsgi.places(Settings(limits=plan)) == 6 + wsgi.QUEUED_MAX


def test_when_all_threads_wait_it_says_so_and_how_it_is(tmp_path: Path) -> None:
    """Six listen to the same slow voice, which takes one slot; four more are told to come back, at once. Health too is
    answered meanwhile."""
    limits = json.dumps({pool: 2 for pool in HTTP_POOLS})
    with serving(tmp_path, SPEECH_LIMITS=limits, SPEECH_QUEUE_SIZE="0") as service, ThreadPoolExecutor(10) as pool:
        busy = [pool.submit(service.speak, "The same for all.", "slow;s=4") for _ in range(6)]
        eventually(lambda: len(service.now()["pools"]) and service.now()["flights"] == 1)
        eventually(lambda: service.speak("Other words.").status_code == 429)
        began = time.monotonic()
        refused = service.speak("Other words.")
        assert (refused.status_code, refused.json()["detail"]["code"]) == (429, "queue_full")
        assert refused.headers["retry-after"] == "1"
        assert service.get("/healthz").status_code == service.get("/readyz").status_code == 200
        assert time.monotonic() - began < 2
        assert [answer.result().status_code for answer in busy] == [200] * 6
        assert service.speak("Other words.").status_code == 200


# ------------------------------------------------------------------------------------------------------------- the end


def test_it_drains_whatever_is_under_way(tmp_path: Path) -> None:
    """A long stream comes whole, who is queued is answered, an upload that still arrives is answered too; nothing stays
    reserved, and it ends in time."""
    limits = json.dumps({"flash": 1})
    with serving(tmp_path, SPEECH_LIMITS=limits, SPEECH_GRACE_S="15") as service, ThreadPoolExecutor(4) as pool:
        stream = pool.submit(service.speak, "A long one. " * 20, "slow;s=2", f"{SAY}/stream")
        eventually(lambda: service.now()["pools"]["flash"]["in_flight"] == 1)
        queued = [pool.submit(service.speak, f"Number {n}.") for n in range(3)]
        eventually(lambda: sum(service.now()["pools"]["flash"]["queued"].values()) == 3)
        form = b'--y\r\nContent-Disposition: form-data; name="model_id"\r\n\r\nscribe_v2\r\n--y--\r\n'
        head = f"POST /v1/speech-to-text HTTP/1.1\nHost: x\nContent-Length: {len(form)}\n"
        with service.ask(head + "Content-Type: multipart/form-data; boundary=y", form[:-10]) as upload:
            service.process.terminate()
            eventually(lambda: service.get("/readyz").status_code == 503)
            assert service.speak("Too late.").json()["detail"]["code"] == "draining"
            assert stream.result().status_code == 200 and len(stream.result().content) > 10_000
            assert [answer.result().status_code for answer in queued] == [200] * 3
            assert service.process.poll() is None  # the upload may still come
            last = service.get("/usage").json()
            assert last["totals"]["requests"] == 4 and not last["totals"]["uncertain_credits"]
            assert not last["now"]["flights"] and not last["now"]["pools"]["flash"]["in_flight"]
            upload.sendall(form[-10:])
            assert upload.recv(100).startswith(b"HTTP/1.1 4")
        assert service.process.wait(20) == 0
    assert [line["message"] for line in service.told()][-1] == "ended"
    assert not [line for line in service.told() if line["level"] == "error"]


def test_nobody_new_is_kept_waiting_by_an_idle_connection(tmp_path: Path) -> None:
    """It stays for as long as a next request may be on its way; whoever connects meanwhile is refused, not ignored."""
    with serving(tmp_path) as service, httpx.Client(base_url=service.url) as idle:
        idle.get("/healthz")
        service.process.terminate()
        eventually(lambda: _refuses(service.address))
        assert service.process.poll() is None
        assert service.process.wait(10) == 0


def _refuses(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return False
    except ConnectionRefusedError:
        return True


def test_an_upload_that_never_ends_does_not_keep_it(tmp_path: Path) -> None:
    """The grace period is the longest it takes."""
    with serving(tmp_path, SPEECH_GRACE_S="1") as service:
        with service.ask(f"POST {SAY} HTTP/1.1\nHost: x\nContent-Length: 1000", b"{"):
            eventually(lambda: service.get("/healthz").status_code == 200)
            began = time.monotonic()
            service.process.terminate()
            assert service.process.wait(20) == 0
            assert 0.9 < time.monotonic() - began < 8


def test_a_lone_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    """By another on the same port, and what was counted goes on counting."""
    with serving(tmp_path) as service:
        service.speak("Hello.")
        assert service.get("/usage").json()["totals"]["requests"] == 1
        (first,) = workers_of(service.process)
        os.kill(first, signal.SIGKILL)
        eventually(
            lambda: service.get("/usage").json()["totals"]["requests"] == 1 and workers_of(service.process) != [first]
        )
        assert service.speak("Hello again.").status_code == 200


def test_a_worker_that_ends_takes_nothing_with_it(tmp_path: Path) -> None:
    """It was forked off its supervisor: what that has opened (here: the sandbox) is not its own to close."""
    with serving(tmp_path, "--workers", "2") as service, ThreadPoolExecutor() as pool:
        under_way = pool.submit(service.speak, "Hello.", "slow;s=4")
        eventually(lambda: service.now()["flights"] == 1)
        service.process.terminate()
        eventually(lambda: len(workers_of(service.process)) == 1)
        assert not under_way.done()
        assert under_way.result().status_code == 200
        assert service.process.wait(20) == 0


@pytest.mark.parametrize("after_s", [0, 0.1, 0.2, 0.4, 0.8])
def test_told_while_it_starts_it_ends(tmp_path: Path, after_s: float) -> None:
    """A worker that was only just forked hears of it too."""
    process = started(tmp_path)
    eventually(lambda: "serving on" in (tmp_path / "log").read_text())
    time.sleep(after_s)
    process.terminate()
    assert process.wait(15) in (0, 130)  # the latter: before there was a worker


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    argv = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)]
    found = subprocess.run(argv, capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if " serve " in line]


def test_on_windows_it_is_one_line(tmp_path: Path) -> None:
    """gunicorn can't even be imported there."""
    script = f"import sys, {package.__name__}.web.serve; sys.platform = 'win32'; "
    script += f"import {package.__name__}.web.server_gunicorn"
    environ = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60)
    assert "SettingsError: serve wants gunicorn, which Windows has not" in done.stderr.splitlines()[-1]
