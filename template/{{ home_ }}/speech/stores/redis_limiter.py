"""One pool's limit over the processes of all hosts, as the path of one process sees it.

While Redis answers the script gives the slots, and ``Limiter`` only keeps who waits and who holds. Alone this process
is an ordinary ``Limiter`` whose plan is its *share*: what Redis last set aside for it. The shares of all never add up
to more than the limit, so that alone they keep it together:

    at once     only as many slots as it had: others may still use what is ours now
    drained     its whole share, once what others run beyond theirs has ended: after 3 s, or 3 times a call's time

Until then nobody is refused, for it may be a hiccup. A process that Redis never heard of takes one slot when drained
(each that starts during an outage may be one too many). With more processes than slots some have no share, and refuse.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..allowance import Allowance
from ..clock import now
from ..errors import Overloaded
from ..limiter import FULL, GIVES_WAY_S, LATE, Lease, Limiter, Ticket
from ..request import Priority
from .redis_steps import Steps

DRAIN_S = 3.0
LONGEST_S = 86_400.0  # told for "never"
AGAIN_S = 1.0  # when to ask a process that has no share


@dataclass(eq=False, repr=False)
class RedisLimiter(Limiter):
    """``_told`` are those whom the script knows as waiters, by name; ``_news`` is what it has not been told, and
    ``_returning`` how many releases are under way to it.

    ``allowance`` is the script's conclusion, as last heard; while alone it is this process's share.
    """

    steps: Steps = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._shared = self.allowance
        self._share, self._own, self._drained_at = 1, 0, math.inf
        self._told: dict[str, RedisLease] = {}
        self._news, self._returning = News(), 0
        self._waits_s, self._heard_at = [0.0, 0.0, 0.0], 0.0  # of somebody who came then, by class
        self.steps.pools[self.pool] = self

    def admit(self, ticket: Ticket) -> "RedisLease":
        self._asked += 1
        return RedisLease(self, ticket, self._asked)

    def reorder(self, ticket: Ticket) -> None:
        waiter = self._waiting(ticket)
        super().reorder(ticket)
        if isinstance(waiter, RedisLease) and waiter.name in self._told and waiter.priority is not ticket.priority:
            later_s = GIVES_WAY_S[ticket.priority] - GIVES_WAY_S[waiter.priority]
            self._news.move.append((waiter.name, _us(later_s), int(ticket.priority is Priority.INTERACTIVE)))
            waiter.priority = ticket.priority
            self.steps.wake()

    def late(self, priority: Priority, deadline: float, whole: bool, ticket: Ticket | None = None) -> Overloaded | None:
        """As Redis last told; in doubt nobody is."""
        return None if self._in_doubt else super().late(priority, deadline, whole, ticket)

    def heard(self, maximum: int | None, current: int | None) -> None:
        """Evidence, which the script judges; a lower number at once, the rest with the next step."""
        if maximum is None and current is None:
            return
        self._news.heard.append((maximum or 0, -1 if current is None else current))
        if maximum is not None and maximum < self._shared.ceiling:
            self.steps.wake()

    def snapshot(self) -> dict[str, Any]:
        """The limit, ceiling, others and cuts of all; in flight, queued, waited and shed of this process."""
        return super().snapshot() | self._shared.snapshot() | {"shared": self.steps.state}

    # ------------------------------------------------------------------------------------------- as the path moves it

    @property
    def _in_doubt(self) -> bool:
        return not self.steps.joined and now() < self._drained_at

    def enter(self, waiter: Lease) -> None:
        assert isinstance(waiter, RedisLease)
        self.steps.begin()
        waiter.name = self.steps.name(waiter.ticket.weight)
        if self.steps.joined or self._in_doubt:
            waiter.ticket.arrived = now() if waiter.ticket.arrived is None else waiter.ticket.arrived
            self._queue(waiter)
        elif self._share:
            super().enter(waiter)
        else:
            self._shed += 1
            raise Overloaded(FULL.format(self.pool), retry_after_s=AGAIN_S)
        self._news.want.append(waiter)
        self.steps.wake()

    def leave(self, waiter: Lease) -> None:
        assert isinstance(waiter, RedisLease)
        if waiter in self._held:
            self._news.release.append((waiter.name, waiter.took_us))
        elif self._told.pop(waiter.name, None):
            self._news.leave.append(waiter.name)
        self.steps.wake()
        super().leave(waiter)

    def end(self, lease: Lease, well: bool) -> None:
        assert isinstance(lease, RedisLease)
        lease.took_us = max(1, _us(now() - lease.started)) if well else 0
        super().end(lease, well)

    def _advance(self) -> None:
        if not self.steps.joined and not self.steps.frozen and self._room:
            super()._advance()

    @property
    def _room(self) -> int:
        """Alone."""
        return self._own if self._in_doubt else self._share

    def _fits(self, ticket: Ticket) -> bool:
        return super()._fits(ticket) and self._in_flight + self._weight(ticket) <= self._room

    def turn_in_s(self, ticket: Ticket, number: float = math.inf) -> float:
        if not self.steps.joined:
            return super().turn_in_s(ticket, number)
        newcomer_s = self._waits_s[ticket.priority] - (now() - self._heard_at)
        waiter = next((w for w in self._line if w.number == number and isinstance(w, RedisLease)), None)
        return max(0.0, min(newcomer_s, waiter.turn_at - now()) if waiter else newcomer_s)

    # ----------------------------------------------------------------------------------------- as the conversation does

    def news(self) -> dict[str, Any]:
        news, self._news = self._news, News()
        self._returning = len(news.release)
        wants = [self._want(waiter) for waiter in news.want if not waiter.turn.done()]
        return {name: said for name, said in (vars(news) | {"want": wants}).items() if said}

    def claim(self, first: bool) -> dict[str, Any]:
        self._news, self._told, self._returning = News(), {}, 0
        terms = {"plan": self.plan, "fixed": int(self.fixed), "reserved": self.reserved, "size": self.queue_size}
        return {
            "terms": terms,
            "limit": self._shared.limit,
            "ceiling": self._shared.ceiling,
            "share": 0 if first else self._share,
            "held": [_held(lease) for lease in self._held if isinstance(lease, RedisLease)],
            "want": [self._want(w) for w in self._line if isinstance(w, RedisLease) and not w.turn.done()],
        }

    def hear(self, told: Mapping[str, Any]) -> None:
        shared = self._shared
        shared.limit, shared.ceiling = told["limit"], told["ceiling"]
        shared.others, shared.cuts = told["others"], told["cuts"]
        self._service_s, self._measured = told["service"] / 1e6, told["measured"]
        self._share = told.get("share", self._share)
        self._waits_s, self._heard_at = [wait_us / 1e6 for wait_us in told["waits"]], now()

    def give(self, name: str, weight: int) -> None:
        waiter = self._told.pop(name, None)
        if waiter is None or waiter.turn.done():  # it left while the slot was on its way
            self._news.release.append((name, 0))
            return self.steps.wake()
        self._line.remove(waiter)
        self.grant(waiter)
        self._in_flight += weight - waiter.weight
        waiter.weight = weight

    def shed(self, name: str, code: str, retry_us: float) -> None:
        self._shed += 1
        waiter = self._told.pop(name, None)
        if waiter and not waiter.turn.done():
            self._line.remove(waiter)
            says = FULL if code == "queue_full" else LATE
            waiter.turn.set_result(Overloaded(says.format(self.pool), code=code, retry_after_s=retry_us / 1e6))

    def queued(self, name: str, wait_us: float) -> None:
        self._waited += 1
        if waiter := self._told.get(name):
            waiter.turn_at = now() + wait_us / 1e6

    def join(self) -> None:
        self.allowance = self._shared

    def cut_off(self, ours: bool) -> None:
        leased = self._in_flight + len(self._news.release) + self._returning
        self._own = min(self._share, leased) if ours else 0
        self.allowance = Allowance(self.pool, max(1, self._share), processes=1, fixed=True)
        drain_s = max(DRAIN_S, 3 * self._service_s)
        self._drained_at = now() + drain_s
        asyncio.get_running_loop().call_later(drain_s, self.advance_alone)

    def advance_alone(self) -> None:
        self._advance()

    def _want(self, waiter: "RedisLease") -> tuple[str, int, int, int, int, int]:
        ticket, instant = waiter.ticket, now()
        self._told[waiter.name], waiter.priority = waiter, ticket.priority
        waited_s, left_s = instant - (ticket.arrived or instant), ticket.deadline - instant
        return waiter.name, ticket.priority, _us(waited_s), _us(left_s), int(ticket.whole), _us(ticket.guess_s)


class RedisLease(Lease):
    """``name`` and ``priority`` are what Redis knows of it; ``turn_at`` is when it said that its turn may come."""

    _limiter: RedisLimiter
    name = ""
    turn_at = math.inf
    took_us = 0  # of a call that ended well

    def refused(self, limit: int | None) -> None:
        if self._limiter.steps.joined:
            self._limiter._news.refused.append((self.name, limit or 0))
        else:
            super().refused(limit)


@dataclass
class News:
    """As the script reads it."""

    want: list[RedisLease] = field(default_factory=list)
    move: list[tuple[str, int, int]] = field(default_factory=list)
    leave: list[str] = field(default_factory=list)
    release: list[tuple[str, int]] = field(default_factory=list)
    refused: list[tuple[str, int]] = field(default_factory=list)
    heard: list[tuple[int, int]] = field(default_factory=list)


def limiter(steps: Steps, pool: str, plan: int, *, processes: int, **terms: Any) -> Limiter:
    """The account's number is for all processes together; who only observes counts for itself, its part of it."""
    if terms.get("observed"):
        return Limiter(pool, plan, processes, **terms)
    return RedisLimiter(pool, plan, steps=steps, **terms)


def _held(lease: RedisLease) -> tuple[str, int, int, int]:
    return lease.name, _us(now() - lease.started), lease.weight, int(lease.priority is Priority.INTERACTIVE)


def _us(seconds: float) -> int:
    return int(min(seconds, LONGEST_S) * 1e6)
