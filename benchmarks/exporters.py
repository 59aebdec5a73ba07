"""python -m benchmarks.exporters [--rounds N]: what each exporter costs a request, beside none.

Three renders of one state at one sandbox, each in processes of its own: OpenTelemetry's without a collector, and with
one that takes everything. In each round everybody speaks the same number of texts
in turn, and a figure is the median over rounds of its ratio to metrics=none of the same round. CPU is that of
a process, its exporter's threads included; the collector and the sandbox are others.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from generator.copying import render

from .stage import PACKAGE, stage

CALLS, HITS = 400, 4000
SPEAKER = """
import asyncio, json, sys, time
from {package}.speech import SpeechClient

async def speak(speech, texts):
    began = time.process_time()
    for text in texts:
        await speech.synthesize(text, model_id="eleven_flash_v2_5")
    return (time.process_time() - began) / len(texts)

async def main():
    async with SpeechClient.from_env() as speech:
        await speak(speech, [f"warm {{n}}" for n in range(30)])
        for number, _ in enumerate(sys.stdin):
            called = await speak(speech, [f"Benchmark sentence {{number}} {{n:06d}}." for n in range({calls})])
            hit = await speak(speech, ["warm 1"] * {hits})
            print(json.dumps([called, hit]), flush=True)

asyncio.run(main())
"""


@contextmanager
def collector() -> Iterator[str]:
    """It takes everything and reads nothing; its CPU is this process's, not a speaker's."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class Speaker:
    """A render's client in a process of its own: told to, it speaks a round."""

    def __init__(self, source: Path, environment: dict[str, str]) -> None:
        argv = [sys.executable, "-c", SPEAKER.format(package=PACKAGE, calls=CALLS, hits=HITS)]
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("SPEECH_", "ELEVENLABS_", "OTEL_"))}
        env = inherited | environment | {"PYTHONPATH": str(source)}
        self.process = subprocess.Popen(argv, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def round(self) -> list[float]:
        """CPU seconds a call, and a cache hit."""
        assert self.process.stdin and self.process.stdout
        print(file=self.process.stdin, flush=True)
        said: list[float] = json.loads(self.process.stdout.readline())
        return said

    def end(self) -> None:
        self.process.communicate(timeout=60)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exporters", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with ExitStack() as open_, stage("pro", serve=False) as here, collector() as url:
        folder = Path(open_.enter_context(TemporaryDirectory(prefix="bench.")))
        here.set(latency_s=0)
        sources = {answer: _source(folder / answer, answer) for answer in ("none", "prometheus", "opentelemetry")}
        to = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        tenth = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
        cast = {
            "none": ("none", {}),
            "prometheus": ("prometheus", {}),
            "opentelemetry, no endpoint": ("opentelemetry", {}),
            "opentelemetry, metrics alone": ("opentelemetry", {**to, "OTEL_TRACES_EXPORTER": "none"}),
            "opentelemetry, 1 trace of 10": ("opentelemetry", {**to, **tenth}),
            "opentelemetry, every trace": ("opentelemetry", to),
        }
        speakers = {name: Speaker(sources[of], here.environment | more) for name, (of, more) in cast.items()}
        told: dict[str, list[list[float]]] = {name: [] for name in speakers}
        for _ in range(rounds):
            for name, speaker in speakers.items():
                told[name].append(speaker.round())
        for speaker in speakers.values():
            speaker.end()
    report(told)


def report(told: dict[str, list[list[float]]]) -> None:
    base = told["none"]
    called, hit = (statistics.median(row[which] for row in base) * 1e6 for which in (0, 1))
    print(f"CPU over metrics=none, {len(base)} rounds; a call takes {called:.0f} us there, a cache hit {hit:.1f} us")
    print(f"{'':30} {'call':>7} {'least to most':>16} {'us':>6}   {'hit':>7} {'least to most':>16} {'us':>6}")
    for name, rows in told.items():
        cells = [_cell([(row[w], pair[w]) for row, pair in zip(rows, base, strict=True)]) for w in (0, 1)]
        print(f"{name:30} {'   '.join(cells)}")


def _cell(pairs: list[tuple[float, float]]) -> str:
    ratios = sorted(one / other for one, other in pairs)
    more = statistics.median(one - other for one, other in pairs) * 1e6
    return f"{statistics.median(ratios):7.3f} {ratios[0]:7.3f} to {ratios[-1]:.3f} {more:6.1f}"


def _source(home: Path, metrics: str) -> Path:
    render(home, {"package_name": PACKAGE, "pricing_tier": "pro", "metrics": metrics}, ask=False, quiet=True)
    return home / "src"


if __name__ == "__main__":
    main()
