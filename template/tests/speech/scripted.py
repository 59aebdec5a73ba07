"""A scripted upstream, and a client around it whose policies are the real ones: for tests in virtual time.

Time there jumps, so neither sockets nor threads nor a disk may take part. ``test_whole_path.py`` has those.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from speech import catalogue
from speech.breaker import Breaker, Latch
from speech.cache import AudioCache, Kept
from speech.client import Client, House
from speech.clock import now
from speech.errors import SpeechError
from speech.faults import Fault
from speech.flight import Answer, Call, Policies
from speech.ledger import Budgets, Ledger, Reservation, Row, Usage
from speech.limiter import Limiter
from speech.meter import Meter
from speech.request import Rules
from speech.retry import Retry

Step = float | bytes | Fault | Answer
SPOKEN: tuple[Step, ...] = (0.2, b"a", 0.4, b"b", 0.4, b"c")


def headers(**said: Any) -> Answer:
    """A step: upstream's headers arrive now, and say this."""
    return Answer(_nothing(), **said)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


class Script:
    """Each call plays the next script: a number is slept, a fault raised, bytes are spoken, an Answer is the headers.

    Headers come with the first byte where no step says otherwise, and say nothing.
    """

    def __init__(self, *scripts: Sequence[Step], default: Sequence[Step] = SPOKEN) -> None:
        self.scripts, self.default = list(scripts), default
        self.calls, self.busy, self.peak, self.texts, self.sent = 0, 0, 0, list[str](), list[Call]()

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Answer]:
        self.calls += 1
        self.sent.append(call)
        self.texts.append(getattr(call.request, "text", ""))
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        steps = list(self.scripts.pop(0) if self.scripts else self.default)
        try:
            answer = await self._headers(steps)
            answer.chunks = self._chunks(steps)
            yield answer
        finally:
            self.busy -= 1

    async def _headers(self, steps: list[Step]) -> Answer:
        while steps and not isinstance(steps[0], bytes):
            step = await self._play(steps.pop(0))
            if isinstance(step, Answer):
                return Answer(_nothing(), step.cost, step.maximum, step.current, step.request_id, step.seconds)
        return Answer(_nothing())

    async def _chunks(self, steps: list[Step]) -> AsyncIterator[bytes]:
        for step in steps:
            if isinstance(played := await self._play(step), bytes):
                yield played

    async def _play(self, step: Step) -> Step:
        if isinstance(step, Fault):
            raise step
        if isinstance(step, int | float):
            await asyncio.sleep(step)
        return step


class Shelf:
    """Audio in a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Kept, float]] = {}

    async def get(self, key: str) -> tuple[Kept, float] | None:
        return (self.kept[key][0], now() - self.kept[key][1]) if key in self.kept else None

    async def put(self, key: str, kept: Kept) -> None:
        self.kept[key] = kept, now()

    def claim(self, key: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def purge(self, voice_id: str | None) -> int:
        gone, self.kept = len(self.kept), {}
        return gone

    async def stats(self) -> dict[str, int]:
        return {"entries": len(self.kept), "bytes": 0, "bytes_max": 0}


class Till:
    """Money in two dicts."""

    def __init__(self) -> None:
        self.booked: defaultdict[Row, Usage] = defaultdict(Usage)
        self.open: dict[str, Reservation] = {}

    async def reserve(self, reservation: Reservation, limits: Mapping[str, float]) -> str | None:
        refusing = reservation.refusing(limits, {account: self._spent(account) for account in limits})
        if refusing is None:
            self.open[reservation.id] = reservation
        return refusing

    async def sent(self, reservation: Reservation) -> None: ...

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        if self.open.pop(reservation.id, None):
            self.booked[reservation.row] += usage

    async def add(self, row: Row, usage: Usage) -> None:
        self.booked[row] += usage

    async def rows(self) -> dict[Row, Usage]:
        return dict(self.booked)

    def _spent(self, account: str) -> float:
        booked = sum(usage.spent_usd for row, usage in self.booked.items() if account in row.accounts)
        return booked + sum(held.charge.usd for held in self.open.values() if account in held.row.accounts)


class Chairs:
    """Seats of one process."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    async def take(self, caller: str, most: int) -> bool:
        if free := self.taken[caller] < most:
            self.taken[caller] += 1
        return free

    async def free(self, caller: str) -> None:
        self.taken[caller] -= 1


class Scene:
    """A client with everything it stands on, to look at afterwards."""

    def __init__(
        self,
        upstream: Script,
        *,
        limit: int = 1,
        budgets: Budgets | None = None,
        patience_s: float = 5.0,
        chance: float = 1.0,
        queue_size: int = 1000,
        **house: Any,
    ) -> None:
        self.upstream, self.shelf, self.till, self.meter = upstream, Shelf(), Till(), Meter()
        latch = Latch()
        self.policies = Policies(
            upstream=upstream,
            limiters={p: Limiter(p, limit, queue_size=queue_size) for p in catalogue.HTTP_POOLS},
            breakers={p: Breaker(latch) for p in catalogue.HTTP_POOLS},
            retry=Retry(chance=lambda: chance),
            ledger=Ledger(self.till, budgets or Budgets()),
            cache=AudioCache(self.shelf, ttl_s=100, stale_s=100),
            seats=Chairs(),
            meter=self.meter,
            attempt_timeout_s=patience_s,
        )
        rules = Rules("creator", catalogue.models())
        self.client = Client(self.policies, House(rules, catalogue.DEFAULT_VOICE, quality="realtime", **house))

    @property
    def limiter(self) -> Limiter:
        return self.policies.limiters["flash"]

    @property
    def held(self) -> int:
        return int(self.limiter.snapshot()["in_flight"])

    @property
    def money(self) -> Usage:
        """All callers, all days."""
        return sum(self.till.booked.values(), Usage())


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """What came, or the code of what went wrong."""
    try:
        return await awaitable
    except SpeechError as error:
        return error.code
