"""Breakers and the latch for all processes: one that opens opens for all, and of them all one probes.

What opens a breaker is still what one process has seen: five of its own last ten. Only a change is told, so a call in
good health costs Redis nothing; the first one of all reads how things stand.
"""

from typing import Any

from ..breaker import ONLY_WATCHED, Breaker, Guard, Latch, Outcome
from ..clock import now
from .redis_health import WELL, RedisHealth

LATCH = "latch"


def shared_breakers(health: RedisHealth, pools: tuple[str, ...], **terms: Any) -> dict[str, Breaker]:
    """What ``breaker.breakers`` makes, for all processes."""
    latch = SharedLatch(health)
    return {pool: SharedBreaker(health, pool, latch, **terms) for pool in pools}


class SharedLatch(Latch):
    """What is logged is logged by the process that saw it."""

    def __init__(self, health: RedisHealth) -> None:
        super().__init__()
        self._health = health
        health.follow(LATCH, self._adopt)

    @property
    def asks(self) -> bool:
        """Of a call that was let in: whether it is the probe."""
        return bool(self._why)

    def leave(self, generation: int, outcome: Outcome) -> None:
        why, probing = self._why, self._probing
        super().leave(generation, outcome)
        if self._why != why or (probing and not self._probing and outcome is not None):
            self._health.tell(LATCH, self._why or WELL, left_s=self._probe_at - now())
        elif probing and not self._probing:
            self._health.give_back(LATCH)

    def put_off(self, seconds: float) -> None:
        """Another process probes."""
        self._probing, self._probe_at = False, now() + seconds

    def _adopt(self, why: str, _opens_s: float, left_s: float) -> None:
        if why == WELL:
            self._why, self._since, self._refusals, self._probing = "", None, 0, False
            return
        if not self._why:
            self._why, self._since = why, now()
            self._generation += 1
        self.put_off(left_s)


class SharedBreaker(Breaker):
    """One pool's, in one process."""

    def __init__(self, health: RedisHealth, pool: str, latch: SharedLatch, **terms: Any) -> None:
        super().__init__(latch, **terms)
        self._health, self._pool, self._latch = health, pool, latch
        health.follow(pool, self._adopt)

    def guard(self) -> "SharedGuard":
        return SharedGuard(self)

    async def enter(self) -> tuple[int, int]:
        """As ``_enter``; but of the processes that would probe one is let in."""
        await self._health.ready()
        states = self._enter()
        asked = [name for name, asks in ((self._pool, self.asks), (LATCH, self._latch.asks)) if asks]
        if states == ONLY_WATCHED or not asked:
            return states
        later_s: float | None = 0.0
        try:
            later_s = await self._health.probe(asked)
        finally:
            if later_s is not None:  # refused, or cancelled
                self._put_off(asked, later_s)
        return states if later_s is None else self._enter()

    @property
    def asks(self) -> bool:
        """Of a call that was let in: whether it is the probe."""
        return self._state == "half_open"

    def _leave(self, states: tuple[int, int], outcome: Outcome) -> None:
        opened, state, probing = self._opened, self._state, self._probing
        super()._leave(states, outcome)
        if self._opened != opened:
            self._health.tell(self._pool, "open", self._open_s, self._until - now())
        elif self._state != state:
            self._health.tell(self._pool, WELL)
        elif probing and not self._probing:
            self._health.give_back(self._pool)

    def _put_off(self, asked: list[str], seconds: float) -> None:
        if self._pool in asked:
            self._probing, self._until = False, now() + seconds
        if LATCH in asked:
            self._latch.put_off(seconds)

    def _adopt(self, why: str, opens_s: float, left_s: float) -> None:
        self._probing = False
        if why == WELL:
            self._state = "closed"
            self._failed.clear()
        else:
            self._open(opens_s)
            self._until = now() + left_s


class SharedGuard(Guard):
    """Its breaker asks the others."""

    def __init__(self, breaker: SharedBreaker) -> None:
        super().__init__(breaker)
        self._shared = breaker

    async def __aenter__(self) -> None:
        self._states = await self._shared.enter()
