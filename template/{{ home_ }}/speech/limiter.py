"""May I? At most so many calls at ElevenLabs at once, and a fair line before them.

The vendor counts calls in flight, not calls a minute: ten slots of 0.2 s serve fifty calls a second (Little's law), an
eleventh at once is refused. So a slot is held for as long as upstream speaks, then handed to the best waiter.

Fair:   rank = arrival + what the class gives way: interactive 0, normal 60 s, batch 120 s. First come first served
        within a class; urgent passes whatever has not waited a minute longer; nothing starves, and no timer is needed.
Kept:   what is not interactive holds at most limit - kept slots. While it does, interactive calls pass it in the line.
Shed:   who can't be served before his deadline hears it on arrival, with the time after which he could. When the line
        is full its worst place is refused, whoever stands there.
Truth:  in flight <= limit at every step. A lowered limit takes no slot back: it grants none until fewer are held.
"""

import asyncio
import math
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .allowance import Allowance
from .clock import now
from .errors import Overloaded
from .request import Priority

GIVES_WAY_S = {Priority.INTERACTIVE: 0.0, Priority.NORMAL: 60.0, Priority.BATCH: 120.0}
GUESS_S = 1.0  # a call's time before any was measured, where nobody knows its length
MEMORY = 32  # calls that the mean service time looks back on
FULL = "The line of the {} pool is full; try again later."
LATE = "The {} pool can't serve this before its deadline; try again later or allow more time."
SPREAD = 0.3  # how much calls may differ from their mean, so how much more to wait before coming back


@dataclass(eq=False)
class Ticket:
    """One request's place in the line; its retries keep it.

    ``deadline`` is an instant of the loop's clock: for the last byte if ``whole``, else for the first. ``guess_s`` is
    how long the call may take, before any was measured. ``arrived`` is set when it first queues; ``waited_s`` adds up.
    """

    priority: Priority
    deadline: float
    whole: bool
    guess_s: float
    weight: int = 1
    arrived: float | None = None
    waited_s: float = 0.0


