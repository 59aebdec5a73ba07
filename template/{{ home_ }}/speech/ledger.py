"""Money: set aside before it is spent, then booked as what it turned out to be.

    reserved ──send──▶ uncertain ──answer──▶ billed      headers came: what they say it cost, else what was reserved
        │                   └──────refusal──▶ free       4xx, 429, 503: never billed
        └─────────────────────────────────▶ free         never sent

What was sent and never answered stays uncertain: it may or may not be on the bill, counts against every budget, and is
shown apart. Hence, for any row and at any time,

    billed <= upstream's bill <= billed + uncertain        equal where nothing is uncertain.

A budget counts billed + uncertain + reserved, and the store checks it in the same step that sets the money aside, so
that many processes can't spend the last dollar twice. A cost is booked on the day (UTC) it was reserved.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from operator import add
from typing import Any, Literal, NamedTuple, Protocol

from . import clock
from .errors import BudgetExceeded, SpeechError

State = Literal["free", "uncertain", "billed"]
Observed = Callable[[str], None] | None
logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """What is summed up together."""

    day: str
    caller: str
    model_id: str

    @property
    def accounts(self) -> tuple[str, str, str]:
        """What it counts against: the day, the month, the caller's day. Whoever is refused reads these names."""
        return self.day, self.day[:7], f"{self.caller} on {self.day}"


@dataclass
class Usage:
    """The sums of a row. ``requests`` counts answers; ``saved_credits`` is what those cost that nobody had to buy."""

    credits: int = 0
    uncertain_credits: int = 0
    cost_usd: float = 0.0
    uncertain_usd: float = 0.0
    characters: int = 0
    stt_seconds: float = 0.0
    requests: int = 0
    saved_credits: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*map(add, vars(self).values(), vars(other).values()))

    @property
    def spent_usd(self) -> float:
        """What counts against a budget."""
        return self.cost_usd + self.uncertain_usd


class Charge(NamedTuple):
    """What an attempt costs: at most while it is reserved, exactly once it is billed. ``usd`` is the list price."""

    caller: str
    model_id: str
    credits: int
    usd: float
    characters: int = 0
    seconds: float = 0.0

    def booked(self, state: State) -> Usage:
        """What a row gains by an attempt that ended so."""
        if state == "billed":
            return Usage(credits=self.credits, cost_usd=self.usd, characters=self.characters, stt_seconds=self.seconds)
        if state == "uncertain":
            return Usage(uncertain_credits=self.credits, uncertain_usd=self.usd)
        return Usage()


class Reservation(NamedTuple):
    """Money set aside for one attempt."""

    id: str
    row: Row
    charge: Charge

    def refusing(self, limits: Mapping[str, float], spent: Mapping[str, float]) -> str | None:
        """The first account that has less left than this; a billionth of a dollar is rounding."""
        return next((name for name, usd in limits.items() if spent.get(name, 0.0) + self.charge.usd > usd + 1e-9), None)


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits in USD: a day's, a calendar month's, and a day's by caller. None is no limit."""

    daily_usd: float | None = None
    monthly_usd: float | None = None
    callers: Mapping[str, float] = field(default_factory=dict)

    def limits(self, row: Row) -> dict[str, float]:
        """By account, what a charge to this row has to fit into."""
        limits = zip(row.accounts, (self.daily_usd, self.monthly_usd, self.callers.get(row.caller)), strict=True)
        return {account: usd for account, usd in limits if usd is not None}


class LedgerStore(Protocol):
    """Where the sums live. Each method is one step that other processes see whole or not at all."""

    async def reserve(self, reservation: Reservation, limits: Mapping[str, float]) -> str | None:
        """Set it aside, unless an account is ``refusing``: which one.

        Where this raises, or is cancelled, nothing was set aside.
        """

    async def sent(self, reservation: Reservation) -> None:
        """From now on, whoever finds it without its process takes it for uncertain."""

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        """Put ``usage`` into its row, in its place; nothing for a reservation that is settled already.

        It is not interrupted when the caller is cancelled: a store that has to wait shields itself.
        """

    async def add(self, row: Row, usage: Usage) -> None:
        """What nothing was set aside for."""

    async def rows(self) -> dict[Row, Usage]:
        """All that was booked, and no row of zeros; reservations are not."""


