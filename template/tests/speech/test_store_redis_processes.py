"""Leases over Redis with real processes, killed, stopped and forked. The vendor counts who is in flight."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from backend_redis import RedisServer

import speech

SLOTS = 6


class Vendor:
    """What it sees of its callers, by name."""

    def __init__(self) -> None:
        self.in_flight, self.begun, self.peak = Counter[str](), Counter[str](), 0

    def count(self, who: str, change: int) -> None:
        self.in_flight[who] += change
        self.peak = max(self.peak, self.in_flight.total())


class Wire(asyncio.Protocol):
    """One caller's: a call is over when it was answered, or when the caller's socket closed."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor, self._who = vendor, ""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        seconds, self._who = data.decode().split()
        self._vendor.begun[self._who] += 1
        self._vendor.count(self._who, +1)
        self._timer = asyncio.get_running_loop().call_later(float(seconds), self._answer)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
            self._vendor.count(self._who, -1)

    def _answer(self) -> None:
        self._timer = None
        self._vendor.count(self._who, -1)
        self._transport.write(b"ok\n")


_CHILD = """
import asyncio, os, sys
from {package}.clock import now
from {package}.limiter import Ticket
from {package}.request import Priority
from {package}.stores import Room, redis

stores = redis.open(Room({folder!r}, 10**6, 120.0, {url!r}, "an-account"))
limiter = stores.limiter("flash", {slots}, processes=1, queue_size=1000, reserved=0.0, fixed=False)

def ticket():
    return Ticket(Priority.NORMAL, now() + 60, whole=True, guess_s=0.1)

async def caller(seconds, who):
    reader, writer = await asyncio.open_connection("127.0.0.1", {port})
    while True:
        async with limiter.admit(ticket()):
            writer.write(f"{{seconds}} {{who}}\\n".encode())
            assert await reader.readline() == b"ok\\n"
{does}
"""

LOOP = """
async def main():
    async with asyncio.TaskGroup() as callers:
        for _ in range({callers}):
            callers.create_task(caller({seconds}, {who!r}))

asyncio.run(main())
"""

FORK = """
async def one():
    async with limiter.admit(ticket()):
        print(limiter.steps._me, flush=True)
        await asyncio.sleep(1)

child = os.fork()
asyncio.run(one())
if child:
    os.waitpid(child, 0)
"""


class Scene:
    """A vendor, and processes that call it."""

    def __init__(self, redis_url: str, port: int, folder: Path, vendor: Vendor) -> None:
        self._url, self._port, self._folder, self.vendor = redis_url, port, folder, vendor
        self.children: list[subprocess.Popen[str]] = []

    def start(self, does: str) -> "subprocess.Popen[str]":
        known = {"package": speech.__name__, "url": self._url, "slots": SLOTS, "port": self._port}
        code = _CHILD.format(**known, folder=str(self._folder), does=does)
        environ = os.environ | {"PYTHONPATH": str(Path(speech.__file__).parents[2])}
        pipe = subprocess.PIPE
        child = subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, env=environ, text=True)
        self.children.append(child)
        return child

    def loop(self, who: str, callers: int, seconds: float) -> "subprocess.Popen[str]":
        return self.start(LOOP.format(who=who, callers=callers, seconds=seconds))

    def others_work(self, *who: str) -> bool:
        """As many as may be, and nobody has failed."""
        assert all(child.poll() is None for child in self.children)
        return sum(self.vendor.in_flight[name] for name in who) == SLOTS


@pytest.fixture
async def scene(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Scene]:
    vendor = Vendor()
    server = await asyncio.get_running_loop().create_server(lambda: Wire(vendor), "127.0.0.1", 0)
    scene = Scene(redis_server.url, server.sockets[0].getsockname()[1], tmp_path, vendor)
    yield scene
    for child in scene.children:
        child.kill()
        child.communicate()
    server.close()


async def eventually(holds: Callable[[], Any], within: float = 15.0) -> float:
    """How long it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() < began + within, "it never came true"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_slots_of_a_killed_process_are_back_within_three_seconds(scene: Scene) -> None:
    """Four of six die with it; the others have all six, and no call of theirs has failed."""
    victim = scene.loop("victim", 4, 600)
    await eventually(lambda: scene.vendor.in_flight["victim"] == 4)
    for who in ("a", "b"):
        scene.loop(who, 6, 0.2)
    await eventually(lambda: scene.vendor.begun["a"] and scene.vendor.begun["b"])
    await asyncio.sleep(1.5)
    victim.kill()
    scene.children.remove(victim)
    assert await eventually(lambda: scene.others_work("a", "b")) < 3
    assert scene.vendor.peak == SLOTS
    victim.communicate()


async def test_a_stopped_process_begins_nothing_when_it_wakes(scene: Scene) -> None:
    """Its slots are another's meanwhile; it comes back, and there are never more than the limit."""
    sleeper = scene.loop("sleeper", 6, 0.2)
    scene.loop("a", 6, 0.2)
    await eventually(lambda: scene.vendor.begun["a"] > 5 and scene.vendor.begun["sleeper"] > 5)
    sleeper.send_signal(signal.SIGSTOP)
    await asyncio.sleep(4.5)
    await eventually(lambda: scene.others_work("a"), 2)
    before = scene.vendor.begun["sleeper"]
    sleeper.send_signal(signal.SIGCONT)
    await eventually(lambda: scene.vendor.begun["sleeper"] > before + 5)
    assert scene.vendor.peak == SLOTS and sleeper.poll() is None


async def test_a_fork_is_a_process_of_its_own(scene: Scene) -> None:
    """What is built before a fork speaks to Redis on a connection and by a name of its own in each child."""
    said, _ = await asyncio.to_thread(scene.start(FORK).communicate)
    assert len(set(said.split())) == 2
