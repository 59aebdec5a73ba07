"""Breakers and the latch over processes: one opens for all, one probes for all, and without Redis each its own."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from backend_redis import RedisServer
from rooms import a_room, environ, eventually, settings

import speech as package
from speech import breaker as breaker_module
from speech.answers import store
from speech.breaker import Breaker
from speech.errors import CircuitOpen, SpeechError
from speech.faults import Fault
from speech.stores import Stores, redis_connection, redis_health
from speech.stores.redis_connection import Connection
from speech.stores.redis_health import RedisHealth
from speech.stores.redis_inbox import Inbox
from speech.stores.redis_scripts import Scripts
from speech.testing.plugin import SandboxThread
from speech.wiring import SpeechClient

POOLS = "standard", "flash"


class Process:
    """What one process has of it."""

    def __init__(self, redis_url: str = "", **terms: Any) -> None:
        room = a_room(Path("nowhere"))
        self.stores: Stores = store.open(room._replace(redis_url=redis_url) if redis_url else room)
        self.breakers: dict[str, Breaker] = self.stores.breakers(POOLS, **terms)
        self.sent = 0  # calls that reached upstream

    async def call(self, *ends: str | None, pool: str = "flash", seconds: float = 0.0) -> str:
        """How the last of them went: "well", the fault's kind, or the code of our own refusal."""
        for end in ends:
            said = await self._call(end, pool, seconds)
        return said

    def state(self, pool: str = "flash") -> str:
        return str(self.breakers[pool].snapshot()["state"])

    def latched(self) -> bool:
        return str(self.breakers["flash"].latch.snapshot()["state"]) == "latched"

    async def _call(self, end: str | None, pool: str, seconds: float) -> str:
        try:
            async with self.breakers[pool].guard():
                self.sent += 1
                await asyncio.sleep(seconds)
                if end:
                    raise Fault(end)
        except Fault as fault:
            return fault.kind
        except SpeechError as refusal:
            return refusal.code
        return "well"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything takes a tenth of the time; and where a busy machine takes long, nobody is to be taken for away."""
    monkeypatch.setattr(redis_connection, "PATIENCE_S", 5)
    for name, seconds in (("OPEN_S", 0.6), ("LATCH_PROBE_S", 1.0)):
        monkeypatch.setattr(breaker_module, name, seconds)


@pytest.fixture
async def processes() -> AsyncIterator[list[Process]]:
    """Three that have made a call, and so know of each other."""
    them = [Process() for _ in range(3)]
    for process in them:
        assert await process.call(None) == "well"
    yield them
    for process in them:
        await process.stores.close()


async def opened(processes: list[Process]) -> None:
    """By the first, and the others have heard of it."""
    await processes[0].call(*["server"] * 5)
    await eventually(lambda: {process.state() for process in processes} == {"open"})


async def latched(processes: list[Process], why: str = "quota") -> None:
    await processes[0].call(*[why] * 3)
    await eventually(lambda: all(process.latched() for process in processes))


async def test_one_that_opens_opens_for_all(processes: list[Process]) -> None:
    """The others refuse without asking upstream, say when to come back, and other pools go on."""
    await opened(processes)
    assert [await process.call(None) for process in processes[1:]] == ["circuit_open"] * 2
    assert [process.sent for process in processes] == [6, 1, 1]
    assert [process.breakers["flash"].snapshot()["opened"] for process in processes] == [1, 1, 1]
    with pytest.raises(CircuitOpen) as refused:
        async with processes[1].breakers["flash"].guard():
            pass
    assert 0 < (refused.value.retry_after_s or 0) <= 0.6
    assert await processes[1].call(None, pool="standard") == "well"


async def test_who_starts_later_knows(processes: list[Process]) -> None:
    """Before its first call."""
    await opened(processes)
    late = Process()
    assert await late.call(None) == "circuit_open"
    await late.stores.close()


async def test_one_of_all_probes(processes: list[Process]) -> None:
    """Of sixty callers of three processes one asks upstream; when it was answered, it closes for all."""
    await opened(processes)
    before = sum(process.sent for process in processes)
    await asyncio.sleep(0.65)
    calls = [process.call(None, seconds=0.3) for process in processes for _ in range(20)]
    assert sorted(await asyncio.gather(*calls)) == ["circuit_open"] * 59 + ["well"]
    assert sum(process.sent for process in processes) == before + 1
    await eventually(lambda: {process.state() for process in processes} == {"closed"})
    assert [await process.call(None) for process in processes] == ["well"] * 3


async def test_a_probe_that_fails_doubles_it_for_all(processes: list[Process]) -> None:
    """Whoever's it was."""
    await opened(processes)
    await asyncio.sleep(0.65)
    assert await processes[1].call("server") == "server"
    await eventually(lambda: all(0.6 < left(process) <= 1.2 for process in processes))
    assert await processes[2].call(None) == "circuit_open"


