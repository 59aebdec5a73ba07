"""Where audio and the ledger live, and who counts calls. Each module here offers the same two functions:

``open(room)`` gives its Stores. Nothing is touched before the first use, so it is safe to build before a fork.
``unsupported()`` says in one line why it can't work on this machine, or None. ``answers.py`` names the module.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from ..breaker import Breaker, breakers
from ..cache import AudioStore
from ..flight import Seats
from ..ledger import LedgerStore
from ..limiter import Limiter


class Room(NamedTuple):
    """Where a store may keep how much. Audio older than ``age_s_max`` is of no use to anybody.

    ``account`` is whose slots and money these are, in the names of what several accounts share.
    """

    folder: Path
    bytes_max: int
    age_s_max: float
    redis_url: str
    account: str


async def _nothing() -> None:
    """What there is to close where nothing was opened."""


class Stores(NamedTuple):
    """What processes share, or each has for itself.

    ``limiter`` makes a pool's and takes what ``Limiter`` takes; ``breakers`` makes those of all pools. ``check``
    raises, with one line, for what works now and would not in production. ``state`` says of each part that processes
    share whether this one is ``joined`` to the others, ``learning``, ``alone``, or ``idle``, for it was not used yet.
    """

    audio: AudioStore
    ledger: LedgerStore
    seats: Seats
    limiter: Callable[..., Limiter] = Limiter
    breakers: Callable[..., dict[str, Breaker]] = breakers
    check: Callable[[], Awaitable[None]] = _nothing
    state: Callable[[], dict[str, str]] = dict
    close: Callable[[], Awaitable[None]] = _nothing
