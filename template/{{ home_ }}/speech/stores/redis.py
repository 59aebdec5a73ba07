"""In Redis (or Valkey), for all processes of all hosts: audio, money, and who may call next.

    speech:{<account>}:audio:*, :claim:*   what was paid for once, and who is paying for what      redis_audio
    speech:{<account>}:seats:*             requests under way, where a caller's number is bounded  redis_seats
    speech:{<account>}:health, :probe:*    what opened, and who asks whether it may close          redis_breaker
    speech:{<account>}:ledger:*            the money                                               redis_ledger
    speech:{<account>}:leases:*            who may call next                                       redis_steps

All keys of an account have one hash tag, so each script has its keys on one node of a cluster. Without Redis every
process goes on for itself, and joins again by itself. An ACL has to allow the channels ``&speech:*``.
"""

from functools import partial
from importlib.util import find_spec

from . import Room, Stores
from .redis_audio import RedisAudio
from .redis_breaker import shared_breakers
from .redis_connection import Connection
from .redis_health import RedisHealth
from .redis_inbox import Inbox
from .redis_ledger import RedisLedger
from .redis_limiter import limiter
from .redis_scripts import Scripts
from .redis_seats import RedisSeats
from .redis_steps import Steps


def open(room: Room) -> Stores:
    """The same stores for whoever names the same Redis and the same account. Raises RuntimeError without redis-py."""
    if reason := unsupported():
        raise RuntimeError(reason)
    connection = Connection(room.redis_url, room.account)
    steps, scripts, inbox = Steps(connection), Scripts(connection), Inbox(connection)
    audio = RedisAudio(scripts, inbox, room.bytes_max, room.age_s_max)
    ledger, seats, health = RedisLedger(connection), RedisSeats(scripts), RedisHealth(scripts, inbox)

    def state() -> dict[str, str]:
        slots = {"slots": steps.state} if steps.pools else {}  # none where everybody only observes
        return slots | {"money": ledger.state, "audio": scripts.state}

    async def close() -> None:
        for part in (steps, inbox, audio, seats, health, scripts):
            await part.aclose()
        await ledger.close()
        await connection.aclose()

    return Stores(
        audio,
        ledger,
        seats,
        limiter=partial(limiter, steps),
        breakers=partial(shared_breakers, health),
        check=partial(_check, connection, room.bytes_max),
        state=state,
        close=close,
    )


def unsupported() -> str | None:
    """Why not here, in one line."""
    if find_spec("redis") is None:
        return "cache_backend redis needs the package redis, which is not installed: pip install 'redis>=6.4,<9'"
    return None


async def _check(connection: Connection, cache_max_bytes: int) -> None:
    """Raise RuntimeError where keys vanish, or are refused, once the server's memory is full.

    Who may not ask for INFO hears nothing.
    """
    from redis.exceptions import NoPermissionError

    try:
        memory = await connection.ask("INFO", "memory")
    except NoPermissionError:
        return
    policy, most = memory["maxmemory_policy"], memory["maxmemory"]
    if policy.startswith("allkeys"):
        raise RuntimeError(f"maxmemory-policy is {policy}, which evicts money too; allowed: noeviction, volatile-*")
    if policy == "noeviction" and 0 < most < cache_max_bytes:
        raise RuntimeError(f"maxmemory is {most} bytes, less than SPEECH_CACHE_MAX_MB: Redis will refuse every write")
