"""What memory alone can say: its clock is the loop's, and it forgets."""

import asyncio
from pathlib import Path

import pytest
from rooms import a_room, key

from speech.cache import AudioCache, Kept
from speech.stores import memory

pytestmark = pytest.mark.virtual


async def test_an_entry_ages_by_the_second(tmp_path: Path) -> None:
    """Fresh to the end of its time, then stale, then gone and its bytes given back."""
    cache = AudioCache(memory.open(a_room(tmp_path)).audio, ttl_s=60, stale_s=60)
    await cache.keep(key(1), Kept(b"audio", {}))
    await asyncio.sleep(59)
    assert await cache.get(key(1)) is not None
    await asyncio.sleep(2)
    assert await cache.get(key(1)) is None and await cache.stale(key(1)) is not None
    await asyncio.sleep(60)
    assert await cache.stale(key(1)) is None
    assert (await cache.snapshot())["bytes"] == 0


async def test_nothing_is_shared_and_nothing_written(tmp_path: Path) -> None:
    """Each opening is a memory of its own."""
    first, second = memory.open(a_room(tmp_path)), memory.open(a_room(tmp_path))
    await first.audio.put(key(1), Kept(b"audio", {}))
    assert await second.audio.get(key(1)) is None
    assert not list(tmp_path.iterdir())


def test_it_works_everywhere() -> None:
    """No system lacks memory."""
    assert memory.unsupported() is None
