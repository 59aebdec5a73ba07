"""The diary in Redis: a hash a day, gone by itself, and one of texts. Losing it loses advice, and no money.

speech:{<account>}:diary:<day>     name -> count, for KEPT_S
speech:{<account>}:diary:texts     name -> text
"""

import asyncio
import datetime
from collections.abc import Mapping
from typing import Any

from . import Room
from .redis_connection import PATIENCE_S, Connection

KEPT_S = 9 * 86400


class RedisNotes:
    """On a connection of its own, asked every few seconds at most."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._root = connection, f"{connection.prefix}:diary"

    async def add(self, days: Mapping[str, Mapping[str, float]]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._connection.redis.pipeline(transaction=True) as steps:
            for day, counts in days.items():
                for name, number in counts.items():
                    steps.hincrbyfloat(f"{self._root}:{day}", name, number)
                steps.expire(f"{self._root}:{day}", KEPT_S)
            await steps.execute()

    async def since(self, day: str) -> dict[str, dict[str, float]]:
        today, days = datetime.datetime.now(datetime.UTC).date(), {}
        first = datetime.date.fromisoformat(day)
        for later in range((today - first).days + 1):
            each = (first + datetime.timedelta(days=later)).isoformat()
            said: Any = await self._connection.ask("HGETALL", f"{self._root}:{each}")
            days[each] = {name.decode(): float(number) for name, number in said.items()}
        return days

    async def put(self, name: str, text: str) -> None:
        await self._connection.ask("HSET", f"{self._root}:texts", name, text)

    async def get(self, name: str) -> str | None:
        text: Any = await self._connection.ask("HGET", f"{self._root}:texts", name)
        return text.decode() if text else None

    async def close(self) -> None:
        await self._connection.aclose()


def open(room: Room) -> RedisNotes:
    return RedisNotes(Connection(room.redis_url, room.account))
