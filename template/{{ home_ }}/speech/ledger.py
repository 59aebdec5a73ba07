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

import asyncio
import logging
import operator
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol, TypeVar

from . import clock
from .errors import BudgetExceeded, SpeechError

T = TypeVar("T")
State = Literal["free", "uncertain", "billed"]
logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """What is summed up together."""

    day: str
    caller: str
    model_id: str


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
        return Usage(*map(operator.add, vars(self).values(), vars(other).values()))

    @property
    def spent_usd(self) -> float:
        """What counts against a budget."""
        return self.cost_usd + self.uncertain_usd


@dataclass(frozen=True, slots=True)
class Charge:
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


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money set aside for one attempt."""

    id: str
    day: str
    charge: Charge

    @property
    def row(self) -> Row:
        return Row(self.day, self.charge.caller, self.charge.model_id)

    @property
    def accounts(self) -> tuple[str, str, str]:
        """What it counts against: the day, the month, the caller's day."""
        return self.day, self.day[:7], caller_account(self.day, self.charge.caller)


def caller_account(day: str, caller: str) -> str:
    """The name of what one caller spends in a day."""
    return f"{day} {caller}"


@dataclass(frozen=True, slots=True)
class Cap:
    """No more than ``usd`` may be spent on an account. ``name`` and ``resets`` are for whoever is refused."""

    account: str
    usd: float
    name: str
    resets: str

    def refuses(self, spent_usd: float, charge: Charge) -> bool:
        """Whether the charge is more than what is left; a billionth of a dollar is rounding."""
        return spent_usd + charge.usd > self.usd + 1e-9

    def refusal(self) -> BudgetExceeded:
        return BudgetExceeded(f"This would exceed the {self.name} of {self.usd:g} USD. It resets {self.resets}.")


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits in USD: a day's, a calendar month's, and a day's by caller. None is no limit."""

    daily_usd: float | None = None
    monthly_usd: float | None = None
    callers: Mapping[str, float] = field(default_factory=dict)

    def caps(self, day: str, caller: str) -> list[Cap]:
        """What a charge of this caller on this day has to fit into."""
        midnight, month = "at 00:00 UTC", "on the first of the month, 00:00 UTC"
        limits = (
            (day, self.daily_usd, "daily budget", midnight),
            (day[:7], self.monthly_usd, "monthly budget", month),
            (caller_account(day, caller), self.callers.get(caller), f"daily budget of caller {caller}", midnight),
        )
        return [Cap(account, usd, name, resets) for account, usd, name, resets in limits if usd is not None]


class LedgerStore(Protocol):
    """Where the sums live. Each method is one step that other processes see whole or not at all."""

    async def reserve(self, reservation: Reservation, caps: Sequence[Cap]) -> Cap | None:
        """Set it aside, unless a cap refuses: that one."""

    async def sent(self, reservation: Reservation) -> None:
        """From now on, whoever finds it without its process takes it for uncertain."""

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        """Put ``usage`` into its row, in its place; nothing for a reservation that is settled already."""

    async def add(self, row: Row, usage: Usage) -> None:
        """What costs nothing: requests, saved credits. Zeros leave no row behind."""

    async def rows(self) -> dict[Row, Usage]:
        """All that was booked; reservations are not."""

    async def open_reservations(self) -> int:
        """How many are set aside and not yet settled."""


class Ledger:
    """Budgets over a store. Without ``enforce`` a refusal is only counted, in ``would_refuse``."""

    def __init__(
        self, store: LedgerStore, budgets: Budgets, *, enforce: bool = True, today: Callable[[], str] = clock.today
    ) -> None:
        self.budgets, self.would_refuse = budgets, 0
        self._store, self._enforce, self._today = store, enforce, today
        self._settling: set[asyncio.Task[None]] = set()

    async def reserve(self, charge: Charge) -> "Bill":
        """Set the money aside. Raises BudgetExceeded; SpeechError where it could not be written down."""
        reservation = Reservation(secrets.token_hex(12), self._today(), charge)
        caps = self.budgets.caps(reservation.day, charge.caller)
        try:
            refusing = await self._must(self._store.reserve(reservation, caps))
            if refusing and not self._enforce:
                self.would_refuse += 1
                refusing = await self._must(self._store.reserve(reservation, ()))
        except BaseException:
            await self.settle(reservation, Usage())  # failed or cancelled midway: it may have been set aside
            raise
        if refusing:
            raise refusing.refusal()
        return Bill(self, reservation)

    async def sent(self, reservation: Reservation) -> None:
        await self._must(self._store.sent(reservation))

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        """Booked once, even if the caller is cancelled meanwhile."""
        task = asyncio.create_task(_book(self._store.settle(reservation, usage)))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        await asyncio.shield(task)

    async def counted(self, caller: str, model_id: str) -> None:
        """One request was answered."""
        await _book(self._store.add(Row(self._today(), caller, model_id), Usage(requests=1)))

    async def saved(self, charge: Charge) -> None:
        """The cache, or somebody else's call, answered what would have cost this."""
        row = Row(self._today(), charge.caller, charge.model_id)
        await _book(self._store.add(row, Usage(saved_credits=charge.credits)))

    async def rows(self) -> dict[Row, Usage]:
        return await self._store.rows()

    async def open_reservations(self) -> int:
        return await self._store.open_reservations()

    async def flush(self) -> None:
        """Wait for the bookings whose callers were cancelled."""
        await asyncio.gather(*self._settling)

    async def _must(self, step: Awaitable[T]) -> T | None:
        """What can't be written down may not be spent."""
        try:
            return await step
        except Exception:
            logger.exception("the ledger can't be written")
            if self._enforce:
                raise SpeechError("The ledger can't be written, so nothing is spent; the log says why.") from None
            return None


async def _book(booking: Awaitable[None]) -> None:
    """The money is gone either way: a store that fails is the operator's to hear of, not the caller's."""
    try:
        await booking
    except Exception:
        logger.exception("a booking failed; what was set aside for it stays so, as uncertain once it was sent")


class Bill:
    """One attempt's money. Leaving it settles, once, by the state it is in; that never hides the caller's error."""

    def __init__(self, ledger: Ledger, reservation: Reservation) -> None:
        self.state: State = "free"
        self.charge = reservation.charge
        self._ledger, self._reservation = ledger, reservation

    async def send(self) -> None:
        """Call this before the first byte leaves: from here on it may be billed."""
        await self._ledger.sent(self._reservation)
        self.state = "uncertain"

    def billed(self, credits: int | None = None, usd: float | None = None, seconds: float | None = None) -> None:
        """Upstream took the job. None: as reserved."""
        charge = self.charge
        self.charge = replace(
            charge,
            credits=charge.credits if credits is None else credits,
            usd=charge.usd if usd is None else usd,
            seconds=charge.seconds if seconds is None else seconds,
        )
        self.state = "billed"

    def judged(self, outcome: Literal["free", "uncertain", "kept"]) -> None:
        """What ``faults.Verdict.bill`` says of the failure; kept is as it stood."""
        if outcome != "kept":
            self.state = outcome

    async def __aenter__(self) -> "Bill":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ledger.settle(self._reservation, self.charge.booked(self.state))
