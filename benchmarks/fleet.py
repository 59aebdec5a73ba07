"""python -m benchmarks.fleet redis|disk [SCENE ...]: four processes on ten slots of one plan, and what befalls them.

The judge is the sandbox, a process of its own: it counts what is in flight and refuses what is one too many.
"""

import argparse
import asyncio
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from . import contenders
from .contenders import all_at_once
from .crew import Member, add, crew, together
from .stage import Stage, stage

LIMIT, PROCESSES, CALLERS = 10, 4, 100  # the standard pool of the Pro plan
LATENCY_S = [0.15, 0.25]
LOAD: dict[str, Any] = {"callers": CALLERS, "seconds": 12, "priority": "batch", "spread_s": 0.3}


class RedisServer:
    """Of the benchmark's own: it may be killed, emptied and started again."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        server = shutil.which("redis-server") or shutil.which("valkey-server") or "redis-server"
        argv = [server, "--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", tempfile.gettempdir()]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        while not self.say("PING"):
            time.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def say(self, words: str) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as wire:
                wire.sendall(words.encode() + b"\r\n")
                return wire.recv(65536).decode()
        except OSError:
            return ""

    def asked(self) -> int:
        """How many scripts clients have sent: all they send but for what opens a connection."""
        rows = [row.split(":calls=") for row in self.say("INFO commandstats").splitlines() if ":calls=" in row]
        return sum(int(n.partition(",")[0]) for name, n in rows if name in ("cmdstat_evalsha", "cmdstat_eval"))


class Fleet:
    """A stage, its crew, and the sandbox watched 50 times a second."""

    def __init__(self, stage: Stage, members: list[Member], redis: RedisServer | None) -> None:
        self.stage, self.members, self.redis = stage, members, redis

    @contextmanager
    def watched(self) -> Iterator[list[tuple[float, int]]]:
        """(monotonic seconds, in flight), as it goes on."""
        seen, over = list[tuple[float, int]](), threading.Event()

        def watch() -> None:
            with httpx.Client(base_url=self.stage.sandbox) as http:
                while not over.wait(0.02):
                    seen.append((time.monotonic(), http.get("/__sandbox/state").json()["in_flight"]["standard"]))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield seen
        finally:
            over.set()
            thread.join()

    def under_load(self, *acts: tuple[float, Callable[[], Any]], **wish: Any) -> tuple[dict[str, Any], list[float]]:
        """All members speak for a while; meanwhile each act at its second. The sums, and in flight by half seconds."""
        self.stage.set(reset=True)
        with self.watched() as seen:
            began = time.monotonic()
            for member in self.members:
                member.tell(**LOAD | wish)
            for second, act in acts:
                time.sleep(max(0.0, began + second - time.monotonic()))
                act()
            told = add(member.report() for member in self.members)
        spans: dict[int, list[int]] = {}
        for at, in_flight in seen:
            spans.setdefault(int(2 * (at - began)), []).append(in_flight)
        return told, [round(statistics.mean(spans.get(n, [0])), 1) for n in range(int(2 * LOAD["seconds"]))]


# ---------------------------------------------------------------------------------------------------------- the scenes


def burst(fleet: Fleet) -> Iterator[str]:
    """4 processes x 100 callers at once, against one exact semaphore in one process, in turns."""
    ratios = []
    for _ in range(3):
        fleet.stage.set(reset=True)
        alone = asyncio.run(all_at_once(contenders.exact(fleet.stage.sandbox, LIMIT), _texts()))
        fleet.stage.set(reset=True)
        before = fleet.redis.asked() if fleet.redis else 0
        told = together(fleet.members, callers=CALLERS, calls=1)
        state, ours = fleet.stage.state(), told["times"]
        rates = [(len(times) - 1) / (max(times) - min(times)) for times in (ours, alone)]
        ratios.append(rates[0] / rates[1])
        yield (
            f"{told['outcomes']}, peak {state['peak']['standard']}, refused {state['refused']}, "
            f"goodput {ratios[-1]:.3f} of the semaphore's"
        )
        if fleet.redis:
            yield f"Redis commands a request: {(fleet.redis.asked() - before) / sum(told['outcomes'].values()):.2f}"
    yield f"median goodput {statistics.median(ratios):.3f}"


def urgent(fleet: Fleet) -> Iterator[str]:
    """While 400 batch callers wait in all processes, 20 interactive calls one after the other in one of them."""
    fleet.stage.set(reset=True)
    with crew(fleet.stage, 1) as (polite,):
        together([polite], callers=1, calls=1)  # it has loaded the SDK
        for member in fleet.members:
            member.tell(**LOAD)
        time.sleep(3)
        polite.tell(callers=1, calls=20, priority="interactive")
        took = sorted(polite.report()["took"])
    add(member.report() for member in fleet.members)
    yield f"took {took[0]:.3f} to {took[-1]:.3f} s, median {statistics.median(took):.3f}, of 0.15 to 0.25 s each"


def killed(fleet: Fleet) -> Iterator[str]:
    """kill -9 of one of the four at second 4."""
    victim = fleet.members[-1]
    told, level = fleet.under_load((4, lambda: victim.kill(signal.SIGKILL)))
    yield from _said(fleet, told, level)
    fleet.members[-1] = Member(fleet.stage)
    together(fleet.members[-1:], callers=1, calls=1)  # it has loaded the SDK


def paused(fleet: Fleet) -> Iterator[str]:
    """One of the four is stopped at second 2 and goes on at second 12."""
    victim = fleet.members[-1]
    stop, go = (lambda: victim.kill(signal.SIGSTOP)), (lambda: victim.kill(signal.SIGCONT))
    told, level = fleet.under_load((2, stop), (12, go), seconds=15)
    yield from _said(fleet, told, level)


def restarted(fleet: Fleet) -> Iterator[str]:
    """Redis is killed at second 3 and started again, empty, 0.3 s later."""
    assert fleet.redis
    told, level = fleet.under_load((3, fleet.redis.kill), (3.3, fleet.redis.start))
    yield from _said(fleet, told, level)


def away(fleet: Fleet) -> Iterator[str]:
    """Redis is away for five seconds from second 3 on."""
    assert fleet.redis
    told, level = fleet.under_load((3, fleet.redis.kill), (8, fleet.redis.start))
    yield from _said(fleet, told, level)


def flushed(fleet: Fleet) -> Iterator[str]:
    """FLUSHALL at second 4."""
    redis = fleet.redis
    assert redis
    told, level = fleet.under_load((4, lambda: redis.say("FLUSHALL")))
    yield from _said(fleet, told, level)


def limits(fleet: Fleet) -> Iterator[str]:
    """The account allows 10, from second 4 on 6, from second 8 on 14."""

    def set_to(limit: int) -> None:
        peaks.append(fleet.stage.state()["peak"]["standard"])
        fleet.stage.set(limits={"standard": limit})

    peaks: list[int] = []
    told, level = fleet.under_load((4, lambda: set_to(6)), (8, lambda: set_to(14)))
    yield from _said(fleet, told, level)
    fleet.stage.set(limits={"standard": LIMIT})
    together(fleet.members, callers=5, calls=10)


def equal(fleet: Fleet) -> Iterator[str]:
    """100 requests for one text, 25 in each process."""
    fleet.stage.set(reset=True)
    text = f"The same words for everybody, at {time.time()}."
    told = together(fleet.members, callers=25, calls=1, text=text)
    state = fleet.stage.state()
    yield f"{told['outcomes']}, {told['caches']}, upstream calls {state['calls']}, credits {told['credits']:g}"
    yield f"bill {state['bill_credits']} credits for {len(text)} characters"


def budget(fleet: Fleet) -> Iterator[str]:
    """400 calls by a caller whose daily budget pays for 100, over four processes."""
    fleet.stage.set(reset=True)
    told = together(fleet.members, callers=CALLERS, calls=1, caller="poor")
    state = fleet.stage.state()
    yield f"{told['outcomes']}, spent {told['cost_usd']:.6f} of {BUDGET_USD} USD, bill {state['bill_usd']:.6f} USD"


def _said(fleet: Fleet, told: dict[str, Any], level: list[float]) -> Iterator[str]:
    state = fleet.stage.state()
    yield f"{told['outcomes']}, peak {state['peak']['standard']}, refused {state['refused']}"
    yield f"in flight by half seconds: {' '.join(f'{value:g}' for value in level)}"


def _texts() -> list[str]:
    return [f"Semaphore {time.time_ns()} says {n:06d}." for n in range(PROCESSES * CALLERS)]


BUDGET_USD = 0.25
SCENES: list[Callable[[Fleet], Iterator[str]]] = [
    burst, urgent, equal, budget, limits, killed, paused, flushed, restarted, away,
]  # fmt: skip
NEED_REDIS = (flushed, restarted, away)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("backend", choices=["redis", "disk"])
    parser.add_argument("scene", nargs="*", help=f"default: all; {', '.join(scene.__name__ for scene in SCENES)}")
    options = parser.parse_args()
    redis = RedisServer() if options.backend == "redis" else None
    more = {"SPEECH_CALLERS": f'{{"poor": {{"daily_usd": {BUDGET_USD}}}}}', "REDIS_URL": redis.url if redis else ""}
    try:
        with stage("pro", serve=False, more=more, cache_backend=options.backend) as here, crew(here, PROCESSES) as all_:
            here.set(latency_s=LATENCY_S)
            fleet = Fleet(here, all_, redis)
            together(all_, callers=1, calls=1)  # everybody has loaded the SDK
            for scene in SCENES:
                wanted = scene.__name__ in options.scene or not options.scene
                if wanted and (redis or scene not in NEED_REDIS):
                    print(f"\n{scene.__name__}: {scene.__doc__}", flush=True)
                    for line in scene(fleet):
                        print(f"  {line}", flush=True)
    finally:
        if redis:
            redis.kill()


if __name__ == "__main__":
    main()
