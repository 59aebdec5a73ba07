"""python -m benchmarks.planner: what `plan` predicts, and what the rendered limiter does with such a load.

In virtual time.  First the very calls of a predicted peak: each should wait as long there as here ("apart": how much
the worst one does not).  Then as many other peaks ("meas."), which should lie within the predicted interval; and one
that lasts longer than the prediction reckons with ("long").
"""

import asyncio
import importlib
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple

from generator import catalogue
from generator.copying import render
from generator.planning.load import Given, load
from generator.planning.simulate import LOST, QUEUE_SIZE, Call, serve
from generator.planning.waits import CALLS, OVERLOADED_CALLS, RUNS, Demand, summary, waits

LONG = 20_000
FORMS = ((1, "6.2f"), (1, "6.2f"), (100, "6.1f"), (100, "6.1f"))  # two in seconds, two in per cent


class Case(NamedTuple):
    """A load, and a pool of it with so many slots."""

    name: str
    given: Given
    pool: str
    slots: int


CASES = (
    Case("standard, 48 % used", Given(1e6, 2.0), "standard", 10),
    Case("standard, 80 % used", Given(1e6, 3.35), "standard", 10),
    Case("standard, 95 % used", Given(1e6, 3.98), "standard", 10),
    Case("standard, overloaded", Given(1e6, 6.0), "standard", 10),
    Case("flash, 86 % used", Given(1e6, 31.0, 1.0, max_wait=0.2), "flash", 20),
    Case("flash, a third batch", Given(1e6, 17.0, 1.0, batch_share=0.3), "flash", 10),
    Case("the same, 3 kept", Given(1e6, 17.0, 1.0, batch_share=0.3, reserved_interactive=3), "flash", 10),
    Case("stt, long files", Given(stt_hours=1800, stt_file_seconds=600, max_wait=60), "stt", 20),
)


def import_rendered(home: Path, package: str) -> Any:
    """The modules that it takes to run its limiter, by name."""
    sys.path.insert(0, str(home))
    names = ("limiter", "request", "errors", "testing.virtual_time")
    return SimpleNamespace(**{n.split(".")[-1]: importlib.import_module(f"{package}.speech.{n}") for n in names})


def rendered_waits(
    speech: Any, calls: Sequence[Call], slots: int, reserved: float = 0.0, queue_size: int = QUEUE_SIZE
) -> list[float]:
    """As ``serve``, by the rendered limiter in virtual time."""
    limiter = speech.limiter.Limiter("pool", slots, queue_size=queue_size, reserved=reserved, fixed=True)
    return list(speech.virtual_time.run(_rendered_waits(speech, calls, limiter)))


async def _rendered_waits(speech: Any, calls: Sequence[Call], limiter: Any) -> list[float]:
    now = asyncio.get_running_loop().time

    async def one(call: Call) -> float:
        began = now()
        priority, deadline = speech.request.Priority(call.priority), began + call.patience_s
        ticket = speech.limiter.Ticket(priority, deadline, whole=False, guess_s=call.guess_s, weight=call.weight)
        try:
            async with asyncio.timeout_at(deadline) as patience, limiter.admit(ticket):
                patience.reschedule(None)  # it has its slot: who speaks is heard to the end
                waited = now() - began
                await asyncio.sleep(call.service_s)
                return waited
        except (TimeoutError, speech.errors.Overloaded):
            return LOST

    async with asyncio.TaskGroup() as group:
        tasks = []
        for call in calls:
            await asyncio.sleep(call.arrival - now())
            tasks.append(group.create_task(one(call)))
    return [task.result() for task in tasks]


def demand_of(case: Case, facts: dict[str, Any]) -> Demand:
    demands = load(case.given, None, facts).demands(facts["pools"])
    return next(demand for demand in demands if demand.pool == case.pool)


def furthest_apart(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """Of any call; without bound where one is lost here and served there."""
    return max((0.0 if a == b else abs(a - b)) for a, b in zip(ours, theirs, strict=True))


def compare(speech: Any, case: Case, facts: dict[str, Any]) -> str:
    """Predicted; by the limiter in as many peaks that the prediction has not seen; and in one that lasts longer."""
    demand = demand_of(case, facts)
    predicted, same = waits(demand, case.slots), list(demand.calls(seed=0))

    def theirs(seed: int, number: int) -> tuple[float, ...]:
        calls = list(demand.calls(seed, number))
        return summary(demand, calls, rendered_waits(speech, calls, case.slots, demand.reserved))

    ours = serve(same, case.slots, demand.reserved)
    apart_s = furthest_apart(ours, rendered_waits(speech, same, case.slots, demand.reserved))
    peak = CALLS if demand.at_once < case.slots else OVERLOADED_CALLS
    others = [statistics.fmean(column) for column in zip(*(theirs(RUNS + n, peak) for n in range(RUNS)), strict=True)]
    columns = [f"{case.name:21}{case.slots:>3} {apart_s * 1e6:>6.1f}"]
    rows = list(zip(predicted, others, theirs(2 * RUNS, LONG), strict=True))[1:]  # without p50
    for (estimate, other, longer), (scale, form) in zip(rows, FORMS, strict=True):
        half = estimate.high - estimate.mean
        columns.append("".join(f"{scale * value:{form}}" for value in (estimate.mean, half, other, longer)))
    return "  ".join(columns)


def main() -> None:
    facts = catalogue.load()
    with TemporaryDirectory() as folder:
        render(Path(folder) / "project", {"package_name": "planned"}, ask=False, quiet=True)
        speech = import_rendered(Path(folder) / "project/src", "planned")
        print(f"{RUNS} peaks of {CALLS} calls ({OVERLOADED_CALLS} where overloaded), and a long one of {LONG}")
        print(f"{'':24} apart{''.join(f'  {what:24}' for what in ('p95 s', 'p99 s', 'late %', 'refused %'))}")
        print(f"{'':18}slots     us" + f"  {'  plan    ±  meas.  long':24}" * 4)
        for case in CASES:
            print(compare(speech, case, facts), flush=True)


if __name__ == "__main__":
    main()
