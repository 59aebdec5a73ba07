"""Counts and times in plain data: under a microsecond on the path, whatever is made of it afterwards.

No label ever holds a text, a key or a caller. ``metrics.json`` is the one home of names, kinds and what they mean.
"""

import json
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path
from typing import Any

METRICS: dict[str, list[str]] = json.loads(Path(__file__).with_name("metrics.json").read_text("utf-8"))

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

    def observed(self, what: str) -> None:
        """``SPEECH_MODE=observe``: what enforcing would have done now. It was not done."""
        self.count("observed", what=what)

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
