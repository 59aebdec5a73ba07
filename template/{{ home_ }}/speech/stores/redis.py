"""In Redis (or Valkey), for all processes of all hosts: audio, money, and who may call next."""

from . import Room, Stores
from .redis_connection import Connection


def open(settings: Room) -> Stores:
    """The same stores for whoever names the same Redis and the same account."""
    connection = Connection(settings.redis_url, settings.account)
    raise NotImplementedError(connection)


def unsupported() -> str | None:
    """It works everywhere."""
    return None
