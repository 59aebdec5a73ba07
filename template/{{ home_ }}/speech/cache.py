"""Audio that was paid for once and may be heard again.

An entry is fresh for ``ttl_s``; for ``stale_s`` more it may stand in while upstream cannot answer; then it is gone.
What may be kept at all is the request's to say, and whether it ended well the flight's. Keys are hashes.
"""

import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

from .clock import now

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Kept(NamedTuple):
    """One answer. ``meta`` is plain JSON: whose voice it is, by which model; never text."""

    data: bytes
    meta: dict[str, Any]


class AudioStore(Protocol):
    """Where audio lies: bounded in bytes, the least recently heard goes first. It may fail; then it forgets."""

    async def get(self, key: str) -> tuple[Kept, float] | None:
        """The entry and its age in seconds."""

    async def put(self, key: str, kept: Kept) -> None:
        """Whole or not at all, also for whoever reads meanwhile."""

    def claim(self, key: str) -> AbstractAsyncContextManager[tuple[Kept, float] | None]:
        """The right to pay for it, over all processes: waits for whoever has it, then gives what ``get`` would.

        The right ends with the context, and with the process that has it. A store that fails grants it to everybody.
        """

    async def purge(self, voice_id: str | None) -> int:
        """Remove one voice, or all; how many there were."""

    async def stats(self) -> dict[str, int]:
        """``entries``, ``bytes``, ``bytes_max``."""


class AudioCache:
    """Freshness over a store. A store that fails is a miss and one warning, never an error to a caller."""

    def __init__(self, store: AudioStore, *, ttl_s: float, stale_s: float) -> None:
        self._store, self._ttl_s, self._stale_s, self._ill = store, ttl_s, stale_s, False
        self.size: dict[str, int] = {}  # as last seen: asking the store again may take a while

    async def get(self, key: str) -> Kept | None:
        """What is fresh."""
        return await self._aged(key, 0, self._ttl_s)

    async def stale(self, key: str) -> Kept | None:
        """What is too old to be served, unless there is nothing better."""
        return await self._aged(key, self._ttl_s, self._ttl_s + self._stale_s)

    async def keep(self, key: str, kept: Kept) -> None:
        await self._tolerant(self._store.put(key, kept))
        await self.snapshot()

    @asynccontextmanager
    async def claim(self, key: str, refresh: bool) -> AsyncIterator[Kept | None]:
        """None, and nobody else pays for it meanwhile; or what another process has just paid for."""
        asked = now()
        async with self._store.claim(key) as found:
            yield found[0] if found and found[1] < (now() - asked if refresh else self._ttl_s) else None

    async def purge(self, voice_id: str | None = None) -> int:
        """Remove one voice, or all. Raises what the store raises: nobody shall believe in a purge that failed."""
        return await self._store.purge(voice_id)

    async def snapshot(self) -> dict[str, int]:
        """``entries``, ``bytes``, ``bytes_max``; empty while the store fails."""
        self.size = await self._tolerant(self._store.stats()) or {}
        return self.size

    async def _aged(self, key: str, youngest: float, oldest: float) -> Kept | None:
        found = await self._tolerant(self._store.get(key))
        return found[0] if found and youngest <= found[1] < oldest else None

    async def _tolerant(self, work: Awaitable[T]) -> T | None:
        try:
            result, self._ill = await work, False
            return result
        except Exception as error:
            if not self._ill:
                logger.warning("the audio cache fails, every call is a miss until it recovers: %r", error)
            self._ill = True
            return None
