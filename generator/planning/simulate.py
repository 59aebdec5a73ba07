"""What the rendered limiter would do with a list of calls: ``speech/limiter.py`` without coroutines, 20 times as quick.

The same discipline, held to it by a test that runs both on the same calls: rank = arrival + what the class gives way;
what is not interactive holds no kept slot; nobody passes the head of the line but an interactive call, while only that
holds the head back; who can't be served before its deadline is refused on arrival, by the mean of the last calls; who
still waits at its deadline leaves.
"""

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NamedTuple

INTERACTIVE, NORMAL, BATCH = range(3)
GIVES_WAY_S = (0.0, 60.0, 120.0)
MEMORY = 32  # calls that the mean service time looks back on
QUEUE_SIZE = 1000
PATIENCE = -1.0
LOST = math.inf  # the wait of a call that was refused, or gave up


class Call(NamedTuple):
    """One request to a pool. Instants and durations in seconds; ``patience_s`` is how long it may wait for its slot."""

    arrival: float
    service_s: float
    patience_s: float
    priority: int = NORMAL
    weight: int = 1
    guess_s: float = 1.0


class Waiter(NamedTuple):
    """In the line, best first: ordered by rank, then by number."""

    rank: float
    number: int
    call: Call


def serve(calls: Iterable[Call], slots: int, reserved: float = 0.0, queue_size: int = QUEUE_SIZE) -> list[float]:
    """How long each of the *calls*, in order of arrival, waits for its slot; LOST for who never gets one.

    ``reserved`` slots are kept for interactive calls; below 1 it is a share of all.
    """
    pool = _Pool(slots, kept(slots, reserved), queue_size)
    for number, call in enumerate(calls):
        pool.until(call.arrival)
        pool.arrive(number, call)
    pool.until(math.inf)
    return pool.waits


def most_at_once(calls: Iterable[Call]) -> int:
    """Slots that these calls take at the worst moment, if none waits."""
    most = taken = 0
    ends: list[tuple[float, int]] = []
    for call in calls:
        while ends and ends[0][0] <= call.arrival:
            taken -= heapq.heappop(ends)[1]
        heapq.heappush(ends, (call.arrival + call.service_s, call.weight))
        taken += call.weight
        most = max(most, taken)
    return most


def kept(slots: int, reserved: float) -> int:
    return min(int(reserved if reserved >= 1 else reserved * slots), slots - 1)


def rank(call: Call) -> float:
    return call.arrival + GIVES_WAY_S[call.priority]


