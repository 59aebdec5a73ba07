"""The order: one process of the host has the limiter, and serves it to all.

It holds no truth. A turn only means "lock these slots now", and the kernel says who has them: so a broker may be wrong,
late or dead, and only the order suffers, never the count. Slots that are locked by somebody it does not know of
(strays) count as calls until they are free.
"""

import asyncio
import itertools
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..clock import now
from ..errors import Overloaded
from ..limiter import GUESS_S, Lease, Limiter, Ticket
from ..request import Priority
from .disk_allowance import SharedAllowance
from .disk_locks import Locks
from .disk_wire import Wire, listen

UNTAKEN_S = 0.1  # a turn not taken by then is void: who was given it sleeps
GATHER_S = 0.05  # after another broker's death, for all to say what they hold and want
LOOK_S = 0.03  # how often a stray is looked after
TELL_S = 0.1  # how old may be what a process knows of the line


def slot(number: int) -> str:
    """The name of its lock."""
    return f"slot.{number}"


@dataclass(eq=False)
class Client:
    """One process's limiter, as the broker sees it. ``leases`` are those that wait or run, by its number for them."""

    say: Callable[..., None]
    leases: dict[int, Lease] = field(default_factory=dict)
    asleep: bool = False  # then nothing of it waits in the line
    told_at: float = float("-inf")


