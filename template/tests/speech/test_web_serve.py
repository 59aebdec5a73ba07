"""``serve`` on real sockets: it starts only when it is safe, ends in order, and several workers answer as one."""

import asyncio
import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from rooms import settings

import speech as package
from speech.answers import CACHE_BACKEND, METRICS
from speech.catalogue import DEFAULT_VOICE
from speech.errors import SpeechError
from speech.ledger import Row, Usage
from speech.meter import Meter
from speech.testing.plugin import SandboxThread
from speech.web import workers
from speech.wiring import SpeechClient

SOURCE = Path(package.__file__).parents[package.__name__.count(".") + 1]
SPEAK = f"/v1/text-to-speech/{DEFAULT_VOICE}"
CLIENTS = "admin:admin-key-0123456789"
ONE_SLOT = '{"flash": 1}'
UPLOAD = (
    b'--x\r\nContent-Disposition: form-data; name="model_id"\r\n\r\nscribe_v2\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n'
    b"ID3\x04" + bytes(200_000) + b"\r\n--x--\r\n"
)


class Service:
    """A running ``serve``."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process, self._log = process, log
        self.url = str(eventually(lambda: re.search(r"serving on (http://[^\"]+)", log.read_text()))[1])
        eventually(lambda: self.get("/readyz").status_code == 200)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30)

    def speak(self, text: str, fault: str = "ok", path: str = SPEAK) -> httpx.Response:
        headers = {"X-Sandbox-Fault": fault}
        body = {"text": text, "model_id": "eleven_flash_v2_5"}
        return httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=60)

    def usage(self) -> dict[str, Any]:
        totals: dict[str, Any] = self.get("/usage").json()["totals"]
        return totals

    def now(self) -> dict[str, Any]:
        pool: dict[str, Any] = self.get("/usage").json()["now"]["pools"]["flash"]
        return pool

    def limit(self) -> int:
        return int(self.now()["limit"])

    def busy(self) -> bool:
        return bool(self.get("/usage").json()["now"]["flights"])

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def end(self, sig: int = signal.SIGTERM) -> int:
        self.process.send_signal(sig)
        return self.process.wait(30)


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """Without this an answer of two parts takes 40 ms longer; accepted connections have it of the listener."""
    from speech.web.serve import _bound

    with _bound("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def eventually(holds: Callable[[], Any], within_s: float = 20) -> Any:
    """What it gives, once that is true."""
    until = time.monotonic() + within_s
    while True:
        try:
            if found := holds():
                return found
        except httpx.TransportError:
            pass
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.02)


def command(*argv: str, **variables: str) -> dict[str, Any]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SPEECH_", "ELEVENLABS_"))}
    return {
        "args": [sys.executable, "-m", package.__name__, "serve", "--port", "0", *argv],
        "env": environ | {"PYTHONPATH": str(SOURCE)} | variables,
    }


@contextmanager
def serving(folder: Path, *argv: str, sandbox: bool = True, **variables: str) -> Iterator[Service]:
    log, argv = folder / "log", (*argv, "--sandbox") if sandbox else argv
    with log.open("w") as stderr:
        process = subprocess.Popen(**command(*argv, **variables), cwd=folder, stderr=stderr, text=True)
    try:
        yield Service(process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def half_an_upload(service: Service) -> socket.socket:
    """All but its last hundred bytes."""
    host, port = service.url.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)), timeout=20)
    head = "POST /v1/speech-to-text HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    line.sendall(f"{head}Content-Length: {len(UPLOAD)}\r\n\r\n".encode() + UPLOAD[:-100])
    return line


def heard(line: socket.socket) -> bytes:
    """What comes, until it is an answer."""
    said = b""
    while b"}" not in said and (more := line.recv(65536)):
        said += more
    return said


# ------------------------------------------------------------------------------------------------------------ the start


@pytest.mark.parametrize(
    ("argv", "variables", "code", "why"),
    [
        ([], {}, 2, "SPEECH_CLIENT_KEYS is not set"),
        ([], {"SPEECH_ENV": "staging"}, 2, "SPEECH_CLIENT_KEYS is not set"),
        (["--host", "0.0.0.0"], {"SPEECH_ENV": "development"}, 2, "anybody who reaches 0.0.0.0"),
        (["--host", "no.such.invalid"], {"SPEECH_CLIENT_KEYS": CLIENTS}, 1, "no.such.invalid port 0: "),
        pytest.param(
            *(
                ["--workers", "6"],
                {"SPEECH_CLIENT_KEYS": CLIENTS, "SPEECH_TIER": "creator"},
                2,
                "SPEECH_PROCESSES is 6",
            ),
            marks=pytest.mark.skipif(CACHE_BACKEND != "memory", reason="they share the slots"),
        ),
        ([], {"SPEECH_TIER": "gold"}, 2, "SPEECH_TIER is 'gold'"),
    ],
)
def test_it_refuses_to_start_in_one_line(
    argv: list[str], variables: dict[str, str], code: int, why: str, tmp_path: Path
) -> None:
    """Without keys for its callers, but in development on loopback; on a bad address; with nothing to share."""
    done = subprocess.run(**command(*argv, **variables), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert done.stderr.startswith("error: ") and why in done.stderr


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """With 1: asked rightly, and not possible."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = command("--port", str(taken.getsockname()[1]), SPEECH_CLIENT_KEYS=CLIENTS)
        done = subprocess.run(**run, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Address already in use" in done.stderr


def test_without_a_key_it_is_alive_and_never_ready(tmp_path: Path) -> None:
    """So that a first deployment tells what it lacks instead of restarting for ever."""
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(**command(SPEECH_ENV="development"), cwd=tmp_path, stderr=stderr, text=True)
    try:
        url = str(eventually(lambda: re.search(r"serving on (http://[^\"]+)", log.read_text()))[1])
        assert eventually(lambda: httpx.get(f"{url}/healthz")).status_code == 200
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert "ELEVENLABS_API_KEY is not set" in log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


# -------------------------------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize(("path", "sig"), [(SPEAK, signal.SIGTERM), (f"{SPEAK}/stream", signal.SIGINT)])
def test_it_drains(tmp_path: Path, path: str, sig: int) -> None:
    """Told to end, it is not ready and takes nothing new, says so, finishes what it began, and exits with 0."""
    with serving(tmp_path) as service, ThreadPoolExecutor() as pool:
        whole = service.speak("Hello", path=path).content
        under_way = pool.submit(service.speak, "Good morning", "slow;s=1.5", path)
        eventually(service.busy)
        service.process.send_signal(sig)
        eventually(lambda: service.get("/readyz").status_code == 503)
        assert service.get("/healthz").status_code == 200
        refused = service.speak("Too late")
        assert (refused.status_code, refused.json()["detail"]["code"]) == (503, "draining")
        assert refused.headers["retry-after"]
        answer = under_way.result()
        assert answer.status_code == 200 and len(answer.content) > len(whole)
        assert service.process.wait(20) == 0
    assert [line["message"] for line in service.told()][-1] == "ended"
    assert not any("Traceback" in json.dumps(line) or line["level"] == "error" for line in service.told())


def test_it_drains_what_streams_waits_and_arrives(tmp_path: Path) -> None:
    """With one slot taken by a stream, two callers queued for it, an upload that is half here and one that never will
    be: the stream comes whole, the queued are answered, the upload is told, and nothing is held or owed at the end."""
    with SandboxThread() as vendor, ThreadPoolExecutor() as pool:
        key = {"ELEVENLABS_BASE_URL": vendor.url, "ELEVENLABS_API_KEY": "sandbox-takes-any", "SPEECH_LIMITS": ONE_SLOT}
        with serving(tmp_path, sandbox=False, SPEECH_ENV="development", SPEECH_GRACE_S="8", **key) as service:
            stream = pool.submit(service.speak, "A long story.", "stall;after=3;s=3", f"{SPEAK}/stream")
            eventually(lambda: service.now()["in_flight"])
            queued = [pool.submit(service.speak, f"Number {n}, please.") for n in range(2)]
            eventually(lambda: sum(service.now()["queued"].values()) == 2)
            with half_an_upload(service) as late, half_an_upload(service):
                service.process.send_signal(signal.SIGTERM)
                eventually(lambda: service.get("/readyz").status_code == 503)
                late.sendall(UPLOAD[-100:])
                assert b"draining" in heard(late)
                story = stream.result().content
                for answer in (future.result() for future in queued):
                    assert answer.status_code == 200 or answer.json()["detail"]["code"] == "draining"
                usage, now = eventually(lambda: service.get("/usage").json()), service.now()
                assert (now["in_flight"], sum(now["queued"].values())) == (0, 0)
                assert usage["totals"]["uncertain_credits"] == 0
                assert usage["totals"]["credits"] == vendor.state()["bill_credits"]
                assert service.process.wait(20) == 0
        assert not any(vendor.state()["in_flight"].values())
        body = {"text": "A long story.", "model_id": "eleven_flash_v2_5"}
        assert story == httpx.post(f"{vendor.url}{SPEAK}", json=body, headers={"xi-api-key": "any"}).content


def test_the_grace_period_is_the_longest_it_takes(tmp_path: Path) -> None:
    """What isn't done by then is cut off, and told so."""
    with serving(tmp_path, SPEECH_GRACE_S="1") as service, ThreadPoolExecutor() as pool:
        under_way = pool.submit(service.speak, "Hello", "slow;s=30")
        eventually(service.busy)
        began = time.monotonic()
        assert service.end() == 0
        assert 0.9 < time.monotonic() - began < 8
        answer = under_way.result()
        assert (answer.status_code, answer.json()["detail"]["code"]) == (503, "draining")


def test_told_twice_it_ends_at_once(tmp_path: Path) -> None:
    """Whoever sends a second signal has waited long enough."""
    with serving(tmp_path) as service, ThreadPoolExecutor() as pool:
        under_way = pool.submit(service.speak, "Hello", "slow;s=30")
        eventually(service.busy)
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: service.get("/readyz").status_code == 503)
        began = time.monotonic()
        assert service.end() == 1
        assert time.monotonic() - began < 8
        assert under_way.exception() or under_way.result().status_code != 200


