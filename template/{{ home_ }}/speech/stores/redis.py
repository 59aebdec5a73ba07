"""In Redis (or Valkey), for all processes of all hosts: audio, money, and who may call next."""

from typing import Any

from . import Room, Stores
from .redis_connection import Connection
from .redis_ledger import RedisLedger


def open(settings: Room) -> Stores:
    """The same stores for whoever names the same Redis and the same account."""
    connection = Connection(settings.redis_url, settings.account)
    ledger = RedisLedger(connection)
    to_come: Any = None  # audio and seats

    async def close() -> None:
        await ledger.close()
        await connection.aclose()

    return Stores(to_come, ledger, to_come, close=close)


def unsupported() -> str | None:
    """It works everywhere."""
    return None
