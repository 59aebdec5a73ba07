"""In Redis (or Valkey), for all processes of all hosts: audio, money, and who may call next."""

from functools import partial
from typing import Any

from . import Room, Stores
from .redis_connection import Connection
from .redis_limiter import limiter
from .redis_steps import Steps


def open(settings: Room) -> Stores:
    """The same stores for whoever names the same Redis and the same account."""
    connection = Connection(settings.redis_url, settings.account)
    steps = Steps(connection)

    async def close() -> None:
        await steps.aclose()
        await connection.aclose()

    missing: Any = None  # audio, ledger and seats
    return Stores(missing, missing, missing, partial(limiter, steps), close)


def unsupported() -> str | None:
    """It works everywhere."""
    return None
