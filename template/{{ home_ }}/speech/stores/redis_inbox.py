"""What other processes say: one subscription a process, for all who listen."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from .redis_connection import PATIENCE_S, Connection
from .redis_scripts import end

if TYPE_CHECKING:
    from redis.asyncio import Redis

AGAIN_S = 0.5


class Ear(NamedTuple):
    """Who hears a channel. ``joined`` is called whenever we begin to: what was said before, we have missed."""

    heard: Callable[[bytes], None]
    joined: Callable[[], Awaitable[None]] | None = None


class Inbox:
    """It joins again by itself, for ever; so whoever waits for a message looks for himself now and then."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._ears = connection, dict[bytes, Ear]()
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()

    def listen(self, channel: str, ear: Ear) -> None:
        """To be called before ``open``. The channel's name begins as all our names do."""
        self._ears[f"{self._connection.prefix}:{channel}".encode()] = ear

    def open(self) -> None:
        """Begin to listen, if we don't yet."""
        self._task = self._task or asyncio.create_task(self._listen(self._connection.redis))

    async def ready(self) -> None:
        """Open it, and wait until everybody has joined, or it was tried in vain: but once, and not for long."""
        if not self._tried.is_set():
            self.open()  # which may import redis-py, half a second of it: our patience is with Redis
            with suppress(TimeoutError):
                await asyncio.wait_for(self._tried.wait(), PATIENCE_S)
            self._tried.set()

    async def aclose(self) -> None:
        await end(self._task)

    async def _listen(self, redis: "Redis") -> None:
        from redis.exceptions import RedisError

        while True:
            with suppress(RedisError, OSError):
                async with redis.pubsub() as channels:
                    await channels.subscribe(*self._ears)
                    async for message in channels.listen():
                        await self._hear(message)
            self._tried.set()
            await asyncio.sleep(AGAIN_S)

    async def _hear(self, message: dict[str, Any]) -> None:
        ear = self._ears[message["channel"]]
        if message["type"] == "message":
            ear.heard(message["data"])
        elif ear.joined:
            await ear.joined()
            self._tried.set()