@dataclass(eq=False, repr=False)
class Limiter:
    """One pool, one process, one loop.

    The mutable state is ``_line`` (who waits, best first) and ``_held`` (who is at upstream); only ``_advance`` moves
    anybody from one to the other. With ``observed`` nobody waits or is refused: it hears what would have been.
    """

    pool: str
    plan: int
    processes: int = 1
    queue_size: int = 1000
    reserved: float = 0.0
    observed: Callable[[str], None] | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        self.allowance = Allowance(self.pool, self.plan, self.processes, self.fixed)
        self._line, self._held, self._service_s = list[Lease](), set[Lease](), 0.0
        self._asked = self._in_flight = self._waited = self._shed = self._measured = 0

    def admit(self, ticket: Ticket) -> "Lease":
        """``async with`` it to hold a slot. Raises Overloaded: queue_full or deadline_unreachable."""
        self._asked += 1
        return Lease(self, ticket, self._asked)

    def reorder(self, ticket: Ticket) -> None:
        """Its terms have changed: if it waits, it moves to where it belongs now."""
        if waiter := self._waiting(ticket):
            self._line.remove(waiter)
            self._queue(waiter)

    def late(self, priority: Priority, deadline: float, whole: bool, ticket: Ticket | None = None) -> Overloaded | None:
        """The refusal somebody with these terms would get, or None.

        With a ``ticket`` he joins what it stands for: at its place while it waits, welcome once it is on its way.
        """
        if ticket is None:
            return None if self.observed else self._late(Ticket(priority, deadline, whole, GUESS_S, arrived=now()))
        joined = replace(ticket, priority=min(priority, ticket.priority), deadline=deadline, whole=whole)
        return self._late(joined, waiter.number) if (waiter := self._waiting(ticket)) else None

    def heard(self, maximum: int | None, current: int | None) -> None:
        """The headers of a good answer, told while its lease is held. None is no news."""
        self.allowance.heard(maximum, current, ours=max((lease.peak for lease in self._held), default=0))
        self._advance()

    def snapshot(self) -> dict[str, Any]:
        """Plain data. ``waited`` is how many had to queue and ``shed`` how many were refused; observing: would have."""
        return self.allowance.snapshot() | {
            "in_flight": self._in_flight,
            "queued": {each.name.lower(): sum(w.ticket.priority is each for w in self._line) for each in Priority},
            "waited": self._waited,
            "shed": self._shed,
            "service_s": self._service_s or None,
        }

    def __repr__(self) -> str:
        """``<Limiter flash 8/8 in flight, 3 waiting (interactive 1, normal 2), 12 shed>``"""
        held = f"{self._in_flight}/{self.allowance.limit} in flight"
        queued = ", ".join(f"{name} {number}" for name, number in self.snapshot()["queued"].items() if number)
        return f"<Limiter {self.pool} {held}, {len(self._line)} waiting{queued and f' ({queued})'}, {self._shed} shed>"

    def enter(self, waiter: "Lease") -> None:
        """Everybody goes through the line, so nobody passes it."""
        ticket = waiter.ticket
        ticket.arrived = now() if ticket.arrived is None else ticket.arrived
        if self.observed:
            return self._wave_through(waiter, self.observed)
        self._queue(waiter)
        if waiter.turn.done():
            return
        if late := self._late(ticket, waiter.number):
            self._line.remove(waiter)
            self._shed += 1
            raise late
        self._waited += 1
        if len(self._line) > self.queue_size:
            self._turn_away(self._line.pop())

    def _queue(self, waiter: "Lease") -> None:
        waiter.rank = _rank(waiter.ticket, waiter.number)
        insort(self._line, waiter, key=lambda other: other.rank)
        self._advance()

    def _waiting(self, ticket: Ticket) -> "Lease | None":
        return next((waiter for waiter in self._line if waiter.ticket is ticket), None)

    def _advance(self) -> None:
        """The one place where a waiter becomes a holder: the best one, as long as there is room for him."""
        while self._line:
            if best := self._next():
                self._line.remove(best)
                self.grant(best)
            elif not self.allowance.grow():
                return

    def _next(self) -> "Lease | None":
        """Nobody passes the head of the line, except an interactive call while the others hold all that they may."""
        head, waiting = self._line[0], (w for w in self._line if w.ticket.priority is Priority.INTERACTIVE)
        best = next(waiting, head) if self._over(head.ticket) else head
        return best if self._fits(best.ticket) else None

    def grant(self, waiter: "Lease") -> None:
        if waiter.turn.cancelled():  # and about to run, to find itself out of the line already
            return
        waiter.weight = waiter.weight or self._weight(waiter.ticket)  # what runs already says itself what it takes
        waiter.started, waiter.epoch, waiter.priority = now(), self.allowance.epoch, waiter.ticket.priority
        self._held.add(waiter)
        self._in_flight += waiter.weight
        for lease in self._held:
            lease.peak = max(lease.peak, self._in_flight)
        waiter.turn.set_result(None)

    def _wave_through(self, waiter: "Lease", observed: Callable[[str], None]) -> None:
        """Observing: count what enforcing would have done. The calls above the limit stand for the line."""
        if (above := self._in_flight + self._weight(waiter.ticket) - self.allowance.limit) > 0:
            late = self._late(waiter.ticket)
            observed(what := late.code if late else "queue_full" if above > self.queue_size else "queued")
            self._shed += what != "queued"
            self._waited += what == "queued"
        self.grant(waiter)

    def _turn_away(self, worst: "Lease") -> None:
        """He may come back as soon as the head of the line is let in."""
        self._shed += 1
        wait_s = self.turn_in_s((self._line or [worst])[0].ticket, 0)
        if not worst.turn.cancelled():
            worst.turn.set_result(Overloaded(FULL.format(self.pool), retry_after_s=wait_s))

    def leave(self, waiter: "Lease") -> None:
        """Done, or cancelled: what it holds, if only since this very instant, goes to the next one."""
        if waiter in self._held:
            self._held.remove(waiter)
            self._in_flight -= waiter.weight
        elif waiter in self._line:
            self._line.remove(waiter)
        self._advance()

    def end(self, lease: "Lease", well: bool) -> None:
        """Only a call that ended well tells how long they take: a refused one was short, a broken one anything."""
        if well:
            self._measured = min(self._measured + 1, MEMORY)
            self._service_s += (now() - lease.started - self._service_s) / self._measured
        self.leave(lease)

    def _kept(self) -> int:
        """Slots for interactive calls alone; ``reserved`` is their number, or below 1 a share of the limit."""
        return min(int(self.reserved * (1 if self.reserved >= 1 else self.allowance.limit)), self.allowance.limit - 1)

    def _weight(self, ticket: Ticket) -> int:
        """A call that is heavier than the pool runs alone."""
        return min(ticket.weight, self.allowance.limit - self._kept() * (ticket.priority is not Priority.INTERACTIVE))

    def _fits(self, ticket: Ticket) -> bool:
        return self._in_flight + self._weight(ticket) <= self.allowance.limit and not self._over(ticket)

    def _over(self, ticket: Ticket) -> bool:
        """Whether it would take a slot that is kept from it and its like."""
        kept = 0 if ticket.priority is Priority.INTERACTIVE else self._kept()
        held = [lease for lease in self._held if lease.priority is not Priority.INTERACTIVE] if kept else []
        return sum(lease.weight for lease in held) + self._weight(ticket) > self.allowance.limit - kept

    def _late(self, ticket: Ticket, number: float = math.inf) -> Overloaded | None:
        """The refusal if the deadline comes before its turn, or for whole audio before the call itself would end.

        Nobody who finds a slot free gets here: his call may be a quick one, and a mean measured in a bad hour must be
        able to mend. So nobody is told to come back later than when the line will have passed, either.
        """
        service_s, wait_s = self._service_s or ticket.guess_s, self.turn_in_s(ticket, number)
        if (over_s := wait_s + (service_s if ticket.whole else 0.0) - (ticket.deadline - now())) <= 0:
            return None
        again_s = min(wait_s, over_s) + SPREAD * (service_s + wait_s / math.sqrt(self._measured or 1))
        return Overloaded(LATE.format(self.pool), code="deadline_unreachable", retry_after_s=again_s)

    def turn_in_s(self, ticket: Ticket, number: float = math.inf) -> float:
        """How long until its turn, for a newcomer or from where ``number`` stands.

        That is when the whole pool has let in all ahead of it. An interactive call may come sooner: by the kept slots,
        after its like, unless one is too heavy for these. Others may come later: by what they may hold, one by one from
        when the first of them is let in.
        """
        limit, kept, urgent = self.allowance.limit, self._kept(), ticket.priority is Priority.INTERACTIVE
        place = bisect_left(self._line, _rank(ticket, number), key=lambda waiter: waiter.rank)
        line = [waiter.ticket for waiter in self._line[:place]] + [ticket]
        alike = [each for each in line if kept and (each.priority is Priority.INTERACTIVE) is urgent]
        held = sorted((w.started, w.priority is Priority.INTERACTIVE) for w in self._held for _ in range(w.weight))
        interactive, others = [at for at, mine in held if mine], [at for at, mine in held if not mine]
        wait_s = self._wait_s(line, interactive + others, limit)
        if kept and not urgent:
            first_s = self._wait_s(line[: line.index(alike[0]) + 1], interactive + others, limit)
            return max(wait_s, self._wait_s(alike, others, limit - kept, first_s))
        if kept and max(each.weight for each in alike) <= kept:
            return min(wait_s, self._wait_s(alike, interactive + others[: kept - limit], kept))
        return wait_s

    def _wait_s(self, line: list[Ticket], starts: list[float], slots: int, first_s: float = 0.0) -> float:
        """Until the last of them has its turn, none before ``first_s``.

        If all calls take ``service_s``: then a slot that was taken at ``starts`` is free again every so often.
        """
        service_s, first = self._service_s or line[-1].guess_s, now() + first_s
        ends = sorted(max(first, started + service_s) for started in starts)
        # More ends than slots: a lowered limit, and the first of them free nothing; observing, and some would wait.
        free_at = [first] * (slots - len(ends)) + (ends if self.observed else ends[-slots:])
        place = sum(min(each.weight, slots) for each in line) - 1 + (max(0, len(ends) - slots) if self.observed else 0)
        return free_at[place % slots] + place // slots * service_s - now()