class Broker:
    """``_slots`` are the files of each lease whose turn came: promised, then locked by its process.

    After another one (``gather``) a lease of nobody's fills the pool until all had the time to come here and speak.
    """

    def __init__(self, host: Limiter, locks: Locks, path: Path, *, gather: bool) -> None:
        self._host, self._locks, self._loop = host, locks, asyncio.get_running_loop()
        host.allowance = self._allowance = SharedAllowance(host.pool, host.plan, host.fixed)
        self._slots: dict[Lease, list[int]] = {}
        self._strays: dict[int, Lease] = {}
        self._wires: dict[Client, Wire | None] = {}  # None to our own process
        self._learned_at = float("-inf")
        self._words: dict[str, Callable[..., None]] = {
            "want": self._want, "terms": self._terms, "busy": self._busy, "leave": self._leave, "free": self._free,
            "hold": self._hold, "heard": self._heard, "refused": self._refused, "learned": self._learned,
            "ping": self._tell,
        }  # fmt: skip
        self._listener = listen(path)
        self._loop.add_reader(self._listener, self._accept)
        self._gathering = self._loop.call_later(GATHER_S, self._begin, self._fill()) if gather else None

    @property
    def sockets(self) -> list[socket.socket]:
        return [self._listener, *(wire.socket for wire in self._wires.values() if wire)]

    @property
    def alone(self) -> bool:
        """Whether no other process is served."""
        return not any(self._wires.values())

    def join(self, say: Callable[..., None], wire: Wire | None = None) -> Client:
        """A process that speaks with us from now on; ``say`` tells it something."""
        client = Client(say)
        self._wires[client] = wire
        return client

    def hear(self, client: Client, word: str, *what: object) -> None:
        """What a process says. One that slept is awake, and waits again where it stood."""
        self._words[word](client, *what)
        if client.asleep:
            self._wake(client)

    def close(self) -> None:
        """The others see their sockets close, and one of them takes over."""
        if self._gathering:
            self._gathering.cancel()
        self._loop.remove_reader(self._listener)
        for wire in filter(None, self._wires.values()):
            wire.close()
        self._listener.close()
        self._locks.close()
        self._slots.clear()
        self._strays.clear()

    def _accept(self) -> None:
        try:
            wire = Wire(self._listener.accept()[0])
        except OSError:  # gone again
            return
        client = self.join(wire.say, wire)
        wire.attend(partial(self.hear, client), partial(self._lose, client))

    def _lose(self, client: Client) -> None:
        """It died, or closed: its slots are free, and nobody waits there any more."""
        del self._wires[client]
        for number in list(client.leases):
            self._leave(client, number)

    def _fill(self) -> Lease:
        filling = self._host.admit(Ticket(Priority.BATCH, float("inf"), True, GUESS_S))
        filling.weight = 4 * self._host.plan  # the most that the limit may be
        self._host.grant(filling)
        filling.started = float("-inf")  # so that it makes nobody late
        return filling

    def _begin(self, filling: Lease) -> None:
        """All have spoken; whatever else is locked belongs to somebody who sleeps."""
        self._gathering = None
        files = {int(file.suffix[1:]) for file in self._locks.folder.glob("slot.*")}
        for number in files - self._used():
            if self._locks.busy(slot(number)):
                self._stray(number)
        for lease in self._slots:
            lease.peak = len(self._used())  # without what filled the pool
        self._host.leave(filling)

    # --------------------------------------------------------------------------------------- what processes say

    def _want(
        self, client: Client, number: int, priority: int, deadline: float, whole: bool, guess_s: float, weight: int,
        arrived: float,
    ) -> None:  # fmt: skip
        self._queue(client, number, Ticket(Priority(priority), deadline, whole, guess_s, weight, arrived))

    def _terms(self, client: Client, number: int, priority: int, deadline: float, whole: bool) -> None:
        if lease := client.leases.get(number):
            ticket = lease.ticket
            ticket.priority, ticket.deadline, ticket.whole = Priority(priority), deadline, whole
            self._host.reorder(ticket)

    def _busy(self, client: Client, number: int, numbers: list[int]) -> None:
        """It found ``numbers`` locked, or its turn came too late: it stands where it stood."""
        lease = client.leases.get(number)
        if lease in self._slots:
            for each in numbers:
                self._stray(each)
            self._let_go(lease)
            self._queue(client, number, lease.ticket)

    def _leave(self, client: Client, number: int) -> None:
        if lease := client.leases.pop(number, None):
            self._let_go(lease)

    def _free(self, client: Client, number: int, well: bool) -> None:
        lease = client.leases.pop(number, None)
        if lease in self._slots:
            del self._slots[lease]
            self._host.end(lease, well)
        elif lease:
            self._host.leave(lease)

    def _hold(self, client: Client, number: int, numbers: list[int], priority: int, started: float, epoch: int) -> None:
        """It runs already: from before we came, or because we did not answer and it helped itself."""
        self._leave(client, number)
        ticket = Ticket(Priority(priority), float("inf"), True, GUESS_S, len(numbers), started)
        lease = client.leases[number] = self._host.admit(ticket)
        lease.weight = len(numbers)
        self._host.grant(lease)
        lease.started, lease.epoch = started, epoch
        self._slots[lease] = numbers
        for each in numbers:
            self._found(each)

    def _heard(self, _client: Client, maximum: int | None, current: int | None) -> None:
        before = self._allowance.state
        self._host.heard(maximum, current)
        self._tell_all(before)

    def _refused(self, _client: Client, epoch: int, said: int | None) -> None:
        before = self._allowance.state
        self._allowance.refused(epoch, said)
        self._tell_all(before)

    def _learned(self, _client: Client, at: float, state: list[int]) -> None:
        """What the last broker told: who was told last knows best."""
        if self._gathering and at > self._learned_at:
            self._learned_at = at
            self._allowance.resume(state)

    # ------------------------------------------------------------------------------------------------ whose turn

    def _queue(self, client: Client, number: int, ticket: Ticket) -> None:
        lease = client.leases[number] = self._host.admit(ticket)
        try:
            self._host.enter(lease)
        except Overloaded as refusal:
            self._shed(client, number, refusal)
            return
        if lease.turn.done():
            self._turn(client, number, lease, queued=False)
        else:
            lease.turn.add_done_callback(lambda _: self._turn(client, number, lease, queued=True))

    def _turn(self, client: Client, number: int, lease: Lease, *, queued: bool) -> None:
        if client.asleep or client.leases.get(number) is not lease:
            return
        if refusal := lease.turn.result():
            self._shed(client, number, refusal)
            return
        free = sorted(set(range(self._allowance.limit)) - self._used())
        if len(free) < lease.weight:  # since it was given, more came to light that runs
            self._let_go(lease)
            self._queue(client, number, lease.ticket)
            return
        numbers = self._slots[lease] = free[: lease.weight]
        self._loop.call_later(UNTAKEN_S, self._check, client, lease)
        self._say(client, "turn", number, numbers, lease.epoch, now(), queued)

    def _shed(self, client: Client, number: int, refusal: Overloaded) -> None:
        del client.leases[number]
        self._say(client, "shed", number, refusal.code, refusal.message, refusal.retry_after_s)

    def _check(self, client: Client, lease: Lease) -> None:
        """Who has not taken his turn sleeps, and nothing of him may stand in anybody's way."""
        if lease in self._slots and not any(self._locks.busy(slot(each)) for each in self._slots[lease]):
            client.asleep = True
            for each in client.leases.values():
                if each is lease or each not in self._slots:
                    self._let_go(each)

    def _wake(self, client: Client) -> None:
        client.asleep = False
        for number, lease in list(client.leases.items()):
            if lease not in self._slots:
                self._let_go(lease)
                self._queue(client, number, lease.ticket)

    def _let_go(self, lease: Lease) -> None:
        self._slots.pop(lease, None)
        self._host.leave(lease)

    def _used(self) -> set[int]:
        return self._strays.keys() | itertools.chain.from_iterable(self._slots.values())

    def _stray(self, number: int) -> None:
        if number not in self._strays:
            lease = self._strays[number] = self._host.admit(Ticket(Priority.BATCH, float("inf"), True, GUESS_S))
            self._host.grant(lease)
            self._loop.call_later(LOOK_S, self._look, number)

    def _look(self, number: int) -> None:
        if number in self._strays and self._locks.busy(slot(number)):
            self._loop.call_later(LOOK_S, self._look, number)
        else:
            self._found(number)

    def _found(self, number: int) -> None:
        """It is free, or we know whose it is."""
        if lease := self._strays.pop(number, None):
            self._host.leave(lease)

    # --------------------------------------------------------------------------------------------- what we tell

    def _say(self, client: Client, *words: object) -> None:
        client.say(*words)
        if now() - client.told_at >= TELL_S:
            self._tell(client)

    def _tell(self, client: Client) -> None:
        """How the pool stands, and how long a newcomer of each class would wait."""
        client.told_at = now()
        newcomers = (Ticket(each, 0.0, False, GUESS_S, arrived=now()) for each in Priority)
        waits = [self._host.turn_in_s(each) for each in newcomers]
        client.say("told", client.told_at, self._allowance.state, self._host.snapshot()["service_s"], waits)

    def _tell_all(self, before: list[int]) -> None:
        if before != self._allowance.state:
            for client in self._wires:
                self._tell(client)
