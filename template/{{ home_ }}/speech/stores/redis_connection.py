"""The way to Redis: quick to fail, and nothing is tried again behind our back, for a script may have run unheard."""

import asyncio
import hashlib
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from redis.asyncio import Redis

PATIENCE_S = 0.5


class Script(NamedTuple):
    """One of the ``.lua`` files beside this one. Its first key is the only one it is told; the others begin with it."""

    text: str
    sha: str

    @classmethod
    @cache
    def read(cls, name: str) -> "Script":
        text = Path(__file__).with_name(f"{name}.lua").read_text("utf-8")
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class Connection:
    """One client's, on one loop; opened at the first use. ``prefix`` begins every key: one account."""

    def __init__(self, url: str, account: str) -> None:
        self._url, self.prefix = url, f"speech:{{{account}}}"

    @cached_property
    def redis(self) -> "Redis":
        """It waits as long as it takes, as who listens to a channel wants; ``ask`` does not.

        redis-py tries ten times by default, and so needs 4.5 s to say that nobody is there. Its ``socket_timeout`` is
        a task for each command, a fifth of what that costs, and swallows a cancellation now and then (``wait_for`` of
        Python 3.11): so it is off, whatever the URL says.
        """
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options: dict[str, Any] = {"socket_connect_timeout": PATIENCE_S, "health_check_interval": 0}
        redis = Redis.from_url(self._url, retry=Retry(NoBackoff(), 0), **options)
        redis.connection_pool.connection_kwargs["socket_timeout"] = None
        return redis

    async def ask(self, *words: bytes | str | float) -> Any:
        """What Redis answers within ``PATIENCE_S``. Raises RedisError, OSError."""
        ask: Any = self.redis.execute_command  # may import redis-py, half a second of it: our patience is with Redis
        async with asyncio.timeout(PATIENCE_S):
            return await ask(*words)

    async def run(self, script: Script, *args: bytes | str | float) -> Any:
        """What it answers to its key and its arguments. Raises RedisError, OSError."""
        from redis.exceptions import NoScriptError

        try:
            return await self.ask("EVALSHA", script.sha, 1, *args)
        except NoScriptError:
            return await self.ask("EVAL", script.text, 1, *args)

    async def aclose(self) -> None:
        if "redis" in self.__dict__:
            await self.__dict__.pop("redis").aclose()
