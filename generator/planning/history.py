"""What a rendered service has on its books: its ``ledger.sqlite``, or the JSON of ``usage --json`` and ``GET /usage``.

Books are kept by day, model and caller, not by request: how high the peak of a day was is not in them.
"""

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from .cost import Facts

MONTH = 30  # days that count; of more, the last
SUMS = ("characters", "stt_seconds", "requests", "credits", "saved_credits")


class Sums(NamedTuple):
    characters: float = 0.0
    stt_seconds: float = 0.0
    requests: float = 0.0
    credits: float = 0.0
    saved_credits: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """A month like the last days, None for what the books don't say. ``busiest_rps``: the average of that day.

    ``hit_rate`` is the share of credits that the cache, or somebody else's call, saved.
    """

    days: int = 0
    characters_month: float | None = None
    realtime_share: float | None = None
    characters_request: float | None = None
    stt_hours: float | None = None
    stt_file_seconds: float | None = None
    busiest_rps: float | None = None
    hit_rate: float | None = None
    seconds_call: Mapping[str, float] = field(default_factory=dict)


def read(path: Path, catalogue: Facts) -> History:
    """Raise ValueError in one line for a file that is neither, or empty; OSError for none."""
    with path.open("rb") as file:
        is_database = file.read(16) == b"SQLite format 3\0"
    try:
        days, models, now = _of_database(path) if is_database else _of_json(path)
    except (sqlite3.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path} is neither a service's ledger.sqlite nor the JSON of its usage --json") from None
    if not days:
        raise ValueError(f"{path} holds no usage yet")
    return _history(days, models, now, catalogue)


Books = tuple[dict[date, Sums], dict[str, Sums], dict[str, float]]


def _of_database(path: Path) -> Books:
    """Without leaving a trace: sqlite makes files beside it even to read, unless told that nobody writes."""
    written = path.with_name(f"{path.name}-wal").exists()  # by a service that runs: then those files are there
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?{'mode=ro' if written else 'immutable=1'}", uri=True)
    ) as db:
        return _grouped(db, "day", date.fromisoformat), _grouped(db, "model_id", str), {}


def _grouped(db: sqlite3.Connection, key: str, read_key: Any) -> dict[Any, Sums]:
    sums = ", ".join(f"sum({name})" for name in SUMS)
    return {read_key(name): _sums(row) for name, *row in db.execute(f"SELECT {key}, {sums} FROM usage GROUP BY {key}")}


def _of_json(path: Path) -> Books:
    said = json.loads(path.read_text("utf-8"))
    days = {date.fromisoformat(row["day"]): _sums(row[name] for name in SUMS) for row in said["by"]["day"]}
    models = {str(row["model"]): _sums(row[name] for name in SUMS) for row in said["by"]["model"]}
    pools = said.get("now", {}).get("pools", {})
    measured = {pool: float(state["service_s"]) for pool, state in pools.items() if state.get("service_s")}
    return days, models, measured


def _sums(row: Iterable[Any]) -> Sums:
    values = [float(value) for value in row]
    if not all(math.isfinite(value) and value >= 0 for value in values):
        raise ValueError
    return Sums(*values)


def _total(rows: Iterable[Sums]) -> Sums:
    return Sums(*map(sum, zip(Sums(), *rows, strict=True)))


def _history(days: dict[date, Sums], models: dict[str, Sums], now: dict[str, float], catalogue: Facts) -> History:
    recent = {day: sums for day, sums in days.items() if day > max(days) - timedelta(MONTH)}
    span, level = (max(recent) - min(recent)).days + 1, _total(recent.values())
    pools: dict[str, list[Sums]] = {"standard": [], "flash": [], "stt": []}
    for model, sums in models.items():
        pools.setdefault(_pool(model, sums, catalogue), []).append(sums)
    spoken, heard = _total(pools["standard"] + pools["flash"]), _total(pools["stt"])
    hits = _share(spoken.saved_credits, spoken.credits + spoken.saved_credits)
    each = _share(spoken.characters, spoken.requests * (1 - (hits or 0.0)))
    busiest = max(sums.characters for sums in recent.values())
    return History(
        days=span,
        characters_month=level.characters * MONTH / span,
        realtime_share=_share(_total(pools["flash"]).characters, spoken.characters),
        characters_request=max(1.0, each) if each else None,
        stt_hours=level.stt_seconds / 3600 * MONTH / span,
        stt_file_seconds=_share(heard.stt_seconds, heard.requests) or None,
        busiest_rps=busiest / each / 86400 if each else None,
        hit_rate=hits,
        seconds_call=now,
    )


def _pool(model: str, sums: Sums, catalogue: Facts) -> str:
    """Of a model that the catalogue doesn't know, by what it did."""
    known = catalogue["models"].get(model, {}).get("pool")
    return str(known or ("stt" if sums.stt_seconds else "standard"))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
