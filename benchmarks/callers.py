"""One process of callers in closed loops, behind the rendered limiter or an exact semaphore; its argument is a Job.

It prints when slots were given and given back, what failed, and what it cost.
"""

import asyncio
import importlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

POOL = "flash"
SPREAD = 0.25  # how much calls differ in length: if all were equal they would go in convoys, each process its own
MIX_S = 0.3  # callers begin within so long, or first come first served would keep processes apart for ever

Admit = Callable[[], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True)
class Job:
    """``package`` is the rendered one; empty is the semaphore. Instants are of CLOCK_MONOTONIC, one for the host."""

    judge: str
    begin: float
    until: float
    callers: int
    milliseconds: float
    slots: int
    who: str = "x"
    package: str = ""
    priority: str = "normal"
    pause_s: float = 0.0  # at most, between two calls: who asks at once has the slot that he has just given back
    redis_url: str = ""
    folder: str = ""

    def argument(self) -> str:
        return json.dumps(asdict(self))


@asynccontextmanager
async def gate(job: Job) -> AsyncIterator[Admit]:
    """The way to a slot: the rendered store's limiter, or the best that one process can do."""
    if not job.package:
        semaphore = asyncio.Semaphore(job.slots)
        yield lambda: semaphore
        return
    speech = f"{job.package}.speech"
    store, room = importlib.import_module(f"{speech}.answers").store, importlib.import_module(f"{speech}.stores").Room
    tickets, request = importlib.import_module(f"{speech}.limiter"), importlib.import_module(f"{speech}.request")
    stores = store.open(room(Path(job.folder), 10**6, 120.0, job.redis_url, "benchmark"))
    limiter = stores.limiter(POOL, job.slots, processes=1, queue_size=10**6, reserved=0.0, fixed=True)
    priority = request.Priority.parse(job.priority)
    yield lambda: limiter.admit(tickets.Ticket(priority, time.monotonic() + 600, whole=True, guess_s=0.1))
    await stores.close()


async def work(job: Job) -> dict[str, Any]:
    asked, given, returned, failed = list[float](), list[float](), list[float](), list[str]()

    async def caller(admit: Admit) -> None:
        reader, writer = await asyncio.open_unix_connection(job.judge)
        await asyncio.sleep(random.uniform(0, MIX_S))
        while time.monotonic() < job.until:
            if job.pause_s:
                await asyncio.sleep(random.uniform(0, job.pause_s))
            arrived = time.monotonic()
            try:
                async with admit():
                    asked.append(arrived)
                    given.append(time.monotonic())
                    lasts = job.milliseconds * random.uniform(1 - SPREAD, 1 + SPREAD)
                    writer.write(f"{lasts:.1f} {job.who}".encode())
                    if await reader.readline() != b"ok\n":
                        raise ConnectionError("the judge hung up")
                    returned.append(time.monotonic())
            except Exception as error:
                failed.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.1)
        writer.close()

    async with gate(job) as admit:
        async with admit():  # what is loaded and opened at the first use is not what is measured
            pass
        await asyncio.sleep(max(0.0, job.begin - time.monotonic()))
        cpu = time.process_time()
        async with asyncio.TaskGroup() as callers:
            for _ in range(job.callers):
                callers.create_task(caller(admit))
        cpu = time.process_time() - cpu
    return {"asked": asked, "given": given, "returned": returned, "failed": failed, "cpu": cpu}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(Job(**json.loads(sys.argv[1]))))))
