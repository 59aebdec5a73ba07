"""How the stores speak with Redis: a script is one step, and a step may have been done though nobody heard of it.

Who holds something holds it for ``HOLD_S`` and says so again every ``BEAT_S``: a process that is killed says no more,
and what it held is free.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sized
from contextlib import suppress
from typing import Any, TypeVar

from ..clock import now
from .redis_connection import Connection, Script

T = TypeVar("T")

HOLD_S, BEAT_S = 2.5, 0.75
AT_ONCE = 8  # steps; Redis does one after the other anyway, and each needs a connection
AWAY_S = 1.0  # for which who did not answer isn't asked again, so that an outage costs one wait and not one a call


class Away(OSError):
    """Redis can't be reached, or refuses. No URL in it."""


class Scripts:
    """One client's conversation. The state is when Redis may be asked again, and what goes on though nobody waits."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._turns = connection, asyncio.Semaphore(AT_ONCE)
        self._ask_again_at = float("-inf")
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def state(self) -> str:
        return "alone" if now() < self._ask_again_at else "joined"

    async def run(self, name: str, step: str, *args: bytes | str | float) -> Any:
        """What the function *step* of ``<name>.lua`` answers. Raises Away."""
        async with self._turns:
            return await self._ask(Script.read(name), step, *args)

    async def take(self, step: Awaitable[T], undo: Callable[[], Coroutine[Any, Any, object]]) -> T:
        """What *step* gives. Who is cancelled meanwhile takes nothing: *undo* follows once it has run, for it may have.

        Raises what *step* raises.
        """
        asked = asyncio.ensure_future(step)
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            self.later(_then(asked, undo))
            raise

    def later(self, work: Coroutine[Any, Any, object]) -> "asyncio.Task[object]":
        """Done though nobody waits for it, and whether or not Redis is there. Shielded, it can be waited for."""
        task = asyncio.create_task(_tolerant(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _ask(self, script: Script, *args: bytes | str | float) -> Any:
        from redis.exceptions import RedisError, ResponseError

        if now() < self._ask_again_at:
            raise Away("Redis did not answer a moment ago")
        try:
            return await self._connection.run(script, self._connection.prefix, *args)
        except ResponseError as error:
            raise Away(str(error)) from None
        except (RedisError, OSError) as error:
            self._ask_again_at = now() + AWAY_S
            raise Away(str(error)) from None


class Heartbeat:
    """Renews what is in *held*, every ``BEAT_S``, for as long as there is any."""

    def __init__(self, held: Sized, renew: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self._held, self._renew = held, renew
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """To be called when something was taken."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._beat())

    async def aclose(self) -> None:
        await end(self._task)

    async def _beat(self) -> None:
        while self._held:
            await asyncio.sleep(BEAT_S)
            if self._held:
                await _tolerant(self._renew())


async def end(task: "asyncio.Task[None] | None") -> None:
    """Cancel it until it is."""
    while task and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


async def _then(first: Awaitable[object], then: Callable[[], Coroutine[Any, Any, object]]) -> None:
    with suppress(Away):
        await first
    await then()


async def _tolerant(work: Awaitable[object]) -> None:
    with suppress(Away):
        await work
