"""What a collector hears, over real OTLP on a real socket: every metric, and every request's trace."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from load import BOOKS, CALLER, FLASH, OBSERVED, SECRET, everything, outcome
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rooms import environ

import speech as package
from speech import SpeechClient
from speech.answers import GATEWAY
from speech.catalogue import DEFAULT_VOICE
from speech.exporters import opentelemetry as exporter
from speech.exporters import series
from speech.exporters.opentelemetry_metrics import Watch, otel_name
from speech.meter import BUCKETS, METRICS
from speech.request import Terms
from speech.testing.audio import speak as speak_wave
from speech.testing.plugin import SandboxThread


class Point(NamedTuple):
    """A number, or of a histogram its count, sum and buckets."""

    instance: str
    labels: dict[str, str]
    value: Any


class Span(NamedTuple):
    name: str
    id: str
    parent: str
    trace: str
    said: dict[str, Any]
    kind: int
    status: int
    links: list[str]
    lasts: tuple[int, int]


class Collector:
    """An OTLP receiver. ``delay_s`` and ``status`` make it a bad one."""

    def __init__(self) -> None:
        self.delay_s, self.status = 0.0, 200
        self.calls, self.raw = 0, list[bytes]()
        self.metrics: dict[str, list[Point]] = {}
        self.described: dict[str, tuple[str, str, str]] = {}  # kind, unit and text
        self.spans: list[Span] = []
        self.names: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.calls += 1
                time.sleep(outer.delay_s)
                if outer.status == 200:
                    outer.hear(self.path, body)
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def hear(self, path: str, body: bytes) -> None:
        self.raw.append(body)
        if path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self._metrics(_said(resource.resource.attributes), resource)
        if path == "/v1/traces":
            for spans in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [_span(span) for scope in spans.scope_spans for span in scope.spans]

    def _metrics(self, resource: dict[str, Any], heard: Any) -> None:
        self.names.add(resource["service.name"])
        for metric in (metric for scope in heard.scope_metrics for metric in scope.metrics):
            kind = metric.WhichOneof("data")
            self.described[metric.name] = kind, metric.unit, metric.description
            points = self.metrics.setdefault(metric.name, [])
            points[:] = [point for point in points if point.instance != resource["service.instance.id"]]
            for point in getattr(metric, kind).data_points:
                points.append(Point(resource["service.instance.id"], _said(point.attributes), _value(kind, point)))

    def value(self, name: str, **labels: str) -> Any:
        """Of its latest word, over all instances."""
        found = [point.value for point in self.metrics.get(otel_name(name), ()) if point.labels == labels]
        return sum(found) if found and not isinstance(found[0], tuple) else (found or [None])[0]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def below(self, span: Span) -> list[Span]:
        return [other for other in self.spans if other.parent == span.id]


def _said(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _value(kind: str, point: Any) -> Any:
    if kind == "histogram":
        return point.count, point.sum, list(point.bucket_counts), tuple(point.explicit_bounds)
    return getattr(point, point.WhichOneof("value"))


def _span(span: Any) -> Span:
    links = [link.span_id.hex() for link in span.links]
    ids = span.span_id.hex(), span.parent_span_id.hex(), span.trace_id.hex()
    lasts = span.start_time_unix_nano, span.end_time_unix_nano
    return Span(span.name, *ids, _said(span.attributes), span.kind, span.status.code, links, lasts)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One that listens, and a process that has not begun."""
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setattr(exporter, "_telemetries", {})
    yield made
    made.close()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not begun, and no collector."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.setattr(exporter, "_telemetries", {})


# ------------------------------------------------------------------------------------------------------------ metrics


async def test_every_metric_arrives(collector: Collector, speech_sandbox: SandboxThread) -> None:
    """With the value of the last snapshot, by kind, unit, sentence and labels, in the buckets of the meter."""
    async with SpeechClient.from_env() as speech:
        await everything(speech, speech_sandbox)
    last = list(series(speech.snapshot()))
    assert {name for name, *_ in last} | {"store"} == set(METRICS) - BOOKS - OBSERVED
    for name, labels, value in last:
        if METRICS[name][0] == "histogram":
            value = value["count"], pytest.approx(value["sum"]), value["buckets"], BUCKETS
        assert collector.value(name, **labels) == value, (name, labels)
    for name in {name for name, *_ in last}:
        kind, text, unit, *_ = METRICS[name]
        sort = "sum" if kind == "counter" else kind
        assert collector.described[otel_name(name)] == (sort, unit, text)


