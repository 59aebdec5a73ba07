"""The way to Redis: quick to fail, and nothing is tried again behind our back, for a script may have run unheard."""

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio import Redis

PATIENCE_S = 0.5
CONNECTIONS = 50


class Connection:
    """One client's, on one loop; opened at the first use. ``prefix`` begins every key: one account."""

    def __init__(self, url: str, account: str) -> None:
        self._url, self.prefix = url, f"speech:{{{account}}}"

    @cached_property
    def redis(self) -> "Redis":
        """For commands, each an answer within ``PATIENCE_S`` or an error."""
        from redis.asyncio import BlockingConnectionPool, Redis

        return Redis(
            connection_pool=BlockingConnectionPool.from_url(
                self._url, max_connections=CONNECTIONS, timeout=PATIENCE_S, socket_timeout=PATIENCE_S, **self._options
            )
        )

    @cached_property
    def inbox(self) -> "Redis":
        """For channels: it waits as long as it takes."""
        from redis.asyncio import Redis

        return Redis.from_url(self._url, socket_timeout=None, **self._options)

    async def aclose(self) -> None:
        for name in ("redis", "inbox"):
            if name in self.__dict__:
                await self.__dict__.pop(name).aclose()

    @cached_property
    def _options(self) -> dict[str, Any]:
        """redis-py tries ten times by default, and so needs 4.5 s to say that nobody is there."""
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        return {"socket_connect_timeout": PATIENCE_S, "health_check_interval": 0, "retry": Retry(NoBackoff(), 0)}


def cancelled() -> int:
    """How often this task was, for redis-py now and then swallows that: it has ``asyncio.wait_for`` of Python 3.11."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0
