"""What Redis alone can say of audio and claims: its clock, its bounds, its silences, and processes that are killed."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from backend_redis import RedisServer
from rooms import a_room, environ, eventually, key

import speech as package
from speech.answers import store
from speech.cache import AudioCache, Kept
from speech.stores import Stores, redis_audio, redis_connection, redis_scripts, redis_seats
from speech.stores.redis_connection import PATIENCE_S
from speech.stores.redis_scripts import Away

ENTRY = Kept(b"audio", {"voice_id": "anna"})
PREFIX = "speech:{an-account}"

HOLDER = f"""
import asyncio, os, sys
from pathlib import Path
from {package.__name__}.stores import Room, redis

async def main():
    stores = redis.open(Room(Path("nowhere"), 10**6, 120.0, os.environ["REDIS_URL"], "an-account"))
    await stores.seats.take("alice", 1)
    async with stores.audio.claim("{key(1)}"):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    await stores.close()

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a busy machine takes long, nobody is to be taken for away."""
    monkeypatch.setattr(redis_connection, "PATIENCE_S", 5)


@pytest.fixture
async def stores() -> AsyncIterator[Stores]:
    opened = store.open(a_room(Path("nowhere")))
    yield opened
    await opened.close()


@pytest.fixture
async def others() -> AsyncIterator[Stores]:
    """What another process would open."""
    opened = store.open(a_room(Path("nowhere")))
    yield opened
    await opened.close()


@pytest.fixture
def holder() -> "subprocess.Popen[str]":
    """A process that has a claim and a seat; to be killed by whoever asks for it."""
    pipe, command = subprocess.PIPE, [sys.executable, "-c", HOLDER]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ())
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


async def claimed(stores: Stores) -> Kept | None:
    async with asyncio.timeout(10), stores.audio.claim(key(1)) as found:
        return found[0] if found else None


async def test_nothing_is_opened_before_the_first_use() -> None:
    """So one may be made before a fork, and where nobody listens."""
    stores = store.open(a_room(Path("nowhere"), redis_url="redis://127.0.0.1:1/0"))
    await stores.close()


async def test_an_entry_goes_by_itself(backend: RedisServer) -> None:
    """When it is too old for anybody; the index forgets it too."""
    stores = store.open(a_room(Path("nowhere"), age_s_max=0.3))
    for nth in (1, 2):
        await stores.audio.put(key(nth), ENTRY)
        assert await stores.audio.get(key(nth))
    await eventually(lambda: backend.say(f"EXISTS {PREFIX}:audio:{key(1)}".encode()) == b":0")
    assert await stores.audio.get(key(1)) is None
    assert (await stores.audio.stats())["entries"] == (await stores.audio.stats())["bytes"] == 0
    await stores.close()


async def test_the_age_is_by_the_servers_clock(stores: Stores, others: Stores) -> None:
    """Whoever asks is told the same."""
    await stores.audio.put(key(1), ENTRY)
    await asyncio.sleep(0.2)
    for audio in (stores.audio, others.audio):
        found = await audio.get(key(1))
        assert found and 0.2 <= found[1] < 2


async def test_megabytes_come_back_whole(stores: Stores) -> None:
    """As many as a flight keeps; within the patience of the connection."""
    stores = store.open(a_room(Path("nowhere"), bytes_max=20_000_000))
    whole = Kept(random.Random(1).randbytes(8 * 2**20), {"voice_id": "anna", "model_id": "m"})
    await stores.audio.put(key(1), whole)
    found = await stores.audio.get(key(1))
    assert found and found[0] == whole
    await stores.close()


async def test_what_is_not_ours_is_a_miss(stores: Stores, backend: RedisServer) -> None:
    """Whoever wrote it there."""
    await stores.audio.put(key(1), ENTRY)
    backend.say(f"SET {PREFIX}:audio:{key(1)} something".encode())
    assert await stores.audio.get(key(1)) is None


async def test_an_entry_that_was_evicted_is_no_longer_counted(stores: Stores, backend: RedisServer) -> None:
    """By ``maxmemory-policy volatile-lru``, say."""
    await stores.audio.put(key(1), ENTRY)
    backend.say(f"DEL {PREFIX}:audio:{key(1)}".encode())
    assert await stores.audio.get(key(1)) is None
    await asyncio.sleep(2 * redis_audio.TOLD_S)
    assert await stores.audio.stats() == {"entries": 0, "bytes": 0, "bytes_max": 1_000_000}


async def test_bounds_hold_over_all_processes(backend: RedisServer) -> None:
    """Against a model: what two of them put, hear and purge, in any order."""
    chance, room = random.Random(7), a_room(Path("nowhere"), bytes_max=20_000)
    both, watcher = (store.open(room), store.open(room)), store.open(room)
    model: OrderedDict[str, int] = OrderedDict()
    for _ in range(600):
        audio, name = chance.choice(both).audio, key(chance.randrange(12))
        if chance.random() < 0.5:
            assert (await audio.get(name) is not None) == (name in model)
            if name in model:
                model.move_to_end(name)
        elif chance.random() < 0.97:
            kept = Kept(bytes(chance.choice([100, 3_000, 9_000, 30_000])), {"voice_id": "v"})
            model.pop(name, None)
            if (size := len(kept.data) + 8 + 17 + 512) <= 20_000:
                model[name] = size
            while sum(model.values()) > 20_000:
                model.popitem(last=False)
            await audio.put(name, kept)
        else:
            assert await audio.purge(chance.choice(["v", None])) == len(model)
            model.clear()
        stats = await watcher.audio.stats()
        assert (stats["entries"], stats["bytes"]) == (len(model), sum(model.values()))
    for stores in (*both, watcher):
        await stores.close()


async def test_a_hit_is_one_command_and_a_miss_two(stores: Stores, backend: RedisServer) -> None:
    """To look and claim, to keep what was paid for; and the first time the script's text."""
    cache = AudioCache(stores.audio, ttl_s=60, stale_s=60)

    async def miss(nth: int) -> None:
        assert await cache.get(key(nth)) is None
        async with cache.claim(key(nth), False):
            await cache.keep(key(nth), ENTRY)

    await miss(1)
    before = backend.scripts_run()
    await miss(2)
    assert backend.scripts_run() - before == 2
    assert await cache.get(key(2)) == ENTRY
    assert backend.scripts_run() - before == 3


