"""What the workers of one ``serve`` tell each other, so that whichever is asked answers for all of them.

Each writes what it knows into SPEECH_RUN_DIR: every second, at its end, and when one of them asks and waits for it. Of
a worker that ended, what it counted goes on counting and the rest is forgotten: a sum never falls because one died.
"""

import asyncio
import json
import logging
import os
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from .. import usage
from ..answers import CACHE_BACKEND
from ..clock import today
from ..diary import add
from ..errors import SpeechError
from ..ledger import Row, Usage
from ..wiring import SpeechClient

logger = logging.getLogger(__name__)
EVERY_NS = 10**9
BOOKS_S = 2.0  # of a scrape that may take ten
PATIENCE_S = 0.5  # a worker that is stuck is taken by its last word
READS, AGAIN_S = 3, 0.1
T = TypeVar("T")

Rules = Mapping[str, Callable[[list[Any]], Any]]
"""How what goes by a name becomes one; what has none is added up."""
Told = dict[str, Any]
"""at: nanoseconds; now: a client's snapshot; rows: its ledger's, and days: its diary's, where each has its own."""


async def fleet(client: SpeechClient) -> list[dict[str, Any]]:
    """The snapshot of every worker; of one that ended only what it counted."""
    return [told["now"] for told in await _everybody(client)]


async def fleet_usage(client: SpeechClient, caller: str | None = None) -> dict[str, Any]:
    """``GET /usage`` of all workers together. Raises SpeechError where the books can't be read."""
    return await _patiently(lambda: _usage(client, caller))


async def _usage(client: SpeechClient, caller: str | None = None) -> dict[str, Any]:
    told = await _everybody(client)
    rows, budgets = await _rows(client, told), client.policies.ledger.budgets
    now = together([worker["now"] for worker in told])
    about = await _about(client, told, rows) if caller is None else None
    return usage.report(rows, budgets=budgets, day=today(), snapshot=now, caller=caller, about=about)


async def fleet_table(client: SpeechClient, caller: str | None = None) -> str:
    """The same money as CSV. Raises SpeechError."""
    rows = await _patiently(lambda: _all_rows(client))
    return usage.table(rows, caller)


async def _all_rows(client: SpeechClient) -> dict[Row, Usage]:
    return await _rows(client, await _everybody(client))


async def _patiently(read: Callable[[], Awaitable[T]]) -> T:
    """A store that is too busy to answer speech in time may well answer whoever only looks, a moment later."""
    for _ in range(READS - 1):
        with suppress(Exception):  # whatever a store raises
            return await read()
        await asyncio.sleep(AGAIN_S)
    try:
        return await read()
    except Exception as error:
        logger.exception("the books can't be read")
        raise SpeechError(f"The books can't be read just now, {READS} times over; the log says why.") from error


async def _rows(client: SpeechClient, told: Sequence[Told]) -> dict[Row, Usage]:
    return _sum(told) if CACHE_BACKEND == "memory" else await client.policies.ledger.rows()


async def _about(client: SpeechClient, told: Sequence[Told], rows: dict[Row, Usage]) -> usage.About:
    settings, diary = client.settings, client.diary
    diary.account.look(settings, rows)
    days = _days(told) if CACHE_BACKEND == "memory" else await diary.days()
    models = client.house.rules.models
    return usage.About(settings.tier, days, await diary.account.state(), models, settings.mode == "observe")


async def fleet_metrics(client: SpeechClient) -> dict[str, Any]:
    """For ``GET /metrics``: the snapshot of all, and of the books what they tell in time.

    A store that is away takes the books with it, and must not take the metrics that say so.
    """
    try:
        report = await asyncio.wait_for(_usage(client), BOOKS_S)
    except Exception:  # whatever a store raises; that it is away is in the log already
        return together(await fleet(client))
    return {**report["now"], "money": list(usage.gauges(report))}


async def post(client: SpeechClient, last: int) -> int:
    """For the server's ticks: ``publish`` if it is time or somebody asked since ``last``. When the last one was."""
    run_dir = client.settings.run_dir
    if run_dir and (time.time_ns() - last >= EVERY_NS or _asked(run_dir) > last):
        return int((await publish(client))["at"])
    return last


