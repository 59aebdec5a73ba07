"""How a process tells Redis what has changed with it: in steps, one at a time, so that they arrive in order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from .redis_connection import PATIENCE_S

BEAT_S, RETRY_S, SOON_S = 1.0, 0.25, 0.02
T = TypeVar("T")
logger = logging.getLogger(__name__)


class Teller(Generic[T]):
    """Whoever asks during a step waits for the next one, which tells of all that happened in the meantime.

    ``step`` tells, gives the answer, and raises what kept it from one. There is one a second at least, from the first
    use on, and while Redis is ``away`` one every RETRY_S, to find it back; ``beat`` is called before each of those.
    """

    def __init__(self, what: str, step: Callable[[], Awaitable[T]], beat: Callable[[], None]) -> None:
        self.away = False
        self._what, self._step, self._beat = what, step, beat
        self._next: asyncio.Future[T | Exception] | None = None  # what the next step will hear
        self._stepping: asyncio.Task[None] | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None

    async def told(self) -> T:
        """All that is so now is known in Redis: its answer. Raises ConnectionError, or TimeoutError."""
        coming = self._go()
        async with asyncio.timeout(PATIENCE_S):
            heard = await asyncio.shield(coming)
        if isinstance(heard, Exception):
            raise ConnectionError(f"Redis does not keep {self._what}") from heard
        return heard

    def shortly(self) -> None:
        """Nobody waits for what there is to tell: it rides in the next step, or goes by itself SOON_S from now."""
        self.keep_beating()
        if self._soon is None and not self.away:
            self._soon = asyncio.get_running_loop().call_later(SOON_S, self._go)

    def keep_beating(self) -> None:
        if self._beating is None:
            after_s = RETRY_S if self.away else BEAT_S
            self._beating = asyncio.get_running_loop().call_later(after_s, self._on_beat)

    def stop(self) -> None:
        """Not one more step."""
        for ending in (self._beating, self._soon, self._stepping):
            if ending:
                ending.cancel()
        self._beating = self._soon = self._stepping = self._next = None

    def _go(self) -> "asyncio.Future[T | Exception]":
        if self._soon:
            self._soon.cancel()
            self._soon = None
        self.keep_beating()
        self._next = self._next or asyncio.get_running_loop().create_future()
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.create_task(self._step_by_step())
        return self._next

    def _on_beat(self) -> None:
        self._beating = None
        self._beat()
        self._go()

    async def _step_by_step(self) -> None:
        while asked := self._next:
            self._next = None
            asked.set_result(await self._one())

    async def _one(self) -> T | Exception:
        try:
            heard = await self._step()
        except Exception as error:  # whatever it is, this process goes on by itself
            if not self.away:
                logger.warning("Redis does not keep %s for now: %r", self._what, error)
            self.away = True
            return error
        if self.away:
            logger.warning("Redis keeps %s again", self._what)
        self.away = False
        return heard
