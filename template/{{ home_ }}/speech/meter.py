"""Counts and times in plain data: under a microsecond on the path, whatever is made of it afterwards.

No label ever holds a text, a key or a caller. ``metrics.json`` is the one home of what there is: by name the kind, what
it means, the unit and the names of its labels.
"""

import json
from bisect import bisect_left
from collections import defaultdict
from contextlib import nullcontext
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

    def watch(self, client: Any) -> None:
        """A client was opened: for exporters that don't wait to be asked."""

    def span(self, name: str, about: Any) -> nullcontext[None]:
        """Around a request, an attempt, a call upstream: for exporters that trace. *about*: its Listening or Flight."""
        return nullcontext()

    async def aclose(self) -> None:
        """The client is closed: nothing more will be counted."""

    def totals(self) -> dict[str, float]:
        """Every counter, over all its labels."""
        return {name: sum(series.values()) for name, series in self._counters.items()}

    def snapshot(self) -> dict[str, Any]:
        """Plain data: ``counters`` [name, labels, value], ``histograms`` [name, labels, {sum, count, buckets}].

        ``buckets`` counts what fell between one bound of BUCKETS and the next; the last is beyond all of them.
        """
        counters, times = _rows(self._counters), _rows(self._histograms)
        histograms = [[name, of, {"sum": total, "count": sum(b), "buckets": b}] for name, of, (*b, total) in times]
        return {"counters": counters, "histograms": histograms}


def _rows(known: dict[str, Any]) -> list[list[Any]]:
    return [[name, dict(labels), value] for name, series in known.items() for labels, value in series.items()]


def _all(kind: str) -> list[str]:
    return [name for name, (its_kind, *_) in METRICS.items() if its_kind == kind]