async def publish(client: SpeechClient) -> Told:
    """Write this worker's file, if there is anybody to read it."""
    at = time.time_ns()
    rows = await client.policies.ledger.rows() if CACHE_BACKEND == "memory" else {}
    await client.diary.flush()  # so that others, who share its store, know of it
    days = await client.diary.days() if CACHE_BACKEND == "memory" else {}
    told = {
        "at": at,
        "now": client.snapshot(),
        "rows": [[*row, vars(sums)] for row, sums in rows.items()],
        "days": days,
    }
    if client.settings.run_dir:
        _write(client.settings.run_dir / f"{os.getpid()}.json", json.dumps(told))
    return told


def bury(run_dir: Path, pid: int) -> None:
    """For whoever sees a worker end: its number may be given to another."""
    file = run_dir / f"{pid}.json"
    if file.exists():
        file.rename(run_dir / f"{pid}-{time.time_ns()}.ended")


async def _everybody(client: SpeechClient) -> list[Told]:
    """Every worker's word, no older than this call."""
    own, run_dir = await publish(client), client.settings.run_dir
    if run_dir is None:
        return [own]
    _write(run_dir / "asked", str(own["at"]))
    until = time.monotonic() + PATIENCE_S
    told = _read_all(run_dir)
    while min(worker["at"] for worker in told) < own["at"] and time.monotonic() < until:
        await asyncio.sleep(0.02)
        told = _read_all(run_dir)
    return told


def _read_all(run_dir: Path) -> list[Told]:
    while True:
        try:
            return [_read(file) for file in run_dir.iterdir() if file.suffix in (".json", ".ended")]
        except FileNotFoundError:
            continue  # one was buried in between


def _read(file: Path) -> Told:
    told: Told = json.loads(file.read_text("utf-8"))
    if file.suffix == ".ended":
        told |= {"at": time.time_ns(), "now": {"pools": {}, "flights": 0, "meter": told["now"]["meter"]}}
    return told


def _asked(run_dir: Path) -> int:
    file = run_dir / "asked"
    return int(file.read_text()) if file.exists() else 0


def _write(file: Path, text: str) -> None:
    """Whole or not at all, for whoever reads meanwhile."""
    draft = file.with_suffix(f".new-{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(file)


def _sum(told: Sequence[Told]) -> dict[Row, Usage]:
    rows: defaultdict[Row, Usage] = defaultdict(Usage)
    for worker in told:
        for day, caller, model_id, sums in worker["rows"]:
            rows[Row(day, caller, model_id)] += Usage(**sums)
    return dict(rows)


def _days(told: Sequence[Told]) -> dict[str, Counter[str]]:
    days: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for worker in told:
        add(days, worker["days"])
    return days


def together(snapshots: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One snapshot of several: numbers are added up, but for those that are the same in all or can't be added.

    A limit is one of all processes where they share the slots, and else each one's part.
    """
    shared = any("slots" in snapshot.get("store", ()) for snapshot in snapshots)
    return _all(snapshots, {**_NOT_ADDED, **dict.fromkeys(_SHARED, max)} if shared else _NOT_ADDED)


def _all(snapshots: Sequence[dict[str, Any]], rules: Rules) -> dict[str, Any]:
    names = dict.fromkeys(name for snapshot in snapshots for name in snapshot)
    return {name: _one(name, [s[name] for s in snapshots if s.get(name) is not None], rules) for name in names}


def _one(name: str, values: list[Any], rules: Rules) -> Any:
    if not values or name in rules:
        return rules[name](values) if values else None
    if isinstance(values[0], dict):
        return _all(values, rules)
    if isinstance(values[0], list):
        return [sum(column) for column in zip(*values, strict=True)]
    return sum(values) if isinstance(values[0], int | float) else values[0]


def _counts(meters: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """``Meter.snapshot`` of several: what goes by the same name and labels is added up."""
    counts: dict[str, Any] = {}
    for kind in ("counters", "histograms"):
        series = defaultdict[Any, list[Any]](list)
        for name, labels, value in (row for meter in meters for row in meter[kind]):
            series[name, tuple(sorted(labels.items()))].append(value)
        counts[kind] = [[name, dict(labels), _one(name, values, {})] for (name, labels), values in series.items()]
    return counts


_STATES = ("closed", "half_open", "open", "latched")
_SHARING = ("idle", "joined", "learning", "alone")
_SHARED = ("limit", "ceiling", "cuts", "limit_changes")
_NOT_ADDED: Rules = {
    "ready": all,
    "draining": any,
    "meter": _counts,
    "state": lambda states: max(states, key=_STATES.index),
    **dict.fromkeys(("shared", "slots", "money", "audio"), lambda states: max(states, key=_SHARING.index)),
    **dict.fromkeys(("plan", "others", "service_s", "retry_after_s", "since", "why", "bytes_max"), max),
}
