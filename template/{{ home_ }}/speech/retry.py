"""Try again where it may help, is still free, and somebody is there to hear.

Whether a fault may be tried again is its row in ``faults.py``; four things stand above that. Money: what was billed is
never tried again (silence is, once: nobody can want that). Time: never when the pause would outlast the deadline.
Tries: three. And a budget: each request pays in a tenth of a token and each retry takes a whole one, so that an outage
makes upstream's load at most a tenth larger, not three times as large; the ten that are there at first are for a service
too quiet to save. To queue again for a slot costs none: the limiter bounds that.

Pauses are random between nothing and all (full jitter), so that those who failed together don't come back together; what
upstream asks for in ``Retry-After`` is the least. The pause is on the way out of an attempt: it holds no slot, no money.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from .clock import now
from .faults import Fault

REQUEUE_S = 0.5
TOKENS = 10.0
TOKENS_MAX = 100.0


class Trip(Protocol):
    """What an attempt needs to know of the call, asked when it has failed. ``deadline``: an instant of the loop's clock."""

    @property
    def deadline(self) -> float: ...

    @property
    def billed(self) -> bool: ...


def ignore(_reason: str) -> None:
    """Count nothing."""


class RetryBudget:
    """A share of traffic, in tokens: never below none, never above ``TOKENS_MAX``."""

    def __init__(self, ratio: float = 0.1) -> None:
        self.ratio, self.tokens = ratio, TOKENS

    def deposit(self) -> None:
        self.tokens = min(self.tokens + self.ratio, TOKENS_MAX)

    def take(self) -> bool:
        """Whether there was one."""
        affordable = self.tokens >= 1
        self.tokens -= affordable
        return affordable


class Retry:
    """Decides for all calls; ``counted`` hears the kind of each fault that is tried again."""

    def __init__(
        self,
        *,
        tries: int = 3,
        backoff_s: float = 1.0,
        backoff_s_max: float = 8.0,
        ratio: float = 0.1,
        chance: Callable[[], float] = random.random,
        counted: Callable[[str], None] = ignore,
    ) -> None:
        self.tries, self.backoff_s, self.backoff_s_max = tries, backoff_s, backoff_s_max
        self.budget = RetryBudget(ratio)
        self._chance, self._counted, self._retries = chance, counted, 0

    def attempts(self, trip: Trip) -> "Iterator[Attempt]":
        """``for attempt in …: async with attempt: … return``. The last one lets its fault through."""
        self.budget.deposit()
        before: list[str] = []
        for _ in range(self.tries):
            yield Attempt(self, trip, before)

    def snapshot(self) -> dict[str, Any]:
        return {"retries": self._retries, "budget": self.budget.tokens}

    def pause_s(self, fault: Fault, trip: Trip, before: list[str]) -> float | None:
        """How long to wait before the next attempt, None if there is none. ``before`` holds the earlier faults' kinds."""
        how = fault.verdict.retry
        if how == "no" or len(before) + 1 >= self.tries:
            return None
        if fault.kind in before if fault.kind == "empty_audio" else trip.billed:
            return None
        longest_s = REQUEUE_S if how == "requeue" else min(self.backoff_s * 2 ** len(before), self.backoff_s_max)
        pause_s = max(longest_s * self._chance(), fault.retry_after_s or 0.0)
        if now() + pause_s >= trip.deadline or (how != "requeue" and not self.budget.take()):
            return None
        self._retries += 1
        self._counted(fault.kind)
        return pause_s


class Attempt:
    """One try. Leaving it with a fault that may be tried again swallows the fault, and waits."""

    def __init__(self, retry: Retry, trip: Trip, before: list[str]) -> None:
        self._retry, self._trip, self._before = retry, trip, before

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, _type: type[BaseException] | None, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, Fault):
            return False
        pause_s = self._retry.pause_s(error, self._trip, self._before)
        self._before.append(error.kind)
        if pause_s is None:
            return False
        await asyncio.sleep(pause_s)
        return True
