"""A snapshot as Prometheus reads it. Nothing here is on the path: all is done when somebody scrapes."""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from ..meter import BUCKETS, METRICS
from ..meter import Meter as Meter  # the seam: another exporter has one of its own
from . import series


def render(snapshot: Mapping[str, Any]) -> tuple[bytes, str]:
    """The body and its content type, of a ``Client.snapshot()``."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return generate_latest(_Collector(snapshot)), CONTENT_TYPE_LATEST


class _Collector(NamedTuple):
    """A registry of our own, so that nothing a host application registered is told twice."""

    snapshot: Mapping[str, Any]

    def collect(self) -> Iterator[Any]:
        """A metric for each name, also where nothing happened yet: a dashboard must not lose it by a restart."""
        from prometheus_client import Metric

        known = list(series(self.snapshot))
        for name, (kind, text, *_) in METRICS.items():
            metric = Metric(f"speech_{name.removesuffix('_s')}", text, kind, "seconds" if name.endswith("_s") else "")
            for labels, value in (its for its_name, *its in known if its_name == name):
                for suffix, bound, number in _samples(kind, value):
                    metric.add_sample(metric.name + suffix, labels | bound, number)
            yield metric


def _samples(kind: str, value: Any) -> Iterator[tuple[str, dict[str, str], float]]:
    """What a value is made of. Prometheus counts in each bucket what is in the smaller ones too."""
    if kind != "histogram":
        yield "_total" if kind == "counter" else "", {}, value
        return
    for bound, number in zip((*BUCKETS, "+Inf"), accumulate(value["buckets"]), strict=True):
        yield "_bucket", {"le": str(bound)}, number
    yield "_count", {}, value["count"]
    yield "_sum", {}, value["sum"]
