"""Who may pay for what, and how many at once a caller may have: over two openings of whichever store was rendered."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rooms import a_room, key, settings

from speech.answers import CACHE_BACKEND, store
from speech.cache import AudioStore, Kept
from speech.flight import Seats
from speech.stores import Stores
from speech.testing.plugin import SandboxThread
from speech.wiring import SpeechClient

SHARED = pytest.mark.skipif(CACHE_BACKEND == "memory", reason="two openings share nothing")
ENTRY = Kept(b"audio", {"voice_id": "anna"})


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a busy machine takes long, nobody is to be taken for away."""
    if CACHE_BACKEND == "redis":
        monkeypatch.setattr("speech.stores.redis_connection.PATIENCE_S", 5)


@pytest.fixture
async def openings(tmp_path: Path) -> AsyncIterator[tuple[Stores, Stores]]:
    """What two processes would open."""
    one, other = store.open(a_room(tmp_path)), store.open(a_room(tmp_path))
    yield one, other
    await one.close()
    await other.close()


@pytest.fixture
def audios(openings: tuple[Stores, Stores]) -> tuple[AudioStore, AudioStore]:
    return openings[0].audio, openings[1].audio


@pytest.fixture
def seats(openings: tuple[Stores, Stores]) -> tuple[Seats, Seats]:
    return openings[0].seats, openings[1].seats


async def claimed(audio: AudioStore, nth: int = 1) -> Kept | None:
    """What whoever claims it finds, and then lets go of."""
    async with asyncio.timeout(10), audio.claim(key(nth)) as found:
        return found[0] if found else None


async def waits(audio: AudioStore) -> "asyncio.Task[Kept | None]":
    """A claim that has begun, and has to wait."""
    task = asyncio.create_task(claimed(audio))
    await asyncio.sleep(0.1)
    assert not task.done()
    return task


async def test_what_nobody_pays_for_is_the_first_ones(audios: tuple[AudioStore, AudioStore]) -> None:
    """At once, and again when he is done with it."""
    for audio in (*audios, *audios):
        assert await claimed(audio) is None


@SHARED
async def test_who_waits_hears_what_the_other_paid_for(audios: tuple[AudioStore, AudioStore]) -> None:
    """Once it is kept, and not a minute later."""
    one, other = audios
    async with one.claim(key(1)):
        waiting = await waits(other)
        await one.put(key(1), ENTRY)
    assert await waiting == ENTRY


@SHARED
async def test_what_is_there_already_may_be_paid_for_anew(audios: tuple[AudioStore, AudioStore]) -> None:
    """It may be too old for him: he is told of it, and has the right all the same."""
    one, other = audios
    await one.put(key(1), ENTRY)
    async with one.claim(key(1)) as found:
        assert found and found[0] == ENTRY
        waiting = await waits(other)
    assert await waiting == ENTRY


@SHARED
@pytest.mark.parametrize("error", [ValueError("upstream failed"), asyncio.CancelledError()])
async def test_who_failed_leaves_it_to_the_next(audios: tuple[AudioStore, AudioStore], error: BaseException) -> None:
    """With nothing to hear, so he may pay himself."""
    one, other = audios
    with pytest.raises(type(error)):
        async with one.claim(key(1)):
            waiting = await waits(other)
            raise error
    assert await waiting is None


@SHARED
async def test_one_at_a_time(audios: tuple[AudioStore, AudioStore]) -> None:
    """However many wait, here and there, and whatever becomes of those who paid."""
    paying = most = 0

    async def pay(audio: AudioStore) -> None:
        nonlocal paying, most
        async with audio.claim(key(1)) as found:
            if not found:
                paying += 1
                most = max(most, paying)
                await asyncio.sleep(0.02)
                paying -= 1

    await asyncio.wait_for(asyncio.gather(*(pay(audio) for audio in audios * 5)), 30)
    assert most == 1


@SHARED
async def test_waiting_that_was_given_up_leaves_nothing(audios: tuple[AudioStore, AudioStore]) -> None:
    """The right goes to whoever is still there."""
    one, other = audios
    async with one.claim(key(1)):
        waiting = await waits(other)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert await claimed(one) is await claimed(other) is None


@SHARED
async def test_other_texts_do_not_wait(audios: tuple[AudioStore, AudioStore]) -> None:
    """A claim is for one key."""
    async with audios[0].claim(key(1)):
        assert await claimed(audios[1], 2) is None


async def test_a_caller_has_so_many_seats(seats: tuple[Seats, Seats]) -> None:
    """And gets another when it gave one back; who else there is has his own."""
    one = seats[0]
    assert [await one.take("alice", 2) for _ in range(3)] == [True, True, False]
    assert await one.take("bob", 1)
    await one.free("alice")
    assert [await one.take("alice", 2) for _ in range(2)] == [True, False]


@SHARED
async def test_a_callers_seats_count_everywhere(seats: tuple[Seats, Seats]) -> None:
    """Two here and none there is two."""
    one, other = seats
    assert [await one.take("alice", 2) for _ in range(2)] == [True, True]
    assert not await other.take("alice", 2)
    await one.free("alice")
    assert await other.take("alice", 2)
    assert not await one.take("alice", 2)


@SHARED
async def test_what_is_closed_holds_no_seat(seats: tuple[Seats, Seats], openings: tuple[Stores, Stores]) -> None:
    """Whatever was under way."""
    await seats[0].take("alice", 1)
    await openings[0].close()
    assert await seats[1].take("alice", 1)


@SHARED
async def test_a_text_is_paid_once_over_all_clients(tmp_path: Path, speech_sandbox: SandboxThread) -> None:
    """A hundred ask at once, at four clients: one call, and everybody hears it."""
    speech_sandbox.set(latency_s=0.3)
    ours = settings(api_key="sandbox-key", base_url=speech_sandbox.url, env="development", cache_dir=tmp_path)
    clients = [SpeechClient(ours) for _ in range(4)]
    await clients[0].warm_up()  # or nobody on this loop hears anything for as long as it takes
    audios = await asyncio.gather(*(client.synthesize("Hello") for client in clients * 25))
    for client in clients:
        await client.aclose()
    assert speech_sandbox.state()["calls"] == 1
    assert len({audio.data for audio in audios}) == 1 and sum(audio.credits for audio in audios) == 5
