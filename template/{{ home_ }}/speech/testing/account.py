"""One subscription: its slots, its credits, its bill.

The vendor counts a request from its arrival until its answer ends, by model family.  The slot here is free again just
before the last bytes leave, so a client that waits for them never meets a limit of its own making.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from ..catalogue import CATALOGUE
from .refusals import refusal, too_many

MONTH_S = 30 * 86400
POOLS = ("standard", "flash", "stt", "stt_realtime")


class Slot:
    """Room for one call; giving it back twice is the same as once."""

    def __init__(self, pool: "Pool", weight: int) -> None:
        self._pool, self._weight = pool, weight

    def release(self) -> None:
        self._pool.give_back(self._weight)
        self._weight = 0


class Pool:
    """The slots of one model family.  ``in_flight`` moves only in ``_take`` and ``give_back``."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self.peak = 0
        self._line: deque[tuple[int, asyncio.Future[Slot]]] = deque()

    async def admit(self, weight: int, may_wait: bool) -> Slot:
        """A slot at once or, where waiting is allowed, in turn; raises the 429 that names the limit."""
        if self._fits(weight) and not self._line:
            return self._take(weight)
        if not may_wait:
            raise too_many(self.limit)
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._line.append((weight, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                turn.result().release()
            self._advance()
            raise

    def set_limit(self, limit: int) -> None:
        self.limit = limit
        self._advance()

    def give_back(self, weight: int) -> None:
        self.in_flight -= weight
        self._advance()

    def _fits(self, weight: int) -> bool:
        return self.in_flight + min(weight, max(1, self.limit)) <= self.limit

    def _take(self, weight: int) -> Slot:
        weight = min(weight, self.limit)
        self.in_flight += weight
        self.peak = max(self.peak, self.in_flight)
        return Slot(self, weight)

    def _advance(self) -> None:
        while self._line and (self._line[0][1].done() or self._fits(self._line[0][0])):
            weight, turn = self._line.popleft()
            if not turn.done():
                turn.set_result(self._take(weight))


@dataclass(frozen=True)
class Price:
    """What a call takes from the account.  Speech to text is paid in dollars only."""

    credits: int
    usd: float
    characters: int = 0
    seconds: float = 0.0


class Account:
    """Everything that is counted.  ``remaining`` is None for an account without end; ``others`` is what other keys of
    it have used up, which the account's own count has in it and the bill of this key hasn't.
    """

    def __init__(self, tier: str) -> None:
        plans = CATALOGUE["plans"]
        if tier not in plans:
            raise ValueError(f"there is no plan {tier!r}; there are {', '.join(plans)}")
        self.tier = tier
        self.pools = {name: Pool(_limit(tier, name)) for name in POOLS}
        self.remaining: int | None = None
        self.others = 0
        self.resets_at = int(time.time()) + MONTH_S
        self.zero()

    def zero(self) -> None:
        self.credits, self.characters, self.seconds, self.usd = 0, 0, 0.0, 0.0
        for pool in self.pools.values():
            pool.peak = pool.in_flight

    @property
    def quota(self) -> int:
        """Credits of this month, used and unused."""
        if self.remaining is not None:
            return self.credits + self.others + self.remaining
        return CATALOGUE["plans"][self.tier]["credits_month"] or 10**9

    def check(self, price: Price) -> None:
        """Raises the vendor's refusal where less is left than the price; speech to text needs something left."""
        needed = price.credits if price.characters else 1
        if self.remaining is not None and needed > self.remaining:
            raise self.exhausted("quota_exceeded", needed)

    def exhausted(self, name: str, needed: int) -> Exception:
        return refusal(
            name,
            f"This request exceeds your quota of {self.quota}. You have {self.remaining or 0} credits remaining, "
            f"while {needed} credits are required for this request.",
        )

    def charge(self, price: Price) -> None:
        self.credits += price.credits
        self.characters += price.characters
        self.seconds += price.seconds
        self.usd += price.usd
        if self.remaining is not None:
            self.remaining -= price.credits

    @property
    def workspace_in_flight(self) -> int:
        return sum(pool.in_flight for pool in self.pools.values())


def _limit(tier: str, pool: str) -> int:
    """The plan's number; a plan without one (enterprise) starts as business."""
    plans = CATALOGUE["plans"]
    limit = plans[tier]["concurrency"][pool]["limit"]
    return int(plans["business"]["concurrency"][pool]["limit"] if limit is None else limit)