class _Pool:
    def __init__(self, slots: int, kept: int, queue_size: int) -> None:
        self.slots, self.kept, self.common, self.queue_size = slots, kept, slots - kept, queue_size
        self.waits: list[float] = []
        self.line: list[Waiter] = []
        self.starts: list[float] = []  # when each slot that is taken was taken, oldest first
        self.urgent_starts: list[float] = []  # of them, those of interactive calls, and those of others
        self.other_starts: list[float] = []
        self.measured, self.mean_s, self.heavy = 0, 0.0, False
        self.events: list[tuple[float, int, float, Call]] = []  # who ends: a call that started then, or a PATIENCE

    def until(self, instant: float) -> None:
        events = self.events
        while events and events[0][0] <= instant:
            at, number, start, call = heapq.heappop(events)
            if start != PATIENCE:
                self.end(at, start, call)
            elif math.isnan(self.waits[number]):
                self.lose(bisect_left(self.line, (rank(call), number)))
                self.advance(at)

    def arrive(self, number: int, call: Call) -> None:
        self.waits.append(math.nan)
        if call.weight > 1:
            self.heavy = True
        if not self.line and len(self.starts) + call.weight <= self.common:  # the usual case, which may be quick
            return self.start(call.arrival, number, call)
        waiter = Waiter(rank(call), number, call)
        insort(self.line, waiter)
        self.advance(call.arrival)
        if math.isnan(self.waits[number]):
            self.queue(waiter)

    def queue(self, waiter: Waiter) -> None:
        _, number, call = waiter
        place = bisect_left(self.line, waiter)
        if self.turn_in_s(call, place) > call.patience_s:
            return self.lose(place)
        heapq.heappush(self.events, (call.arrival + call.patience_s, number, PATIENCE, call))
        if len(self.line) > self.queue_size:
            self.lose(-1)

    def lose(self, place: int) -> None:
        self.waits[self.line.pop(place).number] = LOST

    def advance(self, instant: float) -> None:
        while self.line and (place := self.next()) is not None:
            _, number, call = self.line.pop(place)
            self.start(instant, number, call)

    def start(self, instant: float, number: int, call: Call) -> None:
        self.waits[number] = instant - call.arrival
        for starts in (self.starts, self.starts_of(call)):
            starts.extend([instant] * self.weight(call))
        heapq.heappush(self.events, (instant + call.service_s, number, instant, call))

    def next(self) -> int | None:
        best = 0
        if self.over(self.line[0].call):
            best = next((place for place, w in enumerate(self.line) if w.call.priority == INTERACTIVE), 0)
        return best if self.fits(self.line[best].call) else None

    def end(self, instant: float, start: float, call: Call) -> None:
        """Only here the mean is learnt, as the limiter learns it from calls that ended well."""
        for starts in (self.starts, self.starts_of(call)):
            oldest = bisect_left(starts, start)
            del starts[oldest : oldest + self.weight(call)]
        if self.measured < MEMORY:
            self.measured += 1
        self.mean_s += (call.service_s - self.mean_s) / self.measured
        if self.line:
            self.advance(instant)

    def turn_in_s(self, call: Call, place: int) -> float:
        """In the whole pool; but an interactive call maybe sooner on kept slots, others maybe later on theirs."""
        line = self.line[: place + 1]
        wait_s = self.wait_s(call, line, self.starts, self.slots)
        if not self.kept:
            return wait_s
        alike = [w for w in line if (w.call.priority == INTERACTIVE) is (call.priority == INTERACTIVE)]
        if call.priority != INTERACTIVE:
            first_s = self.wait_s(call, line[: line.index(alike[0]) + 1], self.starts, self.slots)
            return max(wait_s, self.wait_s(call, alike, self.other_starts, self.common, first_s))
        if max(w.call.weight for w in alike) <= self.kept:
            return min(wait_s, self.wait_s(call, alike, self.urgent_starts, self.kept))
        return wait_s

    def wait_s(self, call: Call, line: list[Waiter], starts: list[float], slots: int, first_s: float = 0.0) -> float:
        """If all calls take as long as the last ones did on average, then each slot is free again every so often."""
        service_s = self.mean_s or line[-1].call.guess_s
        weight = sum(min(w.call.weight, slots) for w in line) if self.heavy else len(line)
        rounds, slot = divmod(weight - 1, slots)
        idle, above = max(0, slots - len(starts)), max(0, len(starts) - slots)
        free_in_s = 0.0 if slot < idle else starts[above + slot - idle] + service_s - call.arrival
        return max(first_s, free_in_s) + rounds * service_s

    def open_to(self, call: Call) -> int:
        return self.slots if call.priority == INTERACTIVE else self.common

    def weight(self, call: Call) -> int:
        """A call that is heavier than the pool runs alone."""
        return 1 if call.weight == 1 else min(call.weight, self.open_to(call))

    def fits(self, call: Call) -> bool:
        return len(self.starts) + self.weight(call) <= self.slots and not self.over(call)

    def over(self, call: Call) -> bool:
        """Whether it would take a slot that is kept from it."""
        return len(self.other_starts) + self.weight(call) > self.open_to(call) < self.slots

    def starts_of(self, call: Call) -> list[float]:
        return self.urgent_starts if call.priority == INTERACTIVE else self.other_starts