# ---------------------------------------------------------------------------------------------------------- the workers


def test_several_workers_answer_as_one(tmp_path: Path) -> None:
    """Each has its share of the plan; whichever is asked knows at once what all of them did. One that is killed is
    replaced, and no sum falls, which would look like a restart to whoever watches it."""
    with serving(tmp_path, "--workers", "2") as service, ThreadPoolExecutor(6) as pool:
        assert all(answer.status_code == 200 for answer in pool.map(service.speak, [f"text {n}" for n in range(12)]))
        before = service.usage()
        assert before["requests"] == 12
        for _ in range(4):
            assert service.usage() == before
            if METRICS == "prometheus":
                assert 'speech_requests_total{kind="tts",outcome="ok"} 12.0' in service.get("/metrics").text
        assert service.limit() == 10
        assert (CACHE_BACKEND == "memory") == any("flash 5" in line["message"] for line in service.told())

        (first, *_) = children(service.process.pid)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: len(children(service.process.pid)) == 2 and first not in children(service.process.pid))
        assert [service.usage() for _ in range(4)] == [before] * 4
        eventually(lambda: service.limit() == 10)  # of two, not of three
        service.speak("one more")
        assert service.usage()["requests"] == 13
        assert service.end() == 0


def test_every_account_of_the_money_agrees(speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """Two workers, a load with faults: /usage, its CSV, each of its sums, the metrics, the ledger and the command say
    the same, and upstream's bill lies where the ledger says it must."""
    shares = {"500": 0.1, "reset": 0.1, "503": 0.05, "cut;after=2": 0.05, "429;kind=busy": 0.05, "empty": 0.05}
    speech_sandbox.set(latency_s=0.05, seed=7, faults=[{"fault": name, "share": n} for name, n in shares.items()])
    upstream = {"ELEVENLABS_BASE_URL": speech_sandbox.url, "ELEVENLABS_API_KEY": "sandbox-takes-any"}
    variables = {**upstream, "SPEECH_ENV": "development", "SPEECH_CACHE_DIR": str(tmp_path / "kept")}
    with serving(tmp_path, "--workers", "2", sandbox=False, **variables) as service, ThreadPoolExecutor(8) as pool:
        bodies = [{"text": f"text number {n % 60}", "model_id": "eleven_flash_v2_5"} for n in range(90)]
        answers = list(pool.map(lambda body: httpx.post(f"{service.url}{SPEAK}", json=body, timeout=60), bodies))
        assert len({answer.status_code for answer in answers}) > 1  # some failed
        eventually(lambda: not service.busy())
        said = eventually(lambda: _twice_the_same(lambda: service.get("/usage").json()))
        table = list(csv.DictReader(io.StringIO(service.get("/usage?format=csv").text)))
        metrics = service.get("/metrics").text if METRICS == "prometheus" else ""
        bill = speech_sandbox.state()
        assert service.end() == 0
    totals = said["totals"]
    assert totals["credits"] > 0 < totals["uncertain_credits"] and totals["saved_credits"] > 0
    for name in ("credits", "uncertain_credits", "cost_usd", "characters", "saved_credits"):
        for rows in (*said["by"].values(), table):
            assert sum(float(row[name]) for row in rows) == pytest.approx(totals[name], abs=1e-6)
        if metrics:
            counted = sum(map(float, re.findall(rf"^speech_{name}_total\{{.*\}} (\S+)$", metrics, re.MULTILINE)))
            assert counted == pytest.approx(totals[name], abs=1e-6), name
    uncertain_usd = sum(float(row["uncertain_usd"]) for row in table)
    assert totals["credits"] <= bill["bill_credits"] <= totals["credits"] + totals["uncertain_credits"]
    assert totals["cost_usd"] - 1e-6 <= bill["bill_usd"] <= totals["cost_usd"] + uncertain_usd + 1e-6
    if CACHE_BACKEND != "memory":
        run = command(**variables) | {"args": [sys.executable, "-m", package.__name__, "usage", "--json"]}
        told = json.loads(subprocess.run(**run, cwd=tmp_path, capture_output=True, text=True, timeout=60).stdout)
        assert told["totals"] == totals and told["by"] == said["by"]


def _twice_the_same(ask: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Nothing is on its way into the books any more."""
    first = ask()
    time.sleep(0.3)
    return first if ask()["totals"] == first["totals"] else None


def test_workers_drain_together(tmp_path: Path) -> None:
    """A terminal's Ctrl-C reaches every process: it is still one wish, and what is under way ends."""
    with serving(tmp_path, "--workers", "2") as service, ThreadPoolExecutor() as pool:
        under_way = [pool.submit(service.speak, f"text {n}", "slow;s=4") for n in range(4)]
        eventually(lambda: service.now()["in_flight"] == 4)
        for pid in children(service.process.pid):
            os.kill(pid, signal.SIGINT)
        assert service.end(signal.SIGINT) == 0
        assert all(future.result().status_code == 200 for future in under_way)


def test_workers_without_their_parent_end(tmp_path: Path) -> None:
    """Killed hard, it leaves nobody behind on its port."""
    log = tmp_path / "log"
    with log.open("w") as stderr:
        run = command("--workers", "2", SPEECH_ENV="development")
        process = subprocess.Popen(**run, cwd=tmp_path, stderr=stderr, text=True)
    url = str(eventually(lambda: re.search(r"serving on (http://[^\"]+)", log.read_text()))[1])
    eventually(lambda: httpx.get(f"{url}/healthz"))
    pids = children(process.pid)
    process.kill()
    process.wait()
    assert len(pids) == 2
    eventually(lambda: not [pid for pid in pids if running(pid)])


def children(pid: int) -> list[int]:
    """The workers: not the sandbox, nor what Python starts for itself."""
    found = subprocess.run(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if re.search("spawn_main| serve ", line)]


def running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


# -------------------------------------------------------------------------------------------- what they tell each other


def told_by(requests: int, **fields: Any) -> dict[str, Any]:
    meter = Meter()
    meter.count("requests", requests, kind="tts", outcome="ok")
    for _ in range(requests):
        meter.time("first_byte_s", 0.1, model="eleven_v4")
    now = {"pools": {"flash": {"limit": 5, "in_flight": 3}}, "flights": 3, "meter": meter.snapshot()}
    return {"at": time.time_ns(), "now": now, "rows": [], **fields}


def counted(snapshot: dict[str, Any]) -> tuple[float, int]:
    """Requests, and first bytes."""
    (requests,) = [value for name, _, value in snapshot["meter"]["counters"] if name == "requests"]
    (times,) = [value for name, _, value in snapshot["meter"]["histograms"] if name == "first_byte_s"]
    assert times["count"] == sum(times["buckets"])
    return requests, times["count"]


async def test_a_stuck_worker_is_taken_by_its_last_word(tmp_path: Path) -> None:
    """Nobody waits for it for long."""
    async with SpeechClient(settings(run_dir=tmp_path, cache_dir=tmp_path / "cache")) as client:
        (tmp_path / "1.json").write_text(json.dumps(told_by(5, at=1)))
        began = time.monotonic()
        assert counted(workers.together(await workers.fleet(client))) == (5, 5)
        assert 0.3 < time.monotonic() - began < 3


async def test_who_is_asked_waits_for_fresh_words(tmp_path: Path) -> None:
    """A worker that counted something a moment ago is not asked for what it knew a second before."""
    async with SpeechClient(settings(run_dir=tmp_path, cache_dir=tmp_path / "cache")) as client:
        file = tmp_path / "1.json"
        file.write_text(json.dumps(told_by(5, at=1)))

        def answer() -> None:
            while not (tmp_path / "asked").exists():
                time.sleep(0.01)
            workers._write(file, json.dumps(told_by(6)))

        thread = threading.Thread(target=answer)
        thread.start()
        assert counted(workers.together(await workers.fleet(client))) == (6, 6)
        thread.join()


@pytest.mark.parametrize(("times", "status"), [(2, 200), (9, 500)])
async def test_books_that_cannot_be_read_are_asked_again_and_then_said_so(
    times: int, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody who looks at the usage needs it in the second in which Redis answers nobody."""
    failures = [ConnectionError("an address of ours")] * times

    async def rows(*_: object) -> dict[Row, Usage]:
        if failures:
            raise failures.pop()
        return {}

    async with SpeechClient(settings(run_dir=tmp_path, cache_dir=tmp_path / "cache")) as client:
        monkeypatch.setattr(workers, "_rows", rows)
        try:
            assert (await workers.fleet_usage(client))["totals"]["requests"] == 0 and status == 200
        except SpeechError as error:
            assert (error.status, error.code) == (status, "internal_error")
            assert "books can't be read" in error.message and "address" not in error.message


async def test_the_dead_count_but_hold_nothing(tmp_path: Path) -> None:
    """What was in flight there is not in flight any more."""
    async with SpeechClient(settings(run_dir=tmp_path, cache_dir=tmp_path / "cache")) as client:
        for pid in (1, 1):  # a number may come again
            (tmp_path / f"{pid}.json").write_text(json.dumps(told_by(5)))
            workers.bury(tmp_path, pid)
        workers.bury(tmp_path, 2)  # it never said anything
        now = workers.together(await workers.fleet(client))
        assert (now["pools"], now["flights"]) == (client.snapshot()["pools"], 0)
        assert counted(now) == (10, 10)


async def test_a_worker_speaks_when_it_is_asked_or_a_second_has_passed(tmp_path: Path) -> None:
    """And not at every tick of its server."""
    async with SpeechClient(settings(run_dir=tmp_path, cache_dir=tmp_path / "cache")) as client:
        first = await workers.post(client, 0)
        assert await workers.post(client, first) == first
        (tmp_path / "asked").write_text(str(time.time_ns()))
        second = await workers.post(client, first)
        assert second > first and await workers.post(client, second) == second
        assert await workers.post(client, second - workers.EVERY_NS) > second
        await asyncio.sleep(0)


@pytest.mark.parametrize(("stores", "limit"), [(["alone", "joined"], 3), ([], 6)])
def test_one_snapshot_of_several(stores: list[str], limit: int) -> None:
    """Numbers add up; what is the same in all does not, as a limit of shared slots; of states the worst is told."""
    one = {
        "ready": True, "draining": False, "flights": 1, "store": {},
        "pools": {"flash": {"limit": 3, "plan": 10, "service_s": None, "breaker": {"state": "half_open", "opened": 1}}},
    }  # fmt: skip
    two = {
        "ready": True, "draining": True, "flights": 2, "store": {},
        "pools": {"flash": {"limit": 3, "plan": 10, "service_s": 0.5, "breaker": {"state": "closed", "opened": 2}}},
    }  # fmt: skip
    for snapshot, state in zip((one, two), stores, strict=False):
        snapshot["store"] = {"slots": state}
    assert workers.together([one, two]) == {
        "ready": True,
        "draining": True,
        "flights": 3,
        "store": {"slots": "alone"} if stores else {},
        "pools": {
            "flash": {"limit": limit, "plan": 10, "service_s": 0.5, "breaker": {"state": "half_open", "opened": 3}},
        },
    }
