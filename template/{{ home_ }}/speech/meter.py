"""Counts and times in plain data: under a microsecond on the path, whatever is made of it afterwards.

No label ever holds a text, a key or a caller. ``METRICS`` is the one home of names and of what they mean.
"""

from bisect import bisect_left
from collections import defaultdict
from typing import Any

METRICS = {
    "requests": ("counter", "Requests by kind (tts, stt) and outcome (ok, or the code of the error)."),
    "refusals": ("counter", "Requests refused before they reached ElevenLabs, by code."),
    "cache": ("counter", "Lookups in the audio cache by result."),
    "retries": ("counter", "Attempts repeated, by reason."),
    "upstream_errors": ("counter", "Failures of ElevenLabs by its own code."),
    "degraded": ("counter", "Answers that were less than asked for, by how."),
    "suspicious_audio": ("counter", "Audio far too short for its text: served, not cached."),
    "characters": ("counter", "Characters spoken and billed."),
    "stt_seconds": ("counter", "Seconds of audio transcribed and billed."),
    "credits": ("counter", "Credits billed by ElevenLabs."),
    "uncertain_credits": ("counter", "Credits sent and never answered: perhaps billed."),
    "cost_usd": ("counter", "List price in USD of what was billed."),
    "saved_credits": ("counter", "Credits that the cache saved."),
    "queue_wait_s": ("histogram", "Seconds a call waited for a slot."),
    "first_byte_s": ("histogram", "Seconds from sending to the first byte of an answer."),
    "last_byte_s": ("histogram", "Seconds from sending to the last byte of an answer."),
    "limit": ("gauge", "Calls that may be in flight at once, by pool."),
    "in_flight": ("gauge", "Calls in flight, by pool."),
    "queued": ("gauge", "Calls waiting for a slot, by pool and priority."),
    "breaker": ("gauge", "1 for the state a pool's circuit breaker is in."),
    "latch": ("gauge", "1 while ElevenLabs refuses our key or is out of credits, by why."),
    "flights": ("gauge", "Upstream calls on the board: waiting or in flight."),
}

# Upper bounds in seconds: a first byte takes tenths of one, a long text or recording minutes.
BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
LENGTH = len(BUCKETS) + 2  # how many fell into each bucket and beyond them all, and the sum of their seconds

Labels = tuple[tuple[str, str], ...]


class Meter:
    """Everything since the start of this process. A name that METRICS lacks is a KeyError."""

    def __init__(self) -> None:
        self._counters = {name: defaultdict[Labels, float](int) for name in _all("counter")}
        self._histograms = {name: defaultdict[Labels, list[float]](lambda: [0] * LENGTH) for name in _all("histogram")}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        self._counters[name][tuple(labels.items())] += amount

    def time(self, name: str, seconds: float, **labels: str) -> None:
        times = self._histograms[name][tuple(labels.items())]
        times[bisect_left(BUCKETS, seconds)] += 1
        times[-1] += seconds

    def totals(self) -> dict[str, float]:
        """Every counter, over all its labels."""
        return {name: sum(series.values()) for name, series in self._counters.items()}

    def snapshot(self) -> dict[str, Any]:
        """Plain data: ``counters`` [name, labels, value], ``histograms`` [name, labels, {sum, count, buckets}].

        ``buckets`` counts what fell between one bound of BUCKETS and the next; the last is beyond all of them.
        """
        counters = [(name, *one) for name, series in self._counters.items() for one in series.items()]
        histograms = [(name, *one) for name, series in self._histograms.items() for one in series.items()]
        return {
            "counters": [[name, dict(labels), value] for name, labels, value in counters],
            "histograms": [
                [name, dict(labels), {"sum": total, "count": sum(buckets), "buckets": buckets}]
                for name, labels, (*buckets, total) in histograms
            ],
        }


def _all(kind: str) -> list[str]:
    return [name for name, (its_kind, _) in METRICS.items() if its_kind == kind]
