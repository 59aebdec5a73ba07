"""Counters and gauges are read from a snapshot when a reader collects: nothing of them is on the path.

Histograms are recorded as they happen. No observable instrument tells one that is made already, and the SDK's readers
take metrics from nobody but their provider; recorded, they obey the host's views and temporality, and their exemplars
lead to the traces. A call times three things, which costs it some microseconds each: ``benchmarks/exporters.py``.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

from ..client import Client
from ..meter import BUCKETS, METRICS
from . import series

FRESH_S = 0.2  # instruments are asked one after the other, and all of them by one snapshot
PATIENCE_S = 1.0  # with a loop that is busy; then its last word counts

Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(eq=False)
class Open:
    """A client, and the loop that alone may ask it."""

    client: Client
    loop: asyncio.AbstractEventLoop
    last: Mapping[str, Any]

    def snapshot(self) -> Mapping[str, Any]:
        """Now, or as it was last where the loop can't be asked."""
        if _here() is self.loop:
            self.last = self.client.snapshot()
        elif self.loop.is_running():
            asked = asyncio.run_coroutine_threadsafe(self._ask(), self.loop)
            try:
                self.last = asked.result(PATIENCE_S)
            except Exception:  # too busy, or just ending
                asked.cancel()
        return self.last

    async def _ask(self) -> Mapping[str, Any]:
        return self.client.snapshot()


@dataclass(eq=False)
class Watch:
    """The instruments of a process: of all its clients together, and what those counted that are closed."""

    meter: Meter
    clients: list[Open] = field(default_factory=list)
    closed: dict[Key, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._rows, self._read_at = dict[Key, float](), float("-inf")
        self._histograms: dict[str, Histogram] = {}
        for name, (kind, text, unit, *_) in METRICS.items():
            known_as = otel_name(name)
            if kind == "histogram":
                bounds = {"explicit_bucket_boundaries_advisory": BUCKETS}
                self._histograms[name] = self.meter.create_histogram(known_as, unit, text, **bounds)
            else:
                counter, gauge = self.meter.create_observable_counter, self.meter.create_observable_gauge
                (counter if kind == "counter" else gauge)(known_as, [self._observer(name)], unit, text)

    def add(self, client: Client) -> None:
        """On its loop."""
        if all(known.client is not client for known in self.clients):
            self.clients.append(Open(client, asyncio.get_running_loop(), client.snapshot()))

    def remove(self, client: Client) -> None:
        """On its loop. What it counted goes on counting."""
        for known in [known for known in self.clients if known.client is client]:
            rows = known.snapshot()
            with self._lock:
                self.clients.remove(known)
                _add(self.closed, rows)
                self._read_at = float("-inf")

    def time(self, name: str, seconds: float, labels: dict[str, str]) -> None:
        self._histograms[name].record(seconds, labels)

    def _observer(self, name: str) -> Callable[[CallbackOptions], Iterator[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            return (Observation(value, dict(labels)) for (of, labels), value in self._read().items() if of == name)

        return observe

    def _read(self) -> dict[Key, float]:
        """By whatever thread. The lock is never held while a loop is asked: it might wait for it."""
        if time.monotonic() - self._read_at > FRESH_S:
            with self._lock:
                rows, clients = dict(self.closed), list(self.clients)
            for client in clients:
                _add(rows, client.snapshot())
            self._rows, self._read_at = rows, time.monotonic()
        return self._rows


def otel_name(name: str) -> str:
    """With the unit beside it, a collector makes of it the name that the Prometheus exporter has."""
    return f"speech.{name.removesuffix('_s')}"


def _add(rows: dict[Key, float], snapshot: Mapping[str, Any]) -> None:
    """Counters add up; a gauge is what it was last."""
    for name, labels, value in series(snapshot):
        kind, key = METRICS[name][0], (name, tuple(labels.items()))
        if kind != "histogram":
            rows[key] = value + (rows.get(key, 0) if kind == "counter" else 0)


def _here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
