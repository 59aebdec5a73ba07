"""Money as Redis keeps it: in whole numbers, nano-dollars, so that sums are exact whoever adds them up."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..ledger import Reservation, Row, Usage

NANO = 10**9
SCALE = [NANO if isinstance(value, float) else 1 for value in vars(Usage()).values()]


@dataclass(slots=True)
class Hold:
    """A reservation, in whole numbers. ``sent`` is how others take it if we die, ``left`` whether it was sent indeed.

    Under a budget it is taken for sent from the start, so that sending needs no step of its own: of a process that dies
    in the next second or two it is uncertain, not free. What waits longer is said to be unsent; then sending is told.
    """

    id: str
    row: str
    credits: int
    usd: int
    limits: list[tuple[str, int]]
    sent: bool
    since: float
    left: bool = False
    refusing: str | None = None

    @classmethod
    def of(cls, reservation: Reservation, limits: Mapping[str, float], since: float) -> "Hold":
        id, row, charge = reservation
        bounds = [(account, round(usd * NANO)) for account, usd in limits.items()]
        return cls(id, text(row), charge.credits, round(charge.usd * NANO), bounds, sent=bool(limits), since=since)

    def said(self) -> tuple[object, ...]:
        """For the script. What was sent is held whatever the budget says."""
        return self.id, self.row, self.credits, self.usd, self.sent, [] if self.left else self.limits


def by_right(holds: Iterable[Hold]) -> list[Hold]:
    """What was sent first: what was not has to fit beside it."""
    return sorted((hold for hold in holds if not hold.refusing), key=lambda hold: (hold.left, hold.sent), reverse=True)


def text(row: Row) -> str:
    """Its name in Redis. Raises UnicodeEncodeError for what can't be told: in a step it would stop everything else."""
    return json.dumps(row, ensure_ascii=False).encode().decode()


def whole(usage: Usage) -> list[int]:
    return [round(value * scale) for value, scale in zip(vars(usage).values(), SCALE, strict=True)]


def usage_of(sums: list[Any]) -> Usage:
    """What they lack, nobody has booked."""
    return Usage(*[value if scale == 1 else value / scale for value, scale in zip(sums, SCALE, strict=False)])
