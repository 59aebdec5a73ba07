"""Slots of one pool shared by the processes of one host: no server, no daemon.

    slot.<n>      a slot is a file, and who has its lock may call: so the count is the kernel's
    broker.lock   who has it is the broker, and has the line in its memory: so the order is one process's
    broker.sock   where the others speak to it

    want ─► turn ─► lock the slots: yes ─► call ─► free           the broker is gone: all hold on to what they have, the
                                    no ──► busy, wait again       first to lock broker.lock is the next, all say again

Who hears nothing for a second though others wait helps himself to whatever is free: no order then, but never too many.
"""

import asyncio
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..clock import now
from ..errors import Overloaded
from ..limiter import Lease, Limiter, Ticket
from .disk_allowance import SharedAllowance, ToldAllowance
from .disk_broker import UNTAKEN_S, Broker, slot
from .disk_locks import Locks
from .disk_wire import Wire, connect, unlink

BROKER = "broker.lock"
SILENCE_S = 0.5  # then we ask; after as much again we help ourselves
POLL_S = 0.03
AGAIN_S = 0.002, 0.01  # where neither is a broker there nor may we be it: another is about to


@dataclass(eq=False, repr=False)
class DiskLimiter(Limiter):
    """This process's side: what waits and runs here. The limit, and whose turn it is, the broker says.

    Nothing is opened before the first ``admit``. ``root`` is the store's folder.
    """

    root: Path = field(kw_only=True)
    account: str = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.allowance: SharedAllowance = ToldAllowance(self.pool, self.plan, self.fixed, self._tell)
        self._below = f"leases/{self.account}/{self.pool}"
        self._locks = Locks(self.root, self._below)
        self._words: dict[str, Callable[..., None]] = {
            "turn": self._turn,
            "shed": self._turned_away,
            "told": self._told,
        }
        self._turns_at = [float("-inf")] * 3  # by priority: when a newcomer would be served
        self._told_at = float("-inf")
        self._reset()
        os.register_at_fork(after_in_child=self._after_fork)

    def _reset(self) -> None:
        self._wire: Wire | None = None
        self._broker: Broker | None = None
        self._say: Callable[..., None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._unheard = self._in_flight = 0
        self._line, self._held = list[Lease](), set[Lease]()
        self._taken: dict[Lease, list[int]] = {}
        self._expected: dict[Lease, float] = {}

    def enter(self, waiter: Lease) -> None:
        ticket = waiter.ticket
        ticket.arrived = now() if ticket.arrived is None else ticket.arrived
        if self._say is None and self._again is None:
            self._reach()
        self._line.append(waiter)
        self._expected[waiter] = self._turns_at[ticket.priority]
        self._want(waiter)
        if self._line and self._watching is None:
            self._unheard, self._watching = 0, self._loop.call_later(SILENCE_S, self._watch)

    def reorder(self, ticket: Ticket) -> None:
        if waiter := self._waiting(ticket):
            self._tell("terms", waiter.number, ticket.priority, ticket.deadline, ticket.whole)

    def heard(self, maximum: int | None, current: int | None) -> None:
        self._tell("heard", maximum, current)

    def leave(self, waiter: Lease) -> None:
        if waiter in self._line:
            self._out_of_line(waiter)
            self._tell("leave", waiter.number)
        else:
            self.end(waiter, well=False)

    def end(self, lease: Lease, well: bool) -> None:
        if lease in self._held:
            self._held.remove(lease)
            self._in_flight -= lease.weight
            for number in self._taken.pop(lease):
                self._locks.free(slot(number))
            self._tell("free", lease.number, well)

    def turn_in_s(self, ticket: Ticket, number: float = float("inf")) -> float:
        """As the broker last told; who waits since before that may do better."""
        waiter, turn_at = self._number(self._line, number), self._turns_at[ticket.priority]
        return max(0.0, min(turn_at, self._expected[waiter] if waiter else turn_at) - now())

    @property
    def helping(self) -> bool:
        """Whether this process has to help itself, because the broker is silent."""
        return self._unheard > 1 and bool(self._line)

    def close(self) -> None:
        """Give back what is held; where this process is the broker, hand that on."""
        for timer in filter(None, (self._again, self._watching)):
            timer.cancel()
        if self._wire:
            self._wire.close()
        if self._broker:
            self._broker.close()
            if self._broker.alone:
                self._note.write_text("")
        if self._broker or (self._wire and self._locks.take(BROKER)):
            unlink(self._path)
        self._locks.close()
        self._reset()

    def _after_fork(self) -> None:
        """In the child: what it inherited would keep its parent alive for the others. No word to the parent's loop."""
        sockets = [self._wire.socket] if self._wire else self._broker.sockets if self._broker else []
        for each in sockets:
            each.close()
        self._reset()

    # -------------------------------------------------------------------------------------------- find the broker

    @property
    def _path(self) -> Path:
        return self._locks.folder / "broker.sock"

    @property
    def _note(self) -> Path:
        """Tells who served last, if he did not leave in order: then others may hold what we don't know of."""
        return self._locks.folder / BROKER

    def _reach(self) -> None:
        """Find the broker, or be it; then say what we hold and want."""
        self._again, self._loop = None, asyncio.get_running_loop()
        try:
            if self._locks.take(BROKER):
                self._serve()
            else:
                self._connect()
        except (ConnectionError, FileNotFoundError, BlockingIOError):
            self._again = self._loop.call_later(random.uniform(*AGAIN_S), self._reach)
            return
        self._tell("learned", self._told_at, self.allowance.state)
        for lease in self._held:
            self._hold(lease)
        for waiter in list(self._line):  # some may be served at once
            self._want(waiter)

    def _serve(self) -> None:
        gather = bool(self._note.read_text())
        self._note.write_text(str(os.getpid()))
        host = Limiter(self.pool, self.plan, queue_size=self.queue_size, reserved=self.reserved, fixed=self.fixed)
        try:
            self._broker = Broker(host, Locks(self.root, self._below), self._path, gather=gather)
        except OSError:
            self._locks.free(BROKER)
            raise
        self._say = partial(self._broker.hear, self._broker.join(self._hear))

    def _connect(self) -> None:
        self._wire = Wire(connect(self._path))
        self._wire.attend(self._hear, self._lost)
        self._say = self._wire.say

    def _lost(self) -> None:
        self._wire = self._say = None
        if self._line or self._held:
            self._reach()

    def _watch(self) -> None:
        """While anybody waits: is the broker there?"""
        self._watching, self._unheard = None, self._unheard + 1
        if not self._line or self._broker:
            return
        if helping := self._unheard > 1:
            self._help_ourselves()
        else:
            self._tell("ping")
        self._watching = self._loop.call_later(POLL_S if helping else SILENCE_S, self._watch)

    def _help_ourselves(self) -> None:
        waiting = [waiter for waiter in self._line if not waiter.turn.done()]
        for waiter in sorted(waiting, key=lambda waiter: (waiter.ticket.priority, waiter.number)):
            if not (numbers := self._grab(min(waiter.ticket.weight, self.allowance.limit))):
                return
            self._start(waiter, numbers, self.allowance.epoch)
            self._hold(waiter)

    def _grab(self, weight: int) -> list[int]:
        """So many slots, or none."""
        numbers: list[int] = []
        for number in range(self.allowance.limit):
            if len(numbers) < weight and self._locks.take(slot(number)):
                numbers.append(number)
        if len(numbers) == weight:
            return numbers
        for number in numbers:
            self._locks.free(slot(number))
        return []

    # ------------------------------------------------------------------------------------------- what it tells us

    def _hear(self, word: str, *what: Any) -> None:
        self._unheard = 0
        self._words[word](*what)

    def _turn(self, number: int, numbers: list[int], epoch: int, at: float, queued: bool) -> None:
        waiter = self._number(self._line, number)
        if waiter is None:
            if holder := self._number(self._held, number):  # it helped itself
                self._hold(holder)
            return
        if waiter.turn.done():
            return  # it leaves, and says so
        if now() - at > UNTAKEN_S:
            return self._tell("busy", number, [])  # we slept: it is another's by now
        taken = [each for each in numbers if self._locks.take(slot(each))]
        if len(taken) < len(numbers):
            for each in taken:
                self._locks.free(slot(each))
            return self._tell("busy", number, [each for each in numbers if each not in taken])
        self._waited += queued
        self._start(waiter, numbers, epoch)

    def _turned_away(self, number: int, code: str, message: str, retry_after_s: float) -> None:
        self._shed += 1
        if waiter := self._number(self._line, number):
            self._out_of_line(waiter)
            if not waiter.turn.done():
                waiter.turn.set_result(Overloaded(message, code=code, retry_after_s=retry_after_s))

    def _told(self, at: float, state: list[int], service_s: float | None, waits: list[float]) -> None:
        self._told_at, self._service_s = at, service_s or 0.0
        self.allowance.resume(state)
        self._turns_at = [at + wait_s for wait_s in waits]

    def _start(self, waiter: Lease, numbers: list[int], epoch: int) -> None:
        self._out_of_line(waiter)
        waiter.weight, waiter.started, waiter.epoch = len(numbers), now(), epoch
        self._taken[waiter] = numbers
        self._held.add(waiter)
        self._in_flight += waiter.weight
        waiter.turn.set_result(None)

    def _number(self, leases: Iterable[Lease], number: float) -> Lease | None:
        return next((lease for lease in leases if lease.number == number), None)

    def _out_of_line(self, waiter: Lease) -> None:
        self._line.remove(waiter)
        del self._expected[waiter]

    # ------------------------------------------------------------------------------------------------ what we say

    def _tell(self, *words: object) -> None:
        """Where nobody is there to hear it, what matters is said again to the next one."""
        if self._say:
            self._say(*words)

    def _want(self, waiter: Lease) -> None:
        ticket = waiter.ticket
        terms = ticket.priority, ticket.deadline, ticket.whole, ticket.guess_s, ticket.weight, ticket.arrived
        self._tell("want", waiter.number, *terms)

    def _hold(self, lease: Lease) -> None:
        self._tell("hold", lease.number, self._taken[lease], lease.ticket.priority, lease.started, lease.epoch)
