"""Snapshots as Prometheus reads them. Nothing here is on the path: all is done when somebody scrapes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..meter import BUCKETS, COUNTERS, GAUGES, HISTOGRAMS, merge

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Sample = tuple[str, dict[str, str], tuple[Any, ...]]  # name, labels, what add_metric takes

BREAKER_STATES = ("closed", "half_open", "open")
LATCHES = ("key", "quota")


def render(snapshots: Sequence[Mapping[str, Any]]) -> tuple[bytes, str]:
    """The body and its content type: the ``Client.snapshot()`` of every worker, as one."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshots))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Collector:
    """What a registry asks at each scrape."""

    def __init__(self, snapshots: Sequence[Mapping[str, Any]]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator["Metric"]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        counts = merge([snapshot["meter"] for snapshot in self._snapshots])
        counters = [(name, labels, (value,)) for name, labels, value in counts["counters"]]
        histograms = [(name, labels, _histogram(value)) for name, labels, value in counts["histograms"]]
        yield from _families(CounterMetricFamily, COUNTERS, counters)
        yield from _families(HistogramMetricFamily, HISTOGRAMS, histograms)
        yield from _families(GaugeMetricFamily, GAUGES, _together(self._snapshots))


def _families(kind: Any, helps: Mapping[str, str], samples: Iterable[Sample]) -> Iterator["Metric"]:
    """A family for each name, also where nothing happened yet: a dashboard must not lose it by a restart."""
    by_name: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_name[sample[0]].append(sample)
    for name, text in helps.items():
        series = by_name[name]
        family = kind(_exposed(name), text, labels=list(series[0][1]) if series else [])
        for _, labels, values in series:
            family.add_metric(list(labels.values()), *values)
        yield family


def _exposed(name: str) -> str:
    return f"speech_{name.removesuffix('_s')}_seconds" if name.endswith("_s") else f"speech_{name}"


def _histogram(value: Mapping[str, Any]) -> tuple[list[tuple[str, int]], float]:
    """Prometheus counts in each bucket what is in the smaller ones too."""
    bounds = [*map(str, BUCKETS), "+Inf"]
    return [(bound, sum(value["buckets"][: place + 1])) for place, bound in enumerate(bounds)], value["sum"]


def _together(snapshots: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    """Shares are summed over the workers; of a state it is enough that one of them is in it."""
    values: defaultdict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = defaultdict(list)
    for snapshot in snapshots:
        for name, labels, value in _gauges(snapshot):
            values[name, tuple(labels.items())].append(value)
    for (name, label_items), found in values.items():
        yield name, dict(label_items), ((max if name in ("breaker", "latch") else sum)(found),)


def _gauges(snapshot: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    yield "flights", {}, snapshot["flights"]
    latch = snapshot.get("latch") or {}
    for why in LATCHES:
        yield "latch", {"why": why}, int(latch.get("why") == why)
    for pool, now in snapshot["pools"].items():
        yield "limit", {"pool": pool}, now["limit"]
        yield "in_flight", {"pool": pool}, now["in_flight"]
        for priority, queued in now["queued"].items():
            yield "queued", {"pool": pool, "priority": priority}, queued
        for state in BREAKER_STATES:
            yield "breaker", {"pool": pool, "state": state}, int(now["breaker"]["state"] == state)
