"""How long calls of a pool wait at the peak: many runs of the queue, each of other calls, and what they agree on."""

import math
import random
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from .queueing import little, slots_for
from .simulate import BATCH, LOST, NORMAL, Call, kept, most_at_once, serve

RUNS, CALLS = 10, 3000
OVERLOADED_CALLS = 1000  # by then a line that only grows has shown what it does
WARM_UP = 0.1  # of a run: it starts with an empty line, and isn't counted
STUDENT_T = 2.262  # 95 % of both sides, RUNS - 1 degrees of freedom
LATE = 0.01  # one call in a hundred may wait longer than is acceptable
DEADLINE_S, BATCH_DEADLINE_S, DEADLINE_S_MAX = 30.0, 300.0, 600.0  # of the rendered service


@dataclass(frozen=True, slots=True)
class CallTime:
    """A call holds its slot for ``base_s`` + ``each_s`` x its length; lengths are exponential around ``mean_length``.

    A length is characters, or seconds of a recording.  One of more than ``segment`` takes up to ``max_weight`` slots.
    """

    base_s: float
    each_s: float
    mean_length: float
    segment: float = math.inf
    max_weight: int = 1

    @property
    def mean_s(self) -> float:
        return self.base_s + self.each_s * self.mean_length

    @property
    def slot_s(self) -> float:
        """Seconds times slots, on average: a call weighs one more for each segment that it reaches beyond."""
        beyond = [n * self.segment for n in range(1, self.max_weight)]
        more = (math.exp(-b / self.mean_length) * (self.mean_s + self.each_s * b) for b in beyond)
        return self.mean_s + sum(more)

    def lasting(self, mean_s: float) -> "CallTime":
        """The same lengths, at another speed."""
        scale = mean_s / self.mean_s
        return replace(self, base_s=self.base_s * scale, each_s=self.each_s * scale)

    def weight(self, length: float) -> int:
        return min(self.max_weight, max(1, math.ceil(length / self.segment)))


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pool is asked for at the peak: calls a second, of what priority, and how long each may wait."""

    pool: str
    rate: float
    time: CallTime
    priority: int = NORMAL
    batch_share: float = 0.0
    reserved: float = 0.0
    max_wait_s: float = 0.0

    @property
    def at_once(self) -> float:
        """Slots taken on average, by Little's law."""
        return little(self.rate, self.time.slot_s)

    @property
    def slots_needed(self) -> int:
        """By Erlang C, for the wait that is acceptable."""
        return slots_for(self.at_once, self.time.mean_s, self.max_wait_s, LATE)

    def patience_s(self, priority: int) -> float:
        """The service's default deadline, or twice the acceptable wait where that is more."""
        default_s = BATCH_DEADLINE_S if priority == BATCH else DEADLINE_S
        return min(DEADLINE_S_MAX, max(default_s, 2 * self.max_wait_s))

    def calls(self, seed: int, number: int = CALLS) -> Iterator[Call]:
        """A peak that lasts for *number* calls, which come independently of each other (Poisson)."""
        chance, instant = random.Random(f"{self.pool} {seed}"), 0.0
        time, guess_s = self.time, self.time.mean_s
        patience_s = {priority: self.patience_s(priority) for priority in (self.priority, BATCH)}
        for _ in range(number):
            instant += chance.expovariate(self.rate)
            length = chance.expovariate(1 / time.mean_length)
            priority = BATCH if self.batch_share and chance.random() < self.batch_share else self.priority
            weight = time.weight(length) if time.max_weight > 1 else 1
            yield Call(instant, time.base_s + time.each_s * length, patience_s[priority], priority, weight, guess_s)


class Estimate(NamedTuple):
    """The mean of all runs, and between what it lies with 95 % confidence."""

    mean: float
    low: float
    high: float


class Waits(NamedTuple):
    """Seconds that those wait who were served and aren't batch, and shares: too late for the load, never served."""

    p50: Estimate
    p95: Estimate
    p99: Estimate
    late: Estimate
    lost: Estimate


@cache
def waits(demand: Demand, slots: int) -> Waits:
    """Of *demand* on that many slots."""
    if not demand.rate or slots - kept(slots, demand.reserved) >= _most_at_once(demand):
        return Waits(*[Estimate(0.0, 0.0, 0.0)] * 5)
    calls = CALLS if demand.at_once < slots else OVERLOADED_CALLS
    runs = (_run(demand, peak[:calls], slots) for peak in _peaks(demand))
    return Waits(*(estimate(column) for column in zip(*runs, strict=True)))


@cache
def _most_at_once(demand: Demand) -> int:
    """Slots with which nobody would ever wait: then there is nothing to simulate."""
    return max(map(most_at_once, _peaks(demand)))


@cache
def _peaks(demand: Demand) -> list[list[Call]]:
    """The same calls for every plan, so that plans differ by their slots alone."""
    return [list(demand.calls(seed)) for seed in range(RUNS)]


def _run(demand: Demand, calls: Sequence[Call], slots: int) -> tuple[float, ...]:
    return summary(demand, calls, serve(calls, slots, demand.reserved))


def summary(demand: Demand, calls: Sequence[Call], waited: Sequence[float]) -> tuple[float, ...]:
    """Of one run, in the order of ``Waits``."""
    counted = list(zip(calls, waited, strict=True))[int(WARM_UP * len(calls)) :]
    batch = [wait for call, wait in counted if call.priority == BATCH]
    others = [wait for call, wait in counted if call.priority != BATCH] or batch
    served = sorted(wait for wait in others if wait != LOST)
    late = max(_share(w > demand.max_wait_s for w in others), _share(w == LOST for w in batch))
    return *(percentile(served, p) for p in (0.5, 0.95, 0.99)), late, _share(w == LOST for _, w in counted)


def _share(found: Iterable[bool]) -> float:
    values = list(found)
    return sum(values) / len(values) if values else 0.0


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that so many are not above; 0 of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def estimate(runs: Sequence[float]) -> Estimate:
    """No wait and no share is below 0, whatever the width of the interval."""
    mean = statistics.fmean(runs)
    half = STUDENT_T * statistics.stdev(runs) / math.sqrt(len(runs))
    return Estimate(mean, max(0.0, mean - half), mean + half)
