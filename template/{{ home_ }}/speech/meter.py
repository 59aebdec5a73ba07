"""Counts and times in plain data: under a microsecond on the path, whatever is made of it afterwards.

No label ever holds a text, a key or a caller. ``METRICS`` is the one home of names and of what they mean.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

COUNTERS = {
    "requests": "Requests by kind (tts, stt) and outcome (ok, or the code of the error).",
    "refusals": "Requests refused before they reached ElevenLabs, by code.",
    "cache": "Lookups in the audio cache by result.",
    "retries": "Attempts repeated, by reason.",
    "upstream_errors": "Failures of ElevenLabs by its own code.",
    "degraded": "Answers that were less than asked for, by how.",
    "suspicious_audio": "Audio far too short for its text: served, not cached.",
    "characters": "Characters spoken and billed.",
    "stt_seconds": "Seconds of audio transcribed and billed.",
    "credits": "Credits billed by ElevenLabs.",
    "uncertain_credits": "Credits sent and never answered: perhaps billed.",
    "cost_usd": "List price in USD of what was billed.",
    "saved_credits": "Credits that the cache saved.",
}
HISTOGRAMS = {
    "queue_wait_s": "Seconds a call waited for a slot.",
    "first_byte_s": "Seconds from sending to the first byte of an answer.",
    "last_byte_s": "Seconds from sending to the last byte of an answer.",
}
GAUGES = {
    "limit": "Calls that may be in flight at once, by pool.",
    "in_flight": "Calls in flight, by pool.",
    "queued": "Calls waiting for a slot, by pool and priority.",
    "breaker": "1 for the state a pool's circuit breaker is in.",
    "latch": "1 while ElevenLabs refuses our key or is out of credits, by why.",
    "flights": "Upstream calls on the board: waiting or in flight.",
}
METRICS = COUNTERS | HISTOGRAMS | GAUGES

BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
"""Upper bounds in seconds: a first byte takes tenths of one, a long text or recording minutes."""

Labels = tuple[tuple[str, str], ...]


class Meter:
    """Everything since the start of this process. A name that METRICS lacks is a KeyError."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, float]] = {name: {} for name in COUNTERS}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {name: {} for name in HISTOGRAMS}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        series, key = self._counters[name], tuple(labels.items())
        series[key] = series.get(key, 0) + amount

    def time(self, name: str, seconds: float, **labels: str) -> None:
        series, key = self._histograms[name], tuple(labels.items())
        if key not in series:
            series[key] = _Histogram()
        series[key].observe(seconds)

    def totals(self) -> dict[str, float]:
        """Every counter, over all its labels."""
        return {name: sum(series.values()) for name, series in self._counters.items()}

    def snapshot(self) -> dict[str, Any]:
        """Plain data: ``counters`` [name, labels, value], ``histograms`` [name, labels, {sum, count, buckets}].

        ``buckets`` counts what fell between one bound of BUCKETS and the next; the last is beyond all of them.
        """
        counters = ((name, *one) for name, series in self._counters.items() for one in series.items())
        histograms = ((name, *one) for name, series in self._histograms.items() for one in series.items())
        return {
            "counters": [[name, dict(labels), value] for name, labels, value in counters],
            "histograms": [[name, dict(labels), times.plain()] for name, labels, times in histograms],
        }


class _Histogram:
    __slots__ = ("sum", "buckets")

    def __init__(self) -> None:
        self.sum, self.buckets = 0.0, [0] * (len(BUCKETS) + 1)

    def observe(self, seconds: float) -> None:
        self.sum += seconds
        self.buckets[bisect_left(BUCKETS, seconds)] += 1

    def plain(self) -> dict[str, Any]:
        return {"sum": self.sum, "count": sum(self.buckets), "buckets": list(self.buckets)}


def merge(snapshots: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sum of several processes' snapshots."""
    counters: dict[tuple[str, Labels], float] = {}
    histograms: dict[tuple[str, Labels], dict[str, Any]] = {}
    for snapshot in snapshots:
        for name, labels, value in snapshot["counters"]:
            key = name, tuple(sorted(labels.items()))
            counters[key] = counters.get(key, 0) + value
        for name, labels, value in snapshot["histograms"]:
            key = name, tuple(sorted(labels.items()))
            histograms[key] = _added(histograms[key], value) if key in histograms else value
    return {
        "counters": [[name, dict(labels), value] for (name, labels), value in counters.items()],
        "histograms": [[name, dict(labels), value] for (name, labels), value in histograms.items()],
    }


def _added(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    buckets = [x + y for x, y in zip(a["buckets"], b["buckets"], strict=True)]
    return {"sum": a["sum"] + b["sum"], "count": a["count"] + b["count"], "buckets": buckets}
