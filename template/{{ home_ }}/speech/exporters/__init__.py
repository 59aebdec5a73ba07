"""A ``Client.snapshot()`` as series, for whoever exports it."""

from collections.abc import Iterator, Mapping
from typing import Any


def series(snapshot: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], Any]]:
    """Name, labels and value; a histogram's value is what ``Meter.snapshot`` says of it."""
    yield from (*snapshot["meter"]["counters"], *snapshot["meter"]["histograms"], *snapshot.get("money", ()))
    yield from (("flights", {}, snapshot["flights"]), ("retry_budget", {}, snapshot["retry"]["budget"]))
    yield from (("latch", {"why": why}, why == snapshot["latch"]["why"]) for why in ("key", "quota"))
    yield from (("store", {"part": part}, state in ("joined", "idle")) for part, state in snapshot["store"].items())
    for pool, now in snapshot["pools"].items():
        facts, state = ("plan", "ceiling", "limit", "limit_changes", "in_flight"), now["breaker"]["state"]
        yield from ((name, {"pool": pool}, now[name]) for name in facts)
        yield from (("queued", {"pool": pool, "priority": whose}, n) for whose, n in now["queued"].items())
        yield from (("breaker", {"pool": pool, "state": s}, s == state) for s in ("closed", "half_open", "open"))
