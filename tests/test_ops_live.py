"""A real Prometheus over two workers on Redis: each fault is staged, each alert fires then, and each panel moves."""

import itertools
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from monitored import Prometheus, configure, moved, need, panels, prometheus, rules, shortened, until
from rendering import Renders
from test_runs import VOICE, environment, free_port, started

ANSWERS = {
    "layout": "service",
    "framework": "fastapi",
    "cache_backend": "redis",
    "metrics": "prometheus",
    "deploy": True,
}
ADMIN = "an-admin-key-of-these-tests-alone"
FLASH, MULTILINGUAL = "eleven_flash_v2_5", "eleven_multilingual_v2"
# A process that a busy machine keeps from its beat goes alone for seconds; the real rule waits a minute.
BUSY = {"SpeechStoreNotShared"}


class Stage:
    """A sandbox, a Redis, a service of two workers, who asks it, and a Prometheus that looks on."""

    def __init__(self, project: Path, folder: Path, running: ExitStack) -> None:
        self.folder, self.running = folder, running
        self.env = environment(project)
        self.port, self.sandbox_port, self.redis_port = free_port(), free_port(), free_port()
        sandbox = ("-m", "acme_voice", "sandbox", "--port", str(self.sandbox_port), "--tier", "business")
        running.enter_context(started(*sandbox, cwd=folder, port=self.sandbox_port, env=self.env))
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        assert server
        argv = [server, "--port", str(self.redis_port), "--save", ""]
        self.redis = running.enter_context(subprocess.Popen(argv, stdout=subprocess.DEVNULL))
        running.callback(self.redis.kill)
        url = f"http://127.0.0.1:{self.port}"
        self.http = running.enter_context(httpx.Client(base_url=url, headers={"xi-api-key": ADMIN}, timeout=60))
        self.numbers, self.phases = itertools.count(), list[tuple[float, float, set[str]]]()
        self.service = self.serve(ELEVENLABS_API_KEY="of-account-one", SPEECH_TIER="business")
        config = configure(project / "ops", folder / "prometheus", f"127.0.0.1:{self.port}", ADMIN)
        self.seen: Prometheus = running.enter_context(prometheus(config, free_port()))

    def serve(self, **settings: str) -> "subprocess.Popen[str]":
        common = {
            "ELEVENLABS_BASE_URL": f"http://127.0.0.1:{self.sandbox_port}",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "SPEECH_CLIENT_KEYS": f"admin:{ADMIN}",
            "SPEECH_CACHE_TTL_S": "4",
            "SPEECH_LOG_LEVEL": "error",
            "SPEECH_DAILY_BUDGET_USD": "10",
        }
        argv = ("-m", "acme_voice", "serve", "--port", str(self.port), "--workers", "2")
        env = self.env | common | settings
        return self.running.enter_context(started(*argv, cwd=self.folder, port=self.port, env=env))

    def stop(self) -> None:
        self.service.terminate()
        self.service.wait(60)

    def sandbox(self, **wanted: Any) -> None:
        httpx.post(f"http://127.0.0.1:{self.sandbox_port}/__sandbox/set", json=wanted).raise_for_status()

    # -------------------------------------------------------------------------------------------------- who asks

    def say(self, text: str = "", model: str = FLASH, **headers: str) -> bytes:
        """Without a text a new one, of few characters: it costs next to nothing."""
        path, body = f"/v1/text-to-speech/{VOICE}", {"text": text or f"n {next(self.numbers)}", "model_id": model}
        return self.http.post(path, json=body, headers=headers).content

    def hear(self) -> None:
        file = {"file": ("a.mp3", self.say("What is heard."))}
        self.http.post("/v1/speech-to-text", data={"model_id": "scribe_v2"}, files=file).raise_for_status()

    def everyday(self) -> None:
        self.say("What is said again and again.")
        self.say()

    @contextmanager
    def load(self, ask: Callable[[], Any], threads: int, pause_s: float) -> Iterator[None]:
        """Each thread asks again and again; a refusal, or nobody there, is an answer like another."""
        over = threading.Event()

        def go() -> None:
            while not over.wait(pause_s):
                try:
                    ask()
                except httpx.HTTPError:
                    pass

        with ThreadPoolExecutor(threads) as pool:
            for _ in range(threads):
                pool.submit(go)
            try:
                yield
            finally:
                over.set()

    # ------------------------------------------------------------------------------------------- what is looked at

    def fires(self, *names: str, beside: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """All of these, within a minute; those *beside* them may."""
        start = time.time()
        until(lambda: set(names) <= self.seen.fired(start, time.time()), f"{names} fire")
        self.phases.append((start, time.time(), {*names, *beside, *BUSY}))

    def calms_down(self) -> None:
        with self.load(self.everyday, 2, 0.4):
            until(lambda: not self.seen.firing(), "no alert fires any more")


@pytest.fixture
def stage(renders: Renders, tmp_path: Path) -> Iterator[Stage]:
    need("prometheus")
    if not (shutil.which("redis-server") or shutil.which("valkey-server")):
        pytest.skip("needs redis-server (or valkey-server) on the path: apt-get install redis-server")
    with ExitStack() as running:
        yield Stage(renders.of(ANSWERS), tmp_path, running)


@pytest.mark.full  # minutes, and a machine to itself: `promtool` times the same alerts in test_ops.py
def test_each_alert_fires_for_its_fault_alone_and_each_panel_moves(stage: Stage, renders: Renders) -> None:
    """Quiet under an everyday load; then fault by fault, each with its alert and those that belong to it."""
    seen = stage.seen
    for fault in (quiet_everyday, slow, broken, dear, watching, key_refused, out_of_credits, gone):
        fault(stage)

    ops = renders.of(ANSWERS) / "ops"
    staged = set[str]()
    for start, end, expected in stage.phases:
        fired = seen.fired(start, end)
        assert fired <= expected
        staged |= fired
    assert staged == {rule["alert"] for rule in rules(ops)}
    still = [
        f"{panel['title']}: {target['expr']}"
        for panel in panels(ops)
        for target in panel["targets"]
        if not moved(seen.history(shortened(target["expr"].replace("$job", "speech"))))
    ]
    assert not still, "\n".join(still)


def quiet_everyday(stage: Stage) -> None:
    """Hits, new texts and a transcription, for longer than any rule looks back."""
    until(lambda: stage.seen.get("query", query='up{job="speech"} == 1')["result"], "the service is scraped")
    with stage.load(stage.everyday, 2, 0.4):
        until(lambda: not stage.seen.firing(), "Prometheus has found the service")
        start = time.time()
        for _ in range(3):
            stage.hear()
            stage.sandbox(faults=["500"])  # of some text: it is repeated, and nobody hears of it
            time.sleep(5)
    stage.phases.append((start, time.time(), set()))


def slow(stage: Stage) -> None:
    """The account allows two at once of what was thirty, and each takes a second."""
    patience = itertools.cycle(["1500", "30000", "30000"])
    stage.sandbox(limits={"flash": 2}, latency_s=1.0)
    with stage.load(lambda: stage.say(**{"x-deadline-ms": next(patience)}), 24, 0.1):
        stage.fires("SpeechQueueWait", "SpeechLimitDrift", "SpeechShedding", beside={"SpeechErrorRate"})
        stage.sandbox(limits={"flash": 30}, latency_s=0.05)
    stage.calms_down()


def broken(stage: Stage) -> None:
    """Nothing but failures; what is kept is served though it is stale."""
    stage.sandbox(faults=[{"fault": "500", "share": 0.5}, {"fault": "503", "share": 0.5}])
    with stage.load(stage.everyday, 2, 0.2):
        stage.fires("SpeechErrorRate", "SpeechBreakerOpen")
    stage.sandbox(faults=None)
    stage.calms_down()


def dear(stage: Stage) -> None:
    """Long texts in a dear voice, some of them cut short, until the day's budget is gone."""
    stage.sandbox(faults=[{"fault": "early_end;after=1", "share": 0.4}])
    with stage.load(lambda: stage.say(f"{next(stage.numbers)} " * 300, MULTILINGUAL), 4, 0.3):
        alerts = ("SpeechCostSpike", "SpeechCreditsLow", "SpeechBudgetLow", "SpeechBudgetSpent")
        stage.fires(*alerts)
    stage.sandbox(faults=None)


def watching(stage: Stage) -> None:
    """Nothing is enforced; what would have been is counted."""
    stage.stop()
    stage.sandbox(latency_s=0.2)
    two_at_once = {"SPEECH_MODE": "observe", "SPEECH_LIMITS": '{"flash": 2}'}
    stage.service = stage.serve(ELEVENLABS_API_KEY="of-account-four", SPEECH_TIER="pro", **two_at_once)
    stage.calms_down()
    start = time.time()
    with stage.load(lambda: stage.say("What is said again and again."), 6, 0.3):
        for metric in ("speech_observed_total", "speech_observed_saved_credits_total"):
            until(lambda: moved(stage.seen.history(f"sum({metric})")), f"{metric} moves")  # noqa: B023 - called at once
        time.sleep(5)
    stage.phases.append((start, time.time(), {"SpeechCreditsLow", "SpeechCostSpike", *BUSY}))  # nothing holds it back
    stage.sandbox(latency_s=0.05)


def key_refused(stage: Stage) -> None:
    """Of another account on another plan, under another budget: so that these are seen to change too."""
    stage.stop()
    stage.sandbox(limits={"standard": 10, "flash": 20, "stt": 40})
    stage.service = stage.serve(ELEVENLABS_API_KEY="of-account-two", SPEECH_TIER="pro", SPEECH_DAILY_BUDGET_USD="20")
    stage.calms_down()
    stage.sandbox(key="another")
    with stage.load(stage.say, 2, 0.2):
        stage.fires("SpeechKeyRefused", beside={"SpeechErrorRate"})
    stage.sandbox(key=None)


def out_of_credits(stage: Stage) -> None:
    stage.stop()
    stage.service = stage.serve(ELEVENLABS_API_KEY="of-account-three", SPEECH_TIER="pro")
    stage.calms_down()
    stage.sandbox(credits=0)
    with stage.load(stage.say, 2, 0.2):
        stage.fires("SpeechOutOfCredits", beside={"SpeechErrorRate"})


def gone(stage: Stage) -> None:
    """First what the processes share, then they themselves."""
    stage.redis.kill()
    with stage.load(stage.say, 2, 0.2):
        stage.fires("SpeechStoreNotShared", beside={"SpeechOutOfCredits", "SpeechErrorRate"})
    stage.stop()
    stage.fires("SpeechNoMetrics", beside={"SpeechStoreNotShared", "SpeechOutOfCredits", "SpeechErrorRate"})
