"""python -m benchmarks.order: the rendered policies, nested in this order and in the other, in virtual time.

A  retry inside the limiter or outside: who holds a slot while it backs off?
B  breaker outside the retry or inside: how many calls does a dead upstream get before it opens?
C  breaker above the limiter or below: how many of those who queued still reach a dead upstream after it opened?

Seeds are fixed, so the tables come out the same on any machine. They show direction and size, not your traffic.
"""

import asyncio
import importlib
import math
import random
import statistics
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from generator.copying import render

SLOTS, DEADLINE_S, SECONDS = 5, 15, 1000
Call = Callable[[], Awaitable[None]]


def load(home: Path) -> Any:
    """The rendered modules, by name."""
    render(home, {"package_name": "ordered"}, ask=False, quiet=True)
    sys.path.insert(0, str(home / "src"))
    names = ("limiter", "breaker", "retry", "faults", "errors", "request", "testing.virtual_time")
    return SimpleNamespace(**{n.split(".")[-1]: importlib.import_module(f"ordered.speech.{n}") for n in names})


def new_gate(speech: Any) -> Any:
    return speech.limiter.Limiter("flash", SLOTS, queue_size=10**6)


def new_ticket(speech: Any) -> Any:
    return speech.limiter.Ticket(speech.request.Priority.NORMAL, math.inf, whole=True, guess_s=1)


def new_breaker(speech: Any) -> Any:
    return speech.breaker.Breaker(speech.breaker.Latch())


def new_retry(speech: Any) -> Any:
    """The longest pause each time, and a budget that never ends: the order alone is on trial."""
    speech.retry.PAID_IN = 10
    return speech.retry.Retry(chance=lambda: 1.0)


@dataclass
class Upstream:
    """Speaks for a second; a share of the calls fails after 0.3 s; dead, it hangs for five."""

    speech: Any
    share: float = 0.0
    dead_from_s: float = math.inf
    chance: random.Random = field(default_factory=lambda: random.Random(3))
    calls: list[float] = field(default_factory=list)

    async def __call__(self) -> None:
        self.calls.append(_now())
        if _now() >= self.dead_from_s:
            await asyncio.sleep(5)
            raise self.speech.faults.Fault("timeout")
        if self.chance.random() < self.share:
            await asyncio.sleep(0.3)
            raise self.speech.faults.Fault("unavailable")
        await asyncio.sleep(1)


@dataclass
class Trip:
    deadline: float
    billed: bool = False


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _poisson(rate: float, seconds: float, one: Call) -> None:
    chance, tasks = random.Random(7), []
    while _now() < seconds:
        await asyncio.sleep(chance.expovariate(rate))
        tasks.append(asyncio.create_task(_run(one)))
    await asyncio.gather(*tasks)


async def _run(one: Call) -> None:
    await one()


async def slots_held(speech: Any, outside: bool, rate: float) -> tuple[int, int, float, float]:
    upstream, gate, retries = Upstream(speech, share=0.2), new_gate(speech), new_retry(speech)
    took: list[float] = []
    lost = 0

    async def one() -> None:
        nonlocal lost
        began, ticket, trip = _now(), new_ticket(speech), Trip(_now() + DEADLINE_S)
        try:
            async with asyncio.timeout_at(trip.deadline):
                if outside:
                    for attempt in retries.attempts(trip):
                        async with attempt, gate.admit(ticket):
                            await upstream()
                            break
                else:
                    async with gate.admit(ticket):
                        for attempt in retries.attempts(trip):
                            async with attempt:
                                await upstream()
                                break
            took.append(_now() - began)
        except (TimeoutError, speech.faults.Fault):
            lost += 1

    await _poisson(rate, SECONDS, one)
    return len(took), lost, statistics.median(took), statistics.quantiles(took, n=20)[-1]


async def calls_before_open(speech: Any, inside: bool) -> tuple[int, float]:
    upstream, breaker, retries = Upstream(speech, dead_from_s=0), new_breaker(speech), new_retry(speech)
    while breaker.snapshot()["state"] == "closed":
        try:
            if inside:
                for attempt in retries.attempts(Trip(math.inf)):
                    async with attempt, breaker.guard():
                        await upstream()
            else:
                async with breaker.guard():
                    for attempt in retries.attempts(Trip(math.inf)):
                        async with attempt:
                            await upstream()
        except (speech.faults.Fault, speech.errors.CircuitOpen):
            pass
    return len(upstream.calls), _now()


async def calls_after_open(speech: Any, above: bool) -> tuple[int, int]:
    upstream, breaker, gate = Upstream(speech, dead_from_s=10), new_breaker(speech), new_gate(speech)
    opened: list[float] = []

    async def one() -> None:
        admit = gate.admit(new_ticket(speech))
        outer, inner = (breaker.guard(), admit) if above else (admit, breaker.guard())
        try:
            async with outer, inner:
                await upstream()
        except (speech.faults.Fault, speech.errors.CircuitOpen):
            if breaker.snapshot()["state"] == "open" and not opened:
                opened.append(_now())

    await _poisson(4.5, 30, one)
    dead = [at for at in upstream.calls if at >= 10]
    return len(dead), sum(opened[0] < at < opened[0] + 5 for at in dead)  # then come the probes


def main() -> None:
    with TemporaryDirectory() as folder:
        speech = load(Path(folder) / "project")
        run = speech.virtual_time.run
        print(f"A  {SLOTS} slots, 1 s calls, 20 % faults after 0.3 s, {DEADLINE_S} s deadline, {SECONDS} s")
        print("   offered/s  retry             done   lost  median s   p95 s")
        for rate in (3.0, 4.0, 4.4):
            for outside in (False, True):
                done, lost, middle, late = run(slots_held(speech, outside, rate))
                where = "outside limiter" if outside else "inside limiter"
                print(f"   {rate:9.1f}  {where:15} {done:6} {lost:6}  {middle:8.2f}  {late:6.2f}")
        print("B  breaker          calls before it opens   opened after s")
        for inside in (False, True):
            calls, at = run(calls_before_open(speech, inside))
            print(f"   {'inside retry' if inside else 'outside retry':15}  {calls:21}   {at:14.0f}")
        print("C  breaker          calls to the dead upstream   of these after it opened")
        for above in (True, False):
            dead, after = run(calls_after_open(speech, above))
            print(f"   {'above limiter' if above else 'below limiter':15}  {dead:26}   {after:24}")


if __name__ == "__main__":
    main()