async def test_who_only_looked_keeps_nobody_waiting(stores: Stores, others: Stores) -> None:
    """A miss brings the right to pay along; who makes nothing of it gives it back, whether he goes on or closes."""
    for nth in (1, 2):
        assert await stores.audio.get(key(nth)) is None
    async with asyncio.timeout(10), others.audio.claim(key(1)) as found:
        assert found is None
    await stores.audio.get(key(3))
    await stores.close()
    async with asyncio.timeout(10), others.audio.claim(key(3)) as found:
        assert found is None


async def test_who_looks_while_another_pays_has_no_right(stores: Stores, others: Stores) -> None:
    """Nor has a second one in the same process, who looks before the first one has begun."""
    assert await stores.audio.get(key(1)) is await stores.audio.get(key(1)) is None
    async with stores.audio.claim(key(1)):
        assert await others.audio.get(key(1)) is None
        waiting = asyncio.create_task(claimed(others))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await stores.audio.put(key(1), ENTRY)
    assert await waiting == ENTRY


async def test_who_waits_is_woken(stores: Stores, others: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """He need not look for himself."""
    monkeypatch.setattr(redis_audio, "LOOK_S", 60)
    monkeypatch.setattr(redis_audio, "HOLD_S", 60)
    async with stores.audio.claim(key(1)):
        waiting = asyncio.create_task(claimed(others))
        await asyncio.sleep(0.3)
        await stores.audio.put(key(1), ENTRY)
    assert await asyncio.wait_for(waiting, 5) == ENTRY


async def test_a_lost_message_costs_a_second(stores: Stores, others: Stores, backend: RedisServer) -> None:
    """Not the claim's whole life."""
    async with stores.audio.claim(key(1)):
        waiting = asyncio.create_task(claimed(others))
        await asyncio.sleep(0.3)
        backend.say(b"CLIENT KILL TYPE pubsub")
    assert await asyncio.wait_for(waiting, 5) is None


async def test_a_claim_is_kept_as_long_as_it_takes(stores: Stores, others: Stores) -> None:
    """It is renewed while its process lives."""
    async with stores.audio.claim(key(1)):
        waiting = asyncio.create_task(claimed(others))
        await asyncio.sleep(redis_scripts.HOLD_S + 1)
        assert not waiting.done()
    assert await waiting is None


async def test_what_a_killed_process_held_is_free(stores: Stores, holder: "subprocess.Popen[str]") -> None:
    """Its claim and its seat, within three seconds."""
    assert not await stores.seats.take("alice", 1)
    waiting = asyncio.create_task(claimed(stores))
    await asyncio.sleep(0.1)
    holder.kill()
    holder.wait()
    killed = time.monotonic()
    assert not waiting.done()
    assert await waiting is None
    while not await stores.seats.take("alice", 1):
        await asyncio.sleep(0.05)
    assert time.monotonic() - killed < 3.3


async def test_what_a_paused_process_held_is_free_and_nobody_minds(
    stores: Stores, holder: "subprocess.Popen[str]"
) -> None:
    """It comes back and lets go of what it has lost, and of nothing else."""
    holder.send_signal(signal.SIGSTOP)
    async with stores.audio.claim(key(1)):
        holder.send_signal(signal.SIGCONT)
        await asyncio.sleep(redis_scripts.BEAT_S * 2)
        await asyncio.to_thread(holder.communicate, "that was it\n")
        other = store.open(a_room(Path("nowhere")))
        waiting = asyncio.create_task(claimed(other))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    assert await waiting is None
    await other.close()


async def test_who_is_cancelled_while_he_asks_holds_nothing(
    others: Stores, backend: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever moment of it."""
    monkeypatch.setattr(redis_audio, "HOLD_S", 60)  # so that nothing just lapses
    monkeypatch.setattr(redis_seats, "HOLD_MS", 60_000)
    async with backend.far_away(0.005) as url:
        far = store.open(a_room(Path("nowhere"), redis_url=url))
        assert await claimed(far) is None
        for nth in range(40):
            asking = asyncio.create_task(claimed(far))
            sitting = asyncio.create_task(far.seats.take("alice", 1))
            await asyncio.sleep(0.0005 * nth)
            asking.cancel()
            sitting.cancel()
            await asyncio.wait([asking, sitting])
            if not sitting.cancelled():
                await far.seats.free("alice")
        await far.close()
        assert await claimed(others) is None
        assert await others.seats.take("alice", 1)


async def test_without_redis_everybody_pays_for_himself(
    stores: Stores, others: Stores, backend: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Who waits is not left waiting; the cache says once that it fails; and all is well when Redis is back."""
    cache = AudioCache(others.audio, ttl_s=60, stale_s=60)
    async with stores.audio.claim(key(1)):
        waiting = asyncio.create_task(claimed(others))
        await asyncio.sleep(0.2)
        backend.kill()
        try:
            assert await asyncio.wait_for(waiting, 5) is None
            async with cache.claim(key(1), False) as found:
                assert found is None
                await cache.keep(key(1), ENTRY)
            assert await cache.get(key(1)) is None
            assert caplog.text.count("the audio cache fails") == 1
        finally:
            backend.start()

    async def kept() -> bool:
        await cache.keep(key(1), ENTRY)
        return await cache.get(key(1)) == ENTRY

    while not await kept():
        await asyncio.sleep(0.1)
    async with stores.audio.claim(key(2)):
        assert not await others.seats.take("alice", 0)


async def test_a_redis_that_hangs_costs_one_wait(
    stores: Stores, backend: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of half a second, and not one a call."""
    monkeypatch.setattr(redis_connection, "PATIENCE_S", PATIENCE_S)
    await stores.audio.put(key(1), ENTRY)
    with backend.asleep():
        for longest_s in (PATIENCE_S + 1, 0.2, 0.2):
            began = time.monotonic()
            with pytest.raises(Away):
                await stores.audio.get(key(1))
            assert await claimed(stores) is None
            assert time.monotonic() - began < longest_s
    await asyncio.sleep(redis_scripts.AWAY_S)
    assert await stores.audio.get(key(1))


async def test_seats_without_redis_are_this_processs(stores: Stores, others: Stores, backend: RedisServer) -> None:
    """Bounded, and what was given out meanwhile counts everywhere when Redis is back."""
    assert await stores.seats.take("alice", 2)
    backend.kill()
    try:
        assert [await stores.seats.take("alice", 2) for _ in range(2)] == [True, False]
    finally:
        backend.start()

    async def full() -> bool:
        if taken := await others.seats.take("alice", 2):
            await others.seats.free("alice")
        return not taken

    until = time.monotonic() + 10
    while not await full() and time.monotonic() < until:
        await asyncio.sleep(0.1)
    assert await full()