async def test_it_goes_on_counting_from_client_to_client(collector: Collector, speech_sandbox: SandboxThread) -> None:
    """A process has one exporter: a second client's numbers are added, and no sum falls because one was closed."""
    for text in ("one", "two"):
        async with SpeechClient.from_env() as speech:
            assert await outcome(speech, text) == "ok"
    assert collector.value("requests", kind="tts", outcome="ok") == 2
    assert collector.value("queue_wait_s", pool="flash", priority="normal")[0] == 2
    assert len({point.instance for point in collector.metrics["speech.requests"]}) == 1


async def test_gauges_are_told_before_anybody_asked(collector: Collector, speech_sandbox: SandboxThread) -> None:
    """From when the client is opened on: a service at rest is not a service that is away."""
    async with SpeechClient.from_env():
        pass
    assert collector.value("limit", pool="flash") == 10
    assert collector.names == {package.__name__.partition(".")[0]}


async def test_a_busy_loop_is_not_waited_for(quiet: None, speech_sandbox: SandboxThread) -> None:
    """Whoever collects has its last word then."""
    provider, reader = _meters()
    async with SpeechClient.from_env() as speech:
        watch = Watch(provider.get_meter("test"))
        watch.add(speech)
        assert await outcome(speech, "one") == "ok"
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.append(_sum(reader, "speech.requests")))
        assert await asyncio.to_thread(_sum, reader, "speech.requests") == 1
        await asyncio.sleep(0.3)
        assert await outcome(speech, "two") == "ok"
        thread.start()
        thread.join(30)  # on the loop: nobody else runs there
        assert got == [1]
        await asyncio.sleep(0.3)
        assert _sum(reader, "speech.requests") == 2  # asked on the loop itself


# -------------------------------------------------------------------------------------------------------------- traces


async def test_a_request_and_what_it_was_made_of(collector: Collector, speech_sandbox: SandboxThread) -> None:
    """Request, attempt, queue and upstream hang together, and the ids of both sides are on them."""
    async with SpeechClient.from_env() as speech:
        audio = await speech.synthesize(SECRET, model_id=FLASH, caller=CALLER, priority="interactive")
    (request,) = collector.named("speech.request")
    (attempt,) = collector.below(request)
    queue, upstream = sorted(collector.below(attempt), key=lambda span: span.lasts)
    assert [attempt.name, queue.name, upstream.name] == ["speech.attempt", "speech.queue", f"text_to_speech {FLASH}"]
    assert request.parent == "" and len({span.trace for span in collector.spans}) == 1
    assert request.said["gen_ai.response.id"] == upstream.said["gen_ai.response.id"] == audio.request_id
    expected = {"outcome": "ok", "kind": "tts", "cache": "miss", "priority": "interactive", "credits": audio.credits}
    assert {name: request.said[f"speech.{name}"] for name in expected} == expected
    assert (queue.said["speech.pool"], queue.said["speech.priority"]) == ("flash", "interactive")
    assert upstream.said["gen_ai.provider.name"] == "elevenlabs" and upstream.kind == trace.SpanKind.CLIENT.value + 1
    assert request.lasts[0] <= attempt.lasts[0] <= upstream.lasts[0] < upstream.lasts[1] <= request.lasts[1]
    assert not any(span.status or "error.type" in span.said for span in collector.spans)


