"""For OpenTelemetry: metrics and traces, through the providers that the application has set, or by OTLP over HTTP.

Where the application has set none, and OTEL_EXPORTER_OTLP_ENDPOINT (or a signal's own) names a collector, there are
providers of our own: all the standard variables hold. Without an endpoint nothing is exported, and nothing started. A
process begins with its first client, or its first request. A collector that is away costs a line in the log.

What spans there are, and how they hang together, is in ``opentelemetry_spans.py``; how metrics come about, in
``opentelemetry_metrics.py``.
"""

import asyncio
import logging
import os
import threading
import uuid
from contextlib import nullcontext, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from .. import meter
from ..client import Client

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

SCOPE = "speech"
FLUSH_S = 2.0  # for the last words of a client that closes; a collector that takes longer misses them


class Meter(meter.Meter):
    """One client's: it counts as any, and tells this process's telemetry."""

    def __init__(self) -> None:
        super().__init__()
        self._client: Client | None = None
        self._telemetry: Telemetry | None = None

    def watch(self, client: Client) -> None:
        self._client, self._telemetry = client, here()
        self._telemetry.watch.add(client)

    def time(self, name: str, seconds: float, **labels: str) -> None:
        super().time(name, seconds, **labels)
        if self._telemetry:
            self._telemetry.watch.time(name, seconds, labels)
            if name == "queue_wait_s":
                self._telemetry.spans.queued(self._telemetry.tracer, seconds, labels)

    def span(self, name: str, about: Any) -> nullcontext[None]:
        if self._telemetry is None and name == "request":
            self.watch(about.client)
        if self._telemetry is None:
            return nullcontext()
        span: nullcontext[None] = self._telemetry.spans.KINDS[name](self._telemetry.tracer, about)
        return span

    async def aclose(self) -> None:
        if self._client and self._telemetry:
            self._telemetry.watch.remove(self._client)
            await self._telemetry.flush()


class Telemetry:
    """A process's. ``ours`` are the providers that nobody else would flush."""

    def __init__(self) -> None:
        from opentelemetry import metrics, trace

        from . import opentelemetry_spans
        from .opentelemetry_metrics import Watch

        self.ours: list[TracerProvider | MeterProvider] = []
        tracers: Any = trace.get_tracer_provider()
        meters: Any = metrics.get_meter_provider()
        try:
            if wanted("TRACES", tracers):
                self.ours.append(tracers := _tracers())
            if wanted("METRICS", meters):
                self.ours.append(meters := _meters())
        except Exception as error:  # whatever a variable made them stumble over: calls go on
            logger.error("OpenTelemetry can't be set up as its variables say: %s", error)
        self.spans, self.tracer = opentelemetry_spans, tracers.get_tracer(SCOPE)
        self.watch = Watch(meters.get_meter(SCOPE))

    async def flush(self) -> None:
        """Send what there is, and don't wait long for who doesn't take it. The loop is free meanwhile: it is asked."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            for provider in self.ours:
                with suppress(Exception):  # it is in the log
                    provider.force_flush(int(FLUSH_S * 1000))
            with suppress(RuntimeError):  # nobody waited
                loop.call_soon_threadsafe(done.set)

        if self.ours:
            threading.Thread(target=send, name="speech-flush", daemon=True).start()
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), FLUSH_S)


_telemetries: dict[int, Telemetry] = {}


def here() -> Telemetry:
    """This process's: a fork has its own, for threads don't live on in it."""
    return _telemetries.get(os.getpid()) or _telemetries.setdefault(os.getpid(), Telemetry())


def wanted(signal: str, set_provider: object) -> bool:
    """Whether a provider of our own is: the host has set none, and a collector is named."""
    if "Proxy" not in type(set_provider).__name__ or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    named = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return bool(named) and os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp") == "otlp"


def _tracers() -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _meters() -> "MeterProvider":
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    # The SDK would wait up to half a minute at exit for a collector that is away; ``flush`` has sent what there was.
    return MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], _resource(), shutdown_on_exit=False)


def _resource() -> "Resource":
    """As OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say; but workers share those, and each is an instance."""
    from opentelemetry.sdk.resources import Resource

    said = Resource.create({"service.instance.id": _instance(os.getpid())})
    unnamed = str(said.attributes["service.name"]).startswith("unknown_service")
    return said.merge(Resource({"service.name": __name__.partition(".")[0]})) if unnamed else said


@cache
def _instance(_pid: int) -> str:
    return str(uuid.uuid4())
