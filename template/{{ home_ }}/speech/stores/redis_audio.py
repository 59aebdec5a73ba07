"""Audio in Redis, and the right to pay for it: one process asks upstream, the others wait and hear what it kept.

An entry is a header, its meta and the audio in one value. What goes first is said by an index of our own, so a
``maxmemory`` of the server is not needed; the server's clock is everybody's.
"""

import asyncio
import json
import secrets
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ..cache import Kept
from ..clock import now
from .redis_inbox import Ear, Inbox
from .redis_scripts import HOLD_S, Away, Heartbeat, Scripts

MAGIC = b"SPK1"
HEADER = struct.Struct(">4sI")  # magic, bytes of meta
TOLD_S = 0.1  # for which what a put said of the size need not be asked again
LOOK_S = 1.0  # who waits looks for himself, should the message be lost
EARLY_S = 0.05  # for which a right is kept that came with a miss: who missed will claim it in the next step of the loop

Found = tuple[Kept, float]  # and its age in seconds


class RedisAudio:
    """The state is whose right we have (``_claims``: by key the token) or have early (``_early``, the same), and who
    waits for another's (``_waiting``).
    """

    def __init__(self, scripts: Scripts, inbox: Inbox, bytes_max: int, age_s_max: float) -> None:
        self._scripts, self._inbox = scripts, inbox
        self._bytes_max, self._age_us_max = bytes_max, max(1, int(age_s_max * 1e6))
        self._size, self._told_at = [0, 0], float("-inf")
        self._claims: dict[str, str] = {}
        self._early: dict[str, str] = {}
        self._waiting: dict[asyncio.Event, str] = {}
        self._heartbeat = Heartbeat(self._claims, self._renew)
        inbox.listen("freed", Ear(self._freed))

    async def get(self, key: str) -> Found | None:
        """Who misses is about to pay for it: so the right to that comes in the same step."""
        if key in self._claims or key in self._early or not self._bytes_max:
            return _found(*await self._run("get", key) or ())
        token = secrets.token_hex(8)
        said, *found = await self._ask(key, token, self._age_us_max)
        if said == b"yours":
            self._early[key] = token
            asyncio.get_running_loop().call_later(EARLY_S, self._give_up, key, token)
        return _found(*found) if said == b"found" else None

    async def put(self, key: str, kept: Kept) -> None:
        """In the same step the right to it ends, so who has waited is woken when it is there."""
        voice, token = kept.meta.get("voice_id") or "", self._claims.get(key, "")
        bounds = self._bytes_max, self._age_us_max
        self._size, self._told_at = await self._run("put", key, _encode(kept), voice, *bounds, token), now()
        if token:
            self._claims.pop(key, None)

    @asynccontextmanager
    async def claim(self, key: str) -> AsyncIterator[Found | None]:
        early = self._early.pop(key, "")
        token = early or secrets.token_hex(8)
        try:
            if early:
                self._have(key, early)
            yield None if early or not self._bytes_max else await self._claim(key, token)
        finally:
            if self._claims.get(key) == token:
                del self._claims[key]
                await asyncio.shield(self._scripts.later(self._run("free", key, token)))

    async def purge(self, voice_id: str | None) -> int:
        self._told_at = float("-inf")
        return int(await self._run("purge", voice_id or ""))

    async def stats(self) -> dict[str, int]:
        if now() - self._told_at > TOLD_S:
            self._size = await self._run("stats", self._age_us_max)
        entries, size = self._size
        return {"entries": entries, "bytes": size, "bytes_max": self._bytes_max}

    async def aclose(self) -> None:
        for key, token in list(self._early.items()):
            self._give_up(key, token)
        await self._heartbeat.aclose()

    async def _claim(self, key: str, token: str) -> Found | None:
        """Wait for the right, or for what another paid for. Where Redis is away nobody can be waited for."""
        asked, freed = now(), asyncio.Event()
        self._waiting[freed] = key
        try:
            while True:
                said, *rest = await self._ask(key, token, int((now() - asked) * 1e6))
                if said == b"yours":
                    self._have(key, token)
                if said != b"wait":
                    return _found(*rest)
                await self._wait(freed, rest[0] / 1000)
        except Away:
            return None
        finally:
            del self._waiting[freed]

    def _have(self, key: str, token: str) -> None:
        self._claims[key] = token
        self._heartbeat.start()

    def _give_up(self, key: str, token: str) -> None:
        if self._early.get(key) == token:
            del self._early[key]
            self._scripts.later(self._run("free", key, token))

    async def _ask(self, key: str, token: str, younger_us: int) -> Any:
        ask = self._run("claim", key, token, int(HOLD_S * 1000), younger_us)
        return await self._scripts.take(ask, undo=lambda: self._run("free", key, token))

    async def _wait(self, freed: asyncio.Event, lapses_s: float) -> None:
        self._inbox.open()
        with suppress(TimeoutError):
            await asyncio.wait_for(freed.wait(), min(max(lapses_s, 0.0) + 0.01, LOOK_S))
        freed.clear()

    def _freed(self, key: bytes) -> None:
        for freed, waited_for in self._waiting.items():
            if waited_for == key.decode():
                freed.set()

    async def _renew(self) -> None:
        pairs = (word for pair in self._claims.items() for word in pair)
        await self._run("renew", int(HOLD_S * 1000), *pairs)

    async def _run(self, step: str, *args: Any) -> Any:
        return await self._scripts.run("redis_audio", step, *args)


def _encode(kept: Kept) -> bytes:
    meta = json.dumps(kept.meta).encode()
    return HEADER.pack(MAGIC, len(meta)) + meta + kept.data


def _found(entry: bytes | None = None, age_us: int = 0) -> Found | None:
    """None for what is not there, or was not written by ``_encode``."""
    if entry is None or not entry.startswith(MAGIC):
        return None
    end = HEADER.size + HEADER.unpack_from(entry)[1]
    return Kept(entry[end:], json.loads(entry[HEADER.size : end])), age_us / 1e6