async def test_a_probe_that_was_cancelled_is_given_back(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one, wherever it is made, asks upstream."""
    monkeypatch.setattr(redis_health, "HOLD_MS", 60_000)  # so that it doesn't just lapse
    await opened(processes)
    await asyncio.sleep(0.65)
    probe = asyncio.create_task(processes[1].call(None, seconds=60))
    await eventually(lambda: processes[1].sent == 2)
    assert await processes[2].call(None) == "circuit_open"
    probe.cancel()
    await asyncio.wait([probe])
    await eventually_well(processes[2])


@pytest.mark.parametrize("himself", [True, False])
async def test_who_is_cancelled_while_he_asks_for_it_gives_it_back(
    processes: list[Process], backend: RedisServer, monkeypatch: pytest.MonkeyPatch, himself: bool
) -> None:
    """At whatever moment of it; to his own process and to the others."""
    monkeypatch.setattr(redis_health, "HOLD_MS", 60_000)
    await opened(processes)
    async with backend.far_away(0.02) as url:
        far = Process(url)
        assert await far.call(None) == "circuit_open"
        await asyncio.sleep(0.65)
        for nth in range(10):
            probe = asyncio.create_task(far.call(None, seconds=60))
            await asyncio.sleep(0.006 * nth)
            probe.cancel()
            await asyncio.wait([probe])
        await eventually_well(far if himself else processes[2])
        await far.stores.close()


async def test_a_process_killed_while_it_probes_leaves_the_probe_to_others(processes: list[Process]) -> None:
    """Within some three seconds."""
    prober = f"""
import asyncio, os
from pathlib import Path
from typing import Any
from {package.__name__}.stores import Room, redis

async def main():
    stores = redis.open(Room(Path("nowhere"), 10**6, 120.0, os.environ["REDIS_URL"], "an-account"))
    breaker = stores.breakers(("standard", "flash"))["flash"]
    while True:
        try:
            async with breaker.guard():
                print("probes", flush=True)
                await asyncio.sleep(60)
        except Exception:
            await asyncio.sleep(0.02)

asyncio.run(main())
"""
    await opened(processes)
    with subprocess.Popen([sys.executable, "-c", prober], stdout=subprocess.PIPE, text=True, env=environ()) as child:
        try:
            assert child.stdout and await asyncio.to_thread(child.stdout.readline) == "probes\n"
            assert await processes[1].call(None) == "circuit_open"
        finally:
            child.kill()
    await eventually_well(processes[1], within_s=4)


async def test_what_began_before_counts_for_nobody(processes: list[Process]) -> None:
    """A straggler of another process neither closes it nor opens what has just closed."""
    good = asyncio.create_task(processes[1].call(None, seconds=0.3))
    bad = [asyncio.create_task(processes[1].call("timeout", seconds=1.5)) for _ in range(9)]
    await asyncio.sleep(0)
    await opened(processes)
    await good
    assert processes[1].state() == "open"
    await asyncio.sleep(0.6)
    assert await processes[2].call(None) == "well"
    await asyncio.gather(*bad)
    await eventually(lambda: {process.state() for process in processes} == {"closed"})


@pytest.mark.parametrize(("why", "code"), [("key", "upstream_refused"), ("quota", "insufficient_credits")])
async def test_latched_is_latched_for_all(
    processes: list[Process], why: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In every pool; it is logged by one, and by whoever starts later not again."""
    await latched(processes, why)
    late = Process()
    for process in (*processes[1:], late):
        assert await process.call(None) == await process.call(None, pool="standard") == code
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    await late.stores.close()


async def test_audio_from_before_does_not_clear_the_latch(processes: list[Process]) -> None:
    """It was paid before the credits ran out, wherever they did."""
    old = asyncio.create_task(processes[1].call(None, seconds=0.5))
    await asyncio.sleep(0)
    await latched(processes)
    assert await old == "well"
    assert processes[1].latched()


async def test_who_has_not_heard_of_it_is_told_when_he_asks() -> None:
    """A message may be late, or lost: what Redis knows decides who probes."""
    connection = Connection(os.environ["REDIS_URL"], "an-account")
    scripts, inbox = Scripts(connection), Inbox(connection)
    one, other = RedisHealth(scripts, inbox), RedisHealth(scripts, inbox)
    one.tell("flash", "open", 5.0, 4.0)
    await scripts.aclose()
    assert 3 < (await other.probe(["standard", "flash"]) or 0) <= 4
    assert await other.probe(["standard"]) is None
    assert await one.probe(["standard"]) == breaker_module.PROBE_TAKES_S
    await other.aclose()
    await connection.aclose()


async def test_one_probe_of_the_latch_a_minute_over_all(processes: list[Process]) -> None:
    """Three minutes (of a second each) of callers everywhere: three calls; a good answer clears it for all."""
    await latched(processes)
    before, until = sum(process.sent for process in processes), asyncio.get_running_loop().time() + 3.4
    while asyncio.get_running_loop().time() < until:
        await asyncio.gather(*(process.call("quota") for process in processes for _ in range(3)))
        await asyncio.sleep(0.02)
    assert 2 <= sum(process.sent for process in processes) - before <= 3
    await eventually_well(processes[2])
    await eventually(lambda: not any(process.latched() for process in processes))


async def test_a_call_in_good_health_costs_redis_nothing(processes: list[Process], backend: RedisServer) -> None:
    """Only the first of a process asks how things stand."""
    before = backend.scripts_run()
    for process in processes:
        await process.call(*[None] * 50, "server", "server", None)
    assert backend.scripts_run() == before
    await processes[0].call(*["server"] * 5)
    await eventually(lambda: backend.scripts_run() == before + 1)


async def test_observing_refuses_nobody(processes: list[Process], backend: RedisServer) -> None:
    """Also where another process has opened it and probes; nor does each call ask for that."""
    watching = Process(observed=lambda _: None)
    await watching.call(None)
    await opened([*processes, watching])
    await asyncio.sleep(0.65)
    probe = asyncio.create_task(processes[1].call(None, seconds=0.5))
    await asyncio.sleep(0.1)
    before = backend.scripts_run()
    assert [await watching.call(None) for _ in range(20)] == ["well"] * 20
    assert backend.scripts_run() - before <= 3
    assert await probe == "well"
    await watching.stores.close()


async def test_without_redis_each_judges_for_itself(processes: list[Process], backend: RedisServer) -> None:
    """It opens, probes and closes; nobody waits for long; and when Redis is back they are one again."""
    backend.kill()
    try:
        await processes[0].call(*["server"] * 5)
        assert [process.state() for process in processes] == ["open", "closed", "closed"]
        await asyncio.sleep(0.65)
        assert await asyncio.wait_for(processes[0].call(None), 3) == "well"
        assert processes[0].state() == "closed"
        new = Process()
        assert await asyncio.wait_for(new.call(None), 3) == "well"
        await new.stores.close()
    finally:
        backend.start()

    async def together() -> bool:
        await processes[0].call(*["server"] * 5)
        return {process.state() for process in processes} == {"open"}

    until = asyncio.get_running_loop().time() + 10
    while not await together():
        assert asyncio.get_running_loop().time() < until
        await asyncio.sleep(0.1)


async def test_a_redis_that_hangs_costs_the_first_call_half_a_second(backend: RedisServer) -> None:
    """And the ones after it nothing."""
    process, loop = Process(), asyncio.get_running_loop()
    with backend.asleep():
        began = loop.time()
        assert await process.call(None) == "well"
        assert loop.time() - began < 2
        began = loop.time()
        await process.call(*[None] * 100, *["server"] * 5)
        assert process.state() == "open" and loop.time() - began < 0.5
    await process.stores.close()


async def test_clients_tell_each_other(tmp_path: Path, speech_sandbox: SandboxThread) -> None:
    """The whole path: what one client has seen of the vendor, another need not pay for."""
    ours = settings(api_key="sandbox-key", base_url=speech_sandbox.url, env="development", cache_dir=tmp_path)
    async with SpeechClient(ours) as one, SpeechClient(ours) as other:
        for client in (one, other):
            await client.synthesize("Hello", cache="off")
        speech_sandbox.set(faults=["500"] * 20)
        while one.snapshot()["pools"]["standard"]["breaker"]["state"] == "closed":
            with pytest.raises(SpeechError):
                await one.synthesize("Hello", cache="off")
        await eventually(lambda: other.snapshot()["pools"]["standard"]["breaker"]["state"] == "open")
        calls = speech_sandbox.state()["calls"]
        with pytest.raises(CircuitOpen):
            await other.synthesize("Hello", cache="off")
        assert speech_sandbox.state()["calls"] == calls


def left(process: Process) -> float:
    return float(process.breakers["flash"].snapshot()["retry_after_s"] or 0)


async def eventually_well(process: Process, within_s: float = 10) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while await process.call(None) != "well":
        assert loop.time() < until
        await asyncio.sleep(0.05)
