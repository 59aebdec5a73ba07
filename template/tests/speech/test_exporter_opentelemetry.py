"""What a collector hears, over real OTLP on a real socket: every metric, and every request's trace."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry import context, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rooms import environ, settings

import speech as package
from speech import SpeechClient, SpeechError
from speech.blocking import Blocking
from speech.exporters import opentelemetry as exporter
from speech.exporters.opentelemetry_metrics import Watch, otel_name
from speech.exporters.series import series
from speech.meter import BUCKETS, METRICS
from speech.request import Terms
from speech.testing.plugin import SandboxThread

FLASH = "eleven_flash_v2_5"
SECRET = "A sentence that nobody but the voice may know."


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


async def outcome(speech: SpeechClient, text: str, **wishes: Any) -> str:
    try:
        return "ok" if (await speech.synthesize(text, **{"model_id": FLASH} | wishes)).data else "nothing"
    except SpeechError as error:
        return error.code


def labelled(snapshot: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], Any]:
    return {(name, tuple(labels.items())): value for name, labels, value in series(snapshot)}