class Ledger:
    """Budgets over a store. With ``observed`` nothing is refused: it hears what would have been."""

    def __init__(
        self, store: LedgerStore, budgets: Budgets, *, observed: Observed = None, today: Callable[[], str] = clock.today
    ) -> None:
        self.budgets, self._store, self._observed, self._today = budgets, store, observed, today

    async def reserve(self, charge: Charge) -> "Bill":
        """Set the money aside. Raises BudgetExceeded; SpeechError where it could not be written down."""
        row = Row(self._today(), charge.caller, charge.model_id)
        reservation, limits = Reservation(secrets.token_hex(12), row, charge), self.budgets.limits(row)
        refusing = await self._tell(self._store.reserve(reservation, limits), needed=not self._observed)
        if refusing and not self._observed:
            raise BudgetExceeded(f"This would exceed the budget of {limits[refusing]:g} USD for {refusing} (UTC).")
        if refusing is not None and self._observed:  # it is spent all the same: so book it, and ask no budget
            self._observed("budget_exceeded" if refusing else "internal_error")
            await self._tell(self._store.reserve(reservation, {}))
        return Bill(self, reservation)

    async def sent(self, reservation: Reservation) -> None:
        await self._tell(self._store.sent(reservation), needed=not self._observed)

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        """The money is gone either way: a store that fails is the operator's to hear of, not the caller's."""
        await self._tell(self._store.settle(reservation, usage))

    async def saved(self, charge: Charge) -> None:
        """The cache, or somebody else's call, answered what would have cost this."""
        row = Row(self._today(), charge.caller, charge.model_id)
        await self._tell(self._store.add(row, Usage(requests=1, saved_credits=charge.credits)))

    async def rows(self) -> dict[Row, Usage]:
        return await self._store.rows()

    async def _tell(self, step: Awaitable[str | None], needed: bool = False) -> str | None:
        """What the step said, "" if it failed. Where it is ``needed``: what can't be written down may not be spent."""
        try:
            return await step
        except Exception:
            logger.exception("the ledger can't be written; what was set aside stays so, as uncertain once it was sent")
        if needed:
            raise SpeechError("The ledger can't be written, so nothing is spent; the log says why.")
        return ""


class Bill:
    """One attempt's money. Leaving it settles, once, by the state it is in; that never hides the caller's error."""

    def __init__(self, ledger: Ledger, reservation: Reservation) -> None:
        self.state: State = "free"
        self.answers = 0  # how many requests it has answered
        self.charge = reservation.charge
        self._ledger, self._reservation = ledger, reservation

    async def send(self) -> None:
        """Call this before the first byte leaves: from here on it may be billed."""
        await self._ledger.sent(self._reservation)
        self.state = "uncertain"

    def billed(self, credits: int | None = None, usd: float | None = None, seconds: float | None = None) -> None:
        """Upstream took the job. None: as reserved."""
        said: dict[str, Any] = {"credits": credits, "usd": usd, "seconds": seconds}
        self.charge = self.charge._replace(**{name: value for name, value in said.items() if value is not None})
        self.state = "billed"

    def judged(self, outcome: Literal["free", "uncertain", "kept"]) -> None:
        """What ``faults.Verdict.bill`` says of the failure; kept is as it stood."""
        if outcome != "kept":
            self.state = outcome

    async def __aenter__(self) -> "Bill":
        return self

    async def __aexit__(self, *_: object) -> None:
        usage = self.charge.booked(self.state)
        usage.requests = self.answers
        await self._ledger.settle(self._reservation, usage)
