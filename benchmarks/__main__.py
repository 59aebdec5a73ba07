"""python -m benchmarks [--rounds N]: everybody in one run, turn by turn, against one sandbox; ratios, not seconds.

The machine is shared and the clock noisy, so each round runs every contender once, and a figure is the median over
rounds of its ratio to the exact semaphore (or the raw SDK) of the same round.
"""

import argparse
import asyncio
import math
import statistics
from collections.abc import Callable, Sequence
from itertools import count

from . import callcost, contenders
from .contenders import Speak, all_at_once
from .stage import Stage, stage

LIMIT = 10  # the standard pool of the Pro plan
LATENCY_S = [0.15, 0.25]
FAULTS = [{"fault": "503", "share": 0.05}, {"fault": "429;kind=busy", "share": 0.05}, {"fault": "500", "share": 0.02}]
_number = count()

Cast = dict[str, Callable[[], Speak]]
Row = dict[str, float]


def texts(n: int) -> list[str]:
    """Never spoken before, all of one length: no cache helps, every call costs the same."""
    return [f"Benchmark sentence number {next(_number):08d}." for _ in range(n)]


def bursts(stage: Stage, cast: Cast, rounds: int) -> None:
    print(
        f"\nBursts on {LIMIT} slots, {LATENCY_S[0]} to {LATENCY_S[1]} s a call; goodput as a share of the semaphore's"
    )
    print(f"{'load':>5} {'faults':>6}  {'contender':28} {'spoken':>11}  429s  peak  credits  goodput  whole run")
    for load, faults in ((1, []), (2, []), (20, []), (20, FAULTS)):
        table: dict[str, list[Row]] = {name: [] for name in cast}
        for seed in range(rounds):
            for name, make in cast.items():
                stage.set(reset=True, latency_s=LATENCY_S, faults=faults, seed=seed)
                table[name].append(asyncio.run(burst(stage, make, load * LIMIT)))
        for name, rows in table.items():
            print(line(load, bool(faults), name, rows, table["SDK + exact semaphore"]), flush=True)
    stage.set(reset=True, latency_s=0, faults=[])


async def burst(stage: Stage, make: Callable[[], Speak], n: int) -> Row:
    """Goodput is answers a second from the first answer on: before it, the load generator opens its connections."""
    came = await all_at_once(make(), texts(n)) or [math.inf]
    state, steady = stage.state(), len(came) - 1
    return {
        "asked": n,
        "whole": sum(map(math.isfinite, came)),
        "refused": state["refused"],
        "peak": state["peak"]["standard"],
        "credits": state["bill_credits"],
        "whole_run": len(came) / came[-1],
        "goodput": steady / (came[-1] - came[0]) if steady else 0.0,
    }


def line(load: int, faults: bool, name: str, rows: Sequence[Row], exact: Sequence[Row]) -> str:
    middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    pairs = list(zip(rows, exact, strict=True))
    steady, whole = (statistics.median(row[k] / peer[k] for row, peer in pairs) for k in ("goodput", "whole_run"))
    return (
        f"{load:>4}x {'yes' if faults else 'no':>6}  {name:28} {middle['whole']:>5.0f}/{middle['asked']:<5.0f}"
        f" {middle['refused']:>5.0f} {middle['peak']:>5.0f} {middle['credits']:>8.0f} {steady:>8.3f} {whole:>10.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with stage("pro") as here:
        cast: Cast = {
            "SDK + exact semaphore": lambda: contenders.exact(here.sandbox, LIMIT),
            "SDK alone": lambda: contenders.raw(here.sandbox),
            "SDK + semaphore + tenacity": lambda: contenders.handmade(here.sandbox, LIMIT),
            "SpeechClient": lambda: contenders.ours(here.client()),
            "SDK through the service": lambda: contenders.raw(here.service),
        }
        bursts(here, cast, rounds)
        callcost.measure(here, rounds)


if __name__ == "__main__":
    main()