async def test_each_attempt_says_what_went_wrong(collector: Collector, speech_sandbox: SandboxThread) -> None:
    """By a code, with the request id that upstream gave its refusal."""
    speech_sandbox.set(faults=["503", "ok", "500", "500", "500"])
    async with SpeechClient.from_env() as speech:
        speech.policies.retry.chance = lambda: 0.0
        assert await outcome(speech, "one") == "ok"
        assert await outcome(speech, "two") == "upstream_unavailable"
    attempts = collector.named("speech.attempt")
    assert [span.said.get("speech.attempt") for span in attempts] == [1, 2, 1, 2, 3]
    assert [bool(span.status) for span in attempts] == [True, False, True, True, True]
    first, well, *_ = collector.named(f"text_to_speech {FLASH}")
    assert first.said["error.type"] == attempts[0].said["error.type"]
    assert first.said["gen_ai.response.id"] not in ("", well.said["gen_ai.response.id"])
    failed = collector.named("speech.request")[1]
    assert failed.said["error.type"] == failed.said["speech.outcome"] == "upstream_unavailable"


async def test_what_never_left_has_no_call_upstream(
    collector: Collector, speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout is an error by that name, a refusal of ours by its code; a caller's mistake is none of ours."""
    monkeypatch.setenv("SPEECH_ATTEMPT_TIMEOUT_S", "1.5")
    speech_sandbox.set(faults=["timeout"])
    async with SpeechClient.from_env() as speech:
        speech.policies.retry.tries = 1
        assert await outcome(speech, "one") == "upstream_unavailable"
        assert await outcome(speech, "") == "invalid_request"
        speech.drain()
        assert await outcome(speech, "two") == "draining"
    (upstream,) = collector.named(f"text_to_speech {FLASH}")
    late, wrong, draining = collector.named("speech.request")
    assert upstream.said["error.type"] == collector.named("speech.attempt")[0].said["error.type"] == "timeout"
    assert [span.said["error.type"] for span in (wrong, draining)] == ["invalid_request", "draining"]
    assert [bool(span.status) for span in (late, wrong, draining)] == [True, False, True]


async def test_a_hit_asks_nobody(collector: Collector, speech_sandbox: SandboxThread) -> None:
    """Its request stands alone."""
    async with SpeechClient.from_env() as speech:
        for _ in range(2):
            assert await outcome(speech, "one") == "ok"
    asked, hit = collector.named("speech.request")
    assert (collector.below(hit), hit.said["speech.cache"]) == ([], "hit")
    assert len(collector.below(asked)) == 1 and hit.trace != asked.trace


async def test_who_rides_along_has_a_link(collector: Collector, speech_sandbox: SandboxThread) -> None:
    """To the request that the flight hangs below, which has all of its spans."""
    async with SpeechClient.from_env() as speech:
        assert await asyncio.gather(*(outcome(speech, "one") for _ in range(3))) == ["ok"] * 3
    (upstream,) = collector.named(f"text_to_speech {FLASH}")
    first, *riders = sorted(collector.named("speech.request"), key=lambda span: bool(span.links))
    assert upstream.trace == first.trace and first.links == []
    assert [rider.links for rider in riders] == [[first.id]] * 2


async def test_no_span_tells_a_text_a_key_or_a_caller(
    collector: Collector, speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searched in every byte that was sent, metrics included."""
    monkeypatch.setenv("ELEVENLABS_API_KEY", key := "a-key-that-nobody-may-see")
    async with SpeechClient.from_env() as speech:
        await everything(speech, speech_sandbox)
        await outcome(speech, SECRET, model_id=SECRET)
        await outcome(speech, f"{SECRET}\0", voice_id="a voice with a name")
        await outcome(speech, SECRET, output_format=SECRET)
    sent = b"".join(collector.raw)
    assert b"speech.request" in sent and b"speech.queue_wait" in sent
    for secret in (SECRET, key, CALLER, "a voice", speech.settings.voice_id):
        assert secret.encode() not in sent, secret


async def test_it_hangs_below_what_is_current(quiet: None, host: "Host", speech_sandbox: SandboxThread) -> None:
    """The application's own span, on the loop and through the blocking facade's thread; its providers are used."""
    async with SpeechClient.from_env() as speech:
        with host.tracer.start_as_current_span("theirs") as theirs:
            assert await outcome(speech, "one") == "ok"
            async with speech.stream("two", model_id=FLASH) as chunks:
                await chunks.read()
            assert trace.get_current_span() is theirs
    spans = host.spans()
    assert [span.parent and span.parent.span_id for span in spans["speech.request"]] == [
        theirs.get_span_context().span_id
    ] * 2
    assert _sum(host.reader, "speech.requests") == 2 and exporter.here().ours == []


def test_through_the_blocking_facade(quiet: None, host: "Host", speech_sandbox: SandboxThread) -> None:
    """The context of the thread that asks; whole and streamed; and no thread is left with a span of ours."""
    with SpeechClient.from_env().blocking() as speech:
        with host.tracer.start_as_current_span("theirs") as theirs:
            speech.synthesize("one", model_id=FLASH)
            with speech.stream("two", model_id=FLASH) as chunks:
                assert b"".join(chunks)
        assert not trace.get_current_span().get_span_context().is_valid
        speech.synthesize("three", model_id=FLASH)
    requests = host.spans()["speech.request"]
    parents = [span.parent and span.parent.span_id for span in requests]
    assert parents == [theirs.get_span_context().span_id] * 2 + [None]
    assert len(host.spans()["speech.attempt"]) == 3


async def test_a_traceparent_is_the_parent_unless_somebody_has_read_it(
    quiet: None, host: "Host", speech_sandbox: SandboxThread
) -> None:
    """The application's instrumentation knows better; what can't be read is no parent."""
    ids = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    async with SpeechClient.from_env() as speech:

        async def ask(traceparent: str) -> None:
            asked = speech.stream("one", model_id=FLASH)
            asked.terms = Terms(trace={"traceparent": traceparent})
            async with asked as chunks:
                await chunks.read()

        await ask(f"00-{ids[0]}-{ids[1]}-01")
        await ask("nonsense")
        with host.tracer.start_as_current_span("theirs") as theirs:
            await ask(f"00-{ids[0]}-{ids[1]}-01")
    parents = [span.parent and f"{span.parent.span_id:016x}" for span in host.spans()["speech.request"]]
    assert parents == [ids[1], None, f"{theirs.get_span_context().span_id:016x}"]


# ---------------------------------------------------------------------------------------------- a collector that is ill


@pytest.mark.parametrize("ill", ["refuses", "fails", "hangs"])
async def test_an_ill_collector_disturbs_nobody(
    collector: Collector, speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch, ill: str
) -> None:
    """Calls are answered, and the end is not held up: it would take half a minute to wait for it."""
    if ill == "refuses":
        collector.close()
    collector.status, collector.delay_s = (503, 0.0) if ill == "fails" else (200, 60.0)
    async with SpeechClient.from_env() as speech:
        assert await asyncio.gather(*(outcome(speech, str(n)) for n in range(20))) == ["ok"] * 20
        began = time.monotonic()
    assert time.monotonic() - began < 15


async def test_a_wrong_variable_is_a_line_in_the_log(
    collector: Collector,
    speech_sandbox: SandboxThread,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And calls are answered."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "-1")
    async with SpeechClient.from_env() as speech:
        assert await outcome(speech, "one") == "ok"
    assert "OpenTelemetry can't be set up" in caplog.text


ASK = """
import asyncio, sys, threading
import {package} as speech
assert not [name for name in sys.modules if name.startswith("opentelemetry")], "imported too early"
async def ask():
    async with speech.SpeechClient.from_env() as client:
        print((await client.synthesize("Hello", model_id="eleven_flash_v2_5")).cache)
asyncio.run(ask())
print([thread.name for thread in threading.enumerate() if "Otel" in thread.name])
"""


@pytest.mark.parametrize(
    "more", [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}]
)
def test_without_an_endpoint_nothing_is_started(speech_sandbox: SandboxThread, more: dict[str, str]) -> None:
    """No thread, no word; nor where it is switched off. And importing the package imports none of it."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"} if more else {}
    argv = [sys.executable, "-c", ASK.format(package=package.__name__)]
    done = subprocess.run(argv, env=environ() | endpoint | more, capture_output=True, text=True, timeout=120)
    assert (done.stdout.split("\n")[:2], done.stderr) == (["miss", "[]"], "")


def test_a_process_ends_at_once_whatever_the_collector_does(
    collector: Collector, speech_sandbox: SandboxThread
) -> None:
    """Its threads hold nobody up, and what it had to say was said before."""
    argv = [sys.executable, "-c", ASK.format(package=package.__name__)]
    done = subprocess.run(argv, env=environ(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and collector.named("speech.request") and collector.value("limit", pool="flash") == 10
    collector.delay_s = 600.0
    done = subprocess.run(argv, env=environ(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith(("miss", "hit"))  # a store may have kept it


# --------------------------------------------------------------------------------------------------------- the service


@pytest.mark.skipif(not GATEWAY, reason="no routes of its own")
def test_workers_export_as_instances_and_carry_the_callers_trace(collector: Collector, tmp_path: Path) -> None:
    """Over HTTP, whole, streamed and transcribed: below the caller's span. All is said when they drain."""
    variables = {"SPEECH_CACHE_DIR": str(tmp_path), "SPEECH_CLIENT_KEYS": ""}
    argv = [sys.executable, "-m", package.__name__, "serve", "--sandbox", "--workers", "2", "--port", "0"]
    log = tmp_path / "log"
    with log.open("w") as heard, subprocess.Popen(argv, env=environ() | variables, stderr=heard) as process:
        try:
            url = str(_eventually(lambda: re.search(r"serving on (http://[^\"]+)", log.read_text()))[1])
            _eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
            sent = [_ask(url, number) for number in range(30)]
        finally:
            process.terminate()
        assert process.wait(60) == 0
    requests = {span.trace: span for span in collector.named("speech.request")}
    assert [(requests[trace_id].parent, requests[trace_id].kind) for trace_id, _ in sent] == [
        (parent, trace.SpanKind.SERVER.value + 1) for _, parent in sent
    ]
    assert collector.value("requests", kind="tts", outcome="ok") == 20
    assert collector.value("requests", kind="stt", outcome="ok") == 10
    assert len({point.instance for point in collector.metrics["speech.limit"]}) == 2


def _ask(url: str, number: int) -> tuple[str, str]:
    """The trace and the span that it said it came from."""
    trace_id, parent = os.urandom(16).hex(), os.urandom(8).hex()
    headers = {"traceparent": f"00-{trace_id}-{parent}-01"}
    speak = f"{url}/v1/text-to-speech/{DEFAULT_VOICE}"
    said = {"text": f"text {number}", "model_id": FLASH}
    with httpx.Client(headers=headers, timeout=60) as http:
        if number % 3 == 0:
            answer = http.post(speak, json=said)
        elif number % 3 == 1:
            answer = http.post(f"{speak}/stream", json=said)
        else:
            wave = speak_wave("wav_16000", 1.0, "somebody")
            answer = http.post(f"{url}/v1/speech-to-text", data={"model_id": "scribe_v2"}, files={"file": wave})
    assert answer.status_code == 200, answer.text
    return trace_id, parent


def _eventually(what: Callable[[], Any]) -> Any:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(httpx.TransportError, OSError):
            if found := what():
                return found
        time.sleep(0.05)
    raise AssertionError("it never came")


# ------------------------------------------------------------------------------------------------ an application's own


class Host:
    """Providers that an application has set."""

    def __init__(self) -> None:
        self._told = InMemorySpanExporter()
        self.tracers, (self.meters, self.reader) = TracerProvider(), _meters()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._told))
        self.tracer = self.tracers.get_tracer("theirs")

    def spans(self) -> dict[str, list[Any]]:
        """By name, as they began."""
        found: dict[str, list[Any]] = {}
        for span in sorted(self._told.get_finished_spans(), key=lambda span: span.start_time or 0):
            found.setdefault(span.name, []).append(span)
        return found


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """As if the process had set them: it could do so only once."""
    made = Host()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made.tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: made.meters)
    return made


def _meters() -> tuple[MeterProvider, InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    return MeterProvider([reader]), reader


def _sum(reader: InMemoryMetricReader, name: str) -> float:
    """Over all labels."""
    data = reader.get_metrics_data()
    assert data
    found = [
        metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]
    points: Any = [point for metric in found if metric.name == name for point in metric.data.data_points]
    return float(sum(point.value for point in points))