class Lease:
    """One attempt's slot, from asking for it to handing it on. ``async with`` it: waits its turn, holds it, ends it.

    ``rank`` orders the line; no two have the same ``number``. ``priority`` is the ticket's when it was given, ``peak``
    the most we had in flight since.
    """

    def __init__(self, limiter: Limiter, ticket: Ticket, number: int) -> None:
        self._limiter, self.ticket, self.number, self.priority = limiter, ticket, number, ticket.priority
        self.rank, self.started, self.weight, self.epoch, self.peak = (0.0, 0.0), 0.0, 0, 0, 0
        self.turn: asyncio.Future[Overloaded | None] = asyncio.get_running_loop().create_future()

    def refused(self, limit: int | None) -> None:
        """Upstream refused the call for concurrency; ``limit`` is the number in its text."""
        self._limiter.allowance.refused(self.epoch, limit)

    async def __aenter__(self) -> "Lease":
        began = now()
        try:
            self._limiter.enter(self)
            if refusal := await self.turn:
                raise refusal
            return self
        except BaseException:
            self._limiter.leave(self)
            raise
        finally:
            self.ticket.waited_s += now() - began

    async def __aexit__(self, _type: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        self._limiter.end(self, well=error is None)


def _rank(ticket: Ticket, number: float) -> tuple[float, float]:
    return (ticket.arrived or 0.0) + GIVES_WAY_S[ticket.priority], number
