"""python -m benchmarks.callcost [memory|disk|redis] [--rounds N]: what one call costs in CPU, beside the raw SDK's.

One caller, one call after the other, the sandbox in a process of its own. Whoever is compared takes turns of 50 calls
in the same loop, and a figure is the median over turns of its ratio to the raw SDK's turn beside it: the clock of a
shared machine moves more within a minute than what is measured here. TMPDIR is where the disk store is.
"""

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from itertools import count

from . import contenders
from .fleet import RedisServer
from .stage import Stage, stage

CALLS = 50  # in a turn
TURNS = 12  # in a round
HITS = 500
_number = count()

Turn = Callable[[], Awaitable[float]]


def measure(stage: Stage, rounds: int, redis: RedisServer | None = None) -> None:
    stage.set(reset=True, latency_s=0, faults=[])
    turns: dict[str, list[float]] = {}
    for _ in range(rounds):
        asyncio.run(one_round(stage, turns, redis))
    raw = turns.pop("raw SDK")
    print(f"\nCPU a call, as a share of the raw SDK's ({statistics.median(raw) * 1e6:.0f} us here)")
    for name, ours in turns.items():
        ratios = sorted(one / peer for one, peer in zip(ours, raw, strict=True))
        middle, most = statistics.median(ratios), len(ratios) // 10
        cheaper = f"   {1 / middle:.0f} x cheaper" if middle < 1 else ""
        print(f"  {name:28} {middle:8.4f}   {ratios[most]:.4f} to {ratios[-1 - most]:.4f}{cheaper}")


async def one_round(stage: Stage, turns: dict[str, list[float]], redis: RedisServer | None) -> None:
    async with stage.client() as client:
        raw, ours, known = contenders.raw(stage.sandbox), contenders.ours(client), text()

        async def fresh(speak: contenders.Speak) -> float:
            return await cpu(speak, [text() for _ in range(CALLS)])

        cast: dict[str, Turn] = {
            "raw SDK": lambda: fresh(raw),
            "SpeechClient, uncached": lambda: fresh(ours),
            "SpeechClient, cache hit": lambda: cpu(ours, [known] * HITS),
        }
        for turn in range(TURNS + 1):
            for name, take in cast.items():
                took = await take()
                if turn:  # the first one opens connections
                    turns.setdefault(name, []).append(took)
        if redis:
            before = redis.asked()
            await fresh(ours)
            print(f"Redis commands an uncached call: {(redis.asked() - before) / CALLS:.2f}")


async def cpu(speak: contenders.Speak, texts: list[str]) -> float:
    """Seconds a call, of all threads of this process."""
    gc.collect()
    began = time.process_time()
    for each in texts:
        await speak(each)
    return (time.process_time() - began) / len(texts)


def text() -> str:
    """Never spoken before, all of one length: no cache helps, every call costs the same."""
    return f"What does this call cost, {next(_number):08d}?"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.callcost", description=__doc__)
    parser.add_argument("backend", nargs="?", choices=("memory", "disk", "redis"), default="memory")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with ExitStack() as stack:
        redis = RedisServer() if given.backend == "redis" else None
        if redis:
            stack.callback(redis.kill)
        more = {"REDIS_URL": redis.url} if redis else {}
        here = stack.enter_context(stage("pro", serve=False, more=more, cache_backend=given.backend))
        measure(here, given.rounds, redis)


if __name__ == "__main__":
    main()
