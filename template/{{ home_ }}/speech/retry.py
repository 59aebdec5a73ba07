"""Try again where it may help, is still free, and somebody is there to hear.

Whether a fault may be tried again is its row in ``faults.py``; four things stand above that. Money: what was billed is
never tried again (silence is, once: nobody can want that). Time: never when the pause would outlast the deadline.
Tries: three. And a budget: each request pays in a tenth of a token and each retry takes a whole one, so that an outage
makes upstream's load a tenth larger, not three times as large; the ten that are there at first are for a service too
quiet to save. To queue again for a slot costs none: the limiter bounds that.

Pauses are random between nothing and all (full jitter), so that those who failed together don't come back together;
what upstream asks for in ``Retry-After`` is the least. An attempt pauses on its way out, holding no slot and no money.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from .clock import now
from .faults import Fault

REQUEUE_S = 0.5
BACKOFF_S, BACKOFF_S_MAX = 1.0, 8.0
TOKENS, TOKENS_MAX = 10.0, 100.0
PAID_IN = 0.1  # tokens, by each request


class Trip(Protocol):
    """What an attempt asks the call when it has failed. ``deadline`` is an instant of the loop's clock."""

    @property
    def deadline(self) -> float: ...

    @property
    def billed(self) -> bool: ...


@dataclass
class Retry:
    """Decides for all calls; ``counted`` hears the kind of each fault that is tried again."""

    tries: int = 3
    chance: Callable[[], float] = random.random
    counted: Callable[[str], None] = lambda _kind: None
    tokens: float = TOKENS

    def attempts(self, trip: Trip) -> "Iterator[Attempt]":
        """``for attempt in …: async with attempt: … return``. The last one lets its fault through."""
        self.tokens = min(self.tokens + PAID_IN, TOKENS_MAX)
        before: list[str] = []
        for _ in range(self.tries):
            yield Attempt(self, trip, before)

    def pause_s(self, fault: Fault, trip: Trip, before: list[str]) -> float | None:
        """How long until the next attempt, None if there is none. ``before`` holds the earlier faults' kinds."""
        how = fault.verdict.retry
        spent = fault.kind in before if fault.kind == "empty_audio" else trip.billed
        if how == "no" or spent or len(before) + 1 >= self.tries:
            return None
        longest_s, price = (REQUEUE_S, 0) if how == "requeue" else (min(BACKOFF_S * 2 ** len(before), BACKOFF_S_MAX), 1)
        pause_s = max(longest_s * self.chance(), fault.retry_after_s or 0.0)
        if now() + pause_s >= trip.deadline or self.tokens < price:
            return None
        self.tokens -= price
        self.counted(fault.kind)
        return pause_s


class Attempt:
    """One try. Leaving it with a fault that may be tried again swallows the fault, and waits."""

    def __init__(self, retry: Retry, trip: Trip, before: list[str]) -> None:
        self._retry, self._trip, self._before = retry, trip, before

    async def __aenter__(self) -> None:
        """There is nothing to take yet."""

    async def __aexit__(self, _type: type[BaseException] | None, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, Fault):
            return False
        pause_s = self._retry.pause_s(error, self._trip, self._before)
        self._before.append(error.kind)
        if pause_s is not None:
            await asyncio.sleep(pause_s)
        return pause_s is not None
