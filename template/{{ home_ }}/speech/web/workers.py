"""What the workers of one ``serve`` tell each other, so that whichever is asked answers for all of them.

Each writes what it knows into SPEECH_RUN_DIR: every second, when it is asked, and at its end. Of a worker that ended,
what it counted goes on counting and the rest is forgotten: so a sum never falls because somebody died.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import meter, usage
from ..answers import CACHE_BACKEND
from ..clock import today
from ..ledger import Row, Usage
from ..wiring import SpeechClient

Told = dict[str, Any]  # now: a client's snapshot; rows: its ledger's, where every process has a ledger of its own


async def fleet(client: SpeechClient) -> list[dict[str, Any]]:
    """The snapshot of every worker; of one that ended only what it counted."""
    return [told["now"] for told in await _everybody(client)]


async def fleet_usage(client: SpeechClient, caller: str | None = None) -> dict[str, Any]:
    """``Client.usage`` of all workers together."""
    told = await _everybody(client)
    ledger = client.policies.ledger
    rows = _sum(told) if CACHE_BACKEND == "memory" else await ledger.rows()
    now = together([worker["now"] for worker in told])
    return usage.report(rows, budgets=ledger.budgets, day=today(), snapshot=now, caller=caller)


async def publish(client: SpeechClient) -> Told:
    """Write this worker's file, whole or not at all, if there is anybody to read it."""
    rows = await client.policies.ledger.rows() if CACHE_BACKEND == "memory" else {}
    told = {"now": client.snapshot(), "rows": [[*row, vars(sums)] for row, sums in rows.items()]}
    if client.settings.run_dir:
        draft = client.settings.run_dir / f"{os.getpid()}.new"
        draft.write_text(json.dumps(told), "utf-8")
        draft.replace(draft.with_suffix(".json"))
    return told


def bury(run_dir: Path, pid: int) -> None:
    """For whoever sees a worker end: its number may be given to another."""
    file = run_dir / f"{pid}.json"
    if file.exists():
        file.rename(run_dir / f"{pid}-{time.time_ns()}.ended")


async def _everybody(client: SpeechClient) -> list[Told]:
    told = await publish(client)  # first: who is asked next must not know less than we are about to say
    if not client.settings.run_dir:
        return [told]
    while True:
        try:
            return [_read(file) for file in client.settings.run_dir.iterdir() if file.suffix in (".json", ".ended")]
        except FileNotFoundError:
            continue  # one was buried in between


def _read(file: Path) -> Told:
    told: Told = json.loads(file.read_text("utf-8"))
    if file.suffix == ".ended":
        told["now"] = {"pools": {}, "flights": 0, "meter": told["now"]["meter"]}
    return told


def _sum(told: Sequence[Told]) -> dict[Row, Usage]:
    rows: defaultdict[Row, Usage] = defaultdict(Usage)
    for worker in told:
        for day, caller, model_id, sums in worker["rows"]:
            rows[Row(day, caller, model_id)] += Usage(**sums)
    return dict(rows)


def together(snapshots: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One snapshot of several: numbers are added up, but for those that are the same in all or can't be added."""
    names = dict.fromkeys(name for snapshot in snapshots for name in snapshot)
    return {name: _together(name, [s[name] for s in snapshots if s.get(name) is not None]) for name in names}


def _together(name: str, values: list[Any]) -> Any:
    if not values or name in _NOT_ADDED:
        return _NOT_ADDED[name](values) if values else None
    if isinstance(values[0], dict):
        return together(values)
    return sum(values) if isinstance(values[0], int | float) else values[0]


_STATES = ("closed", "half_open", "open", "latched")
_NOT_ADDED: dict[str, Any] = {
    "ready": all,
    "draining": any,
    "meter": meter.merge,
    "state": lambda states: max(states, key=_STATES.index),
    **dict.fromkeys(("plan", "others", "service_s", "retry_after_s", "since", "bytes_max"), max),
}
