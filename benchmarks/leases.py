"""python -m benchmarks.leases [redis|disk] [--seconds S]: four processes share ten slots, beside an exact semaphore.

Each row of leases is paired with a semaphore in one process at the same judge in the same minute: ratios, not seconds.
*Hand-off* is from the return of a slot in one process to its use in another: while all are busy, the k-th grant can
only come of return k - 10.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from generator.copying import render

from . import judge
from .callers import Job

PACKAGE = "lease_voice"
PROCESSES, CALLERS, SLOTS = 4, 100, 10
START_S = 6.0  # to start the processes, on a machine that may be busy
LEASE_COMMANDS = ("evalsha", "eval", "ping", "script|load", "subscribe")


@dataclass(frozen=True)
class Bench:
    """What runs: the judge, the store, and where the rendered package is."""

    judge: str
    home: Path
    redis_port: int = 0
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)

    async def run(self, seconds: float, *parts: dict[str, Any]) -> "Run":
        """One process for each part, which is what differs from the usual Job."""
        begin = time.monotonic() + START_S
        usual: dict[str, Any] = {
            "judge": self.judge,
            "begin": begin,
            "until": begin + seconds,
            "slots": SLOTS,
            "callers": CALLERS,
        }
        usual |= {"redis_url": f"redis://127.0.0.1:{self.redis_port}/0", "folder": str(self.home / ".speech")}
        await judge.report(self.judge)
        children = [self._start(Job(**usual | part)) for part in parts]
        await asyncio.sleep(begin - time.monotonic())
        before = self.commands()
        said = await asyncio.gather(*(asyncio.to_thread(child.communicate) for child in children))
        told = [json.loads(out) for out, _ in said]
        return Run(begin, seconds, told, await judge.report(self.judge), self.commands() - before)

    def _start(self, job: Job) -> "subprocess.Popen[str]":
        path = os.pathsep.join([str(self.home / "src"), os.getcwd()])
        argv = [sys.executable, "-m", "benchmarks.callers", job.argument()]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path})

    def commands(self) -> int:
        """What Redis was asked from outside; not what its script does inside."""
        if not self.redis_port:
            return 0
        with socket.create_connection(("127.0.0.1", self.redis_port)) as wire:
            wire.sendall(b"INFO commandstats\r\nQUIT\r\n")
            stats = b"".join(iter(lambda: wire.recv(65536), b"")).decode()
        lines = (line.removeprefix("cmdstat_").split(":calls=") for line in stats.splitlines() if ":calls=" in line)
        return sum(int(rest.split(",")[0]) for name, rest in lines if name in LEASE_COMMANDS)


@dataclass(frozen=True)
class Run:
    """What the processes told, and what the judge saw."""

    begin: float
    seconds: float
    told: list[dict[str, Any]]
    seen: dict[str, Any]
    commands: int

    def all(self, name: str) -> list[Any]:
        return [each for process in self.told for each in process[name]]

    @property
    def done(self) -> int:
        return len(self.all("returned"))

    @property
    def goodput(self) -> float:
        """Calls a second, once all have come and before the line drains."""
        settled, end = self.begin + 0.5, self.begin + self.seconds
        return float(sum(settled < at < end for at in self.all("returned")) / (end - settled))

    @property
    def peak(self) -> int:
        return max((level for _, level in self.seen["levels"]), default=0)

    def hand_off_ms(self, share: float) -> float:
        given, returned = sorted(self.all("given")), sorted(self.all("returned"))
        gaps = sorted(g - r for g, r in zip(given[SLOTS:], returned, strict=False))
        return float(1000 * gaps[int(share * len(gaps))])

    def line(self, name: str, exact: "Run") -> str:
        cpu_us = 1e6 * sum(process["cpu"] for process in self.told) / self.done
        return (
            f"{name:22} {self.goodput:8.1f} {self.goodput / exact.goodput:6.3f} {self.peak:5}"
            f" {self.hand_off_ms(0.5):8.2f} {self.hand_off_ms(0.99):7.2f} {self.commands / self.done:9.2f}"
            f" {cpu_us:7.0f} {len(self.all('failed')):7}"
        )


async def measure(bench: Bench, seconds: float) -> None:
    print(f"{PROCESSES} processes x {CALLERS} callers on {SLOTS} slots")
    print(f"{'':22}   goodput  ratio  peak  p50 ms  p99 ms  commands  CPU us  failed")
    for milliseconds in (200, 20):
        exact = await bench.run(seconds, {"callers": PROCESSES * CALLERS, "milliseconds": milliseconds})
        print(exact.line(f"semaphore, {milliseconds} ms", exact), flush=True)
        part = {"package": PACKAGE, "milliseconds": milliseconds}
        run = await bench.run(seconds, *[part] * PROCESSES)
        print(run.line(f"leases, {milliseconds} ms", exact), flush=True)
    await urgent(bench, seconds)


async def urgent(bench: Bench, seconds: float) -> None:
    """One interactive caller in a process of its own, against a crowd of batch callers in the others."""
    crowd = {"package": PACKAGE, "milliseconds": 200, "priority": "batch"}
    one = crowd | {"priority": "interactive", "callers": 1, "who": "urgent", "pause_s": 0.1}
    run = await bench.run(seconds, one, *[crowd] * (PROCESSES - 1))
    calls = list(zip(run.told[0]["asked"], run.told[0]["given"], strict=True))
    waits = sorted(1000 * (given - asked) for asked, given in calls)
    starts = [at for at, who in run.seen["starts"] if who != "urgent"]
    passed = sum(any(asked < at < given for at in starts) for asked, given in calls)
    print(
        f"\none interactive caller against {CALLERS * (PROCESSES - 1)} batch callers: {len(calls)} calls,"
        f" waited p50 {waits[len(waits) // 2]:.0f} ms, at most {waits[-1]:.0f} ms; a slot is free every 20 ms"
        f"\n  somebody began between its arrival and its admission: {passed} times"
    )


@contextmanager
def bench(backend: str) -> Iterator[Bench]:
    """Render, start what is needed, and clean up."""
    with TemporaryDirectory(prefix="bench.") as folder, ExitStack() as children:
        home, path = Path(folder) / "project", f"{folder}/judge"
        render(home, {"package_name": PACKAGE, "cache_backend": backend}, ask=False, quiet=True)
        port = _free_port() if backend == "redis" else 0
        if port:
            _child(children, "redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1")
        _child(children, sys.executable, "-m", "benchmarks.judge", path)
        while not Path(path).exists():
            time.sleep(0.05)
        yield Bench(path, home, port)


def _child(children: ExitStack, *argv: str) -> None:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    children.callback(process.wait)
    children.callback(process.kill)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leases", description=__doc__)
    parser.add_argument("backend", nargs="?", choices=("redis", "disk"), default="redis")
    parser.add_argument("--seconds", type=float, default=6.0)
    given = parser.parse_args()
    with bench(given.backend) as here:
        asyncio.run(measure(here, given.seconds))


if __name__ == "__main__":
    main()
