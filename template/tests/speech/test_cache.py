"""The audio cache, on whichever store was rendered."""

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

import pytest
from rooms import a_room, key

from speech.answers import store
from speech.cache import AudioCache, Kept
from speech.ledger import Budgets, Charge, Ledger
from speech.stores import Stores

META = {"media_type": "audio/mpeg", "voice_id": "anna", "characters": 12, "credits": 6, "cost_usd": 0.00048}
ENTRY = Kept(b"\x00\xff" * 50_000, META)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = store.open(a_room(tmp_path, bytes_max=250_000))
    yield opened
    await opened.close()


@pytest.fixture
def cache(stores: Stores) -> AudioCache:
    return AudioCache(stores.audio, ttl_s=60, stale_s=60)


class Told:
    """A store that says what it is told to: an age, or that it is broken."""

    def __init__(self, age_s: float = 0.0) -> None:
        self.age_s, self.broken = age_s, False

    async def get(self, key: str) -> tuple[Kept, float] | None:
        self._check()
        return ENTRY, self.age_s

    async def put(self, key: str, kept: Kept) -> None:
        self._check()

    def claim(self, key: str) -> AbstractAsyncContextManager[tuple[Kept, float]]:
        return nullcontext((ENTRY, self.age_s))

    async def purge(self, voice_id: str | None) -> int:
        self._check()
        return 0

    async def stats(self) -> dict[str, int]:
        self._check()
        return {"entries": 1, "bytes": 1, "bytes_max": 1}

    def _check(self) -> None:
        if self.broken:
            raise OSError("disk full")


async def test_what_is_kept_comes_back_as_it_was(cache: AudioCache) -> None:
    """Byte for byte, with all that was said about it."""
    await cache.keep(key(1), ENTRY)
    assert await cache.get(key(1)) == ENTRY


async def test_an_unknown_key_is_a_miss(cache: AudioCache) -> None:
    """Fresh or stale: there is nothing."""
    assert await cache.get(key(1)) is None
    assert await cache.stale(key(1)) is None


@pytest.mark.parametrize(
    ("age_s", "fresh", "stale"), [(0, True, False), (9.9, True, False), (10, False, True), (14.9, False, True)]
)
async def test_an_entry_is_fresh_then_stale(age_s: float, fresh: bool, stale: bool) -> None:
    """For ttl_s it is served, for stale_s more only when nothing else can be."""
    cache = AudioCache(Told(age_s), ttl_s=10, stale_s=5)
    assert (await cache.get("k") is not None, await cache.stale("k") is not None) == (fresh, stale)


async def test_an_entry_older_than_both_is_gone() -> None:
    """Nobody hears what is older than ttl_s + stale_s."""
    cache = AudioCache(Told(15), ttl_s=10, stale_s=5)
    assert await cache.get("k") is await cache.stale("k") is None


async def test_a_store_counts_the_age_itself(stores: Stores) -> None:
    """With no time to be fresh in, an entry is stale at once."""
    cache = AudioCache(stores.audio, ttl_s=0, stale_s=60)
    await cache.keep(key(1), ENTRY)
    assert await cache.get(key(1)) is None
    assert await cache.stale(key(1)) == ENTRY


async def test_a_failing_store_is_a_miss_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A full disk must not stop anybody from speaking, nor flood the log."""
    told = Told()
    told.broken = True
    cache = AudioCache(told, ttl_s=60, stale_s=60)
    with caplog.at_level(logging.WARNING):
        await cache.keep("k", ENTRY)
        assert await cache.get("k") is await cache.stale("k") is None
        assert await cache.snapshot() == {}
    assert len(caplog.records) == 1 and "disk full" in caplog.text


async def test_a_store_that_recovered_may_be_warned_of_again(caplog: pytest.LogCaptureFixture) -> None:
    """One warning for each outage."""
    told = Told()
    cache = AudioCache(told, ttl_s=60, stale_s=60)
    for told.broken in (True, False, True, False):
        await cache.get("k")
    assert await cache.get("k") == ENTRY
    assert len(caplog.records) == 2


async def test_a_purge_that_fails_says_so() -> None:
    """An operator must not believe that a voice is gone while it isn't."""
    told = Told()
    told.broken = True
    with pytest.raises(OSError, match="disk full"):
        await AudioCache(told, ttl_s=60, stale_s=60).purge()


async def test_the_least_recently_heard_goes_first(cache: AudioCache) -> None:
    """Two of three fit: what was heard last stays."""
    await cache.keep(key(1), ENTRY)
    await cache.keep(key(2), ENTRY)
    await cache.get(key(1))
    await cache.keep(key(3), ENTRY)
    assert [await cache.get(key(n)) is not None for n in (1, 2, 3)] == [True, False, True]


async def test_bytes_are_bounded(cache: AudioCache) -> None:
    """However much is kept, the sum stays below what was allowed, and is told."""
    for number in range(20):
        await cache.keep(key(number), ENTRY)
    assert cache.size["entries"] == 2
    assert 200_000 <= cache.size["bytes"] <= cache.size["bytes_max"] == 250_000


async def test_an_entry_that_is_too_large_evicts_nobody(cache: AudioCache) -> None:
    """It isn't stored; the others stay."""
    await cache.keep(key(1), ENTRY)
    await cache.keep(key(2), Kept(b"x" * 250_001, META))
    assert await cache.get(key(2)) is None
    assert await cache.get(key(1)) == ENTRY


async def test_an_entry_kept_again_counts_once(cache: AudioCache) -> None:
    """The new one is heard, and the sum is of one."""
    await cache.keep(key(1), ENTRY)
    await cache.keep(key(1), Kept(b"new", META))
    assert await cache.get(key(1)) == Kept(b"new", META)
    assert cache.size["entries"] == 1 and cache.size["bytes"] < 5_000


async def test_purging_a_voice_leaves_the_others(cache: AudioCache) -> None:
    """It says how many entries it removed."""
    for number, voice in enumerate(("anna", "bert", "anna")):
        await cache.keep(key(number), Kept(b"audio", META | {"voice_id": voice}))
    assert await cache.purge("anna") == 2
    assert [await cache.get(key(n)) is not None for n in range(3)] == [False, True, False]


async def test_purging_all_touches_audio_only(stores: Stores, cache: AudioCache) -> None:
    """What was spent stays on the books."""
    ledger = Ledger(stores.ledger, Budgets())
    async with await ledger.reserve(Charge("local", "m", 7, 0.1)) as bill:
        bill.billed()
    await cache.keep(key(1), ENTRY)
    assert await cache.purge() == 1
    assert await cache.get(key(1)) is None
    assert (await cache.snapshot())["entries"] == 0
    assert [sums.credits for sums in (await ledger.rows()).values()] == [7]


@pytest.mark.parametrize(("age_s", "refresh", "taken"), [(1, False, True), (61, False, False), (1, True, False)])
async def test_who_waited_for_another_takes_what_is_fresh(age_s: float, refresh: bool, taken: bool) -> None:
    """And who asked for it anew takes nothing that is older than his question."""
    cache = AudioCache(Told(age_s), ttl_s=60, stale_s=60)
    async with cache.claim(key(1), refresh) as found:
        assert found == (ENTRY if taken else None)
