"""A crew: processes that each run the rendered SpeechClient, told over standard input what to speak.

As a program (``python -m benchmarks.crew``) it is one of them: a line of JSON in, when that is done a line out.
"""

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .stage import PACKAGE, Stage

ROOT = Path(__file__).parent.parent


class Member:
    """One process. ``times`` in what it reports are seconds of the machine's monotonic clock."""

    def __init__(self, stage: Stage) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crew"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={n: v for n, v in os.environ.items() if not n.startswith("SPEECH_")}
            | stage.environment
            | {"PYTHONPATH": os.pathsep.join((str(stage.source), str(ROOT)))},
        )

    def tell(self, **wish: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()

    def report(self) -> dict[str, Any]:
        """Empty of one that was killed."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        return dict(json.loads(line)) if line else {}

    def kill(self, sig: signal.Signals) -> None:
        self._process.send_signal(sig)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def crew(stage: Stage, size: int) -> Iterator[list[Member]]:
    members = [Member(stage) for _ in range(size)]
    try:
        yield members
    finally:
        for member in members:
            member.end()


def together(members: list[Member], **wish: Any) -> dict[str, Any]:
    """All do the same at once; their reports added up."""
    for member in members:
        member.tell(**wish)
    return add(member.report() for member in members)


def add(reports: Iterator[dict[str, Any]]) -> dict[str, Any]:
    told = [report for report in reports if report]
    outcomes = sum((Counter(report["outcomes"]) for report in told), Counter[str]())
    caches = sum((Counter(report["caches"]) for report in told), Counter[str]())
    sums = {name: sum(report[name] for report in told) for name in ("credits", "cost_usd")}
    series = {name: sorted(value for report in told for value in report[name]) for name in ("times", "took")}
    return {"outcomes": dict(outcomes), "caches": dict(caches), **sums, **series}


# ------------------------------------------------------------------------------------------------------ one of them


async def _work(wish: dict[str, Any], speech: Any) -> dict[str, Any]:
    """``callers`` at once, each ``calls`` times, or for ``seconds``; every text is its own unless ``text`` is given."""
    outcomes, caches, times, took, money = Counter[str](), Counter[str](), list[float](), list[float](), [0.0, 0.0]
    ends = time.monotonic() + wish.get("seconds", 0)

    async def caller(number: int) -> None:
        nth = 0
        await asyncio.sleep(wish.get("spread_s", 0) * number / wish["callers"])
        while nth < wish.get("calls", 0) or time.monotonic() < ends:
            text, began = wish.get("text") or f"Caller {number:04d} says {time.time_ns()}.", time.monotonic()
            nth += 1
            try:
                audio = await speech.synthesize(
                    text,
                    model_id=wish.get("model", "eleven_multilingual_v2"),
                    priority=wish.get("priority", "normal"),
                    deadline=wish.get("deadline_s", 120),
                    caller=wish.get("caller", "bench"),
                )
            except Exception as error:
                outcomes[getattr(error, "code", type(error).__name__)] += 1
                await asyncio.sleep(0.05)
                continue
            outcomes["ok"] += 1
            caches[audio.cache] += 1
            times.append(time.monotonic())
            took.append(times[-1] - began)
            money[0], money[1] = money[0] + audio.credits, money[1] + audio.cost_usd

    await asyncio.gather(*map(caller, range(wish["callers"])))
    told = {"outcomes": outcomes, "caches": caches, "times": times, "took": took}
    return {**told, "credits": money[0], "cost_usd": money[1]}


async def _main() -> None:
    speech = importlib.import_module(f"{PACKAGE}.speech")
    async with speech.SpeechClient.from_env() as client:
        await client.warm_up()
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await _work(json.loads(line), client)), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
