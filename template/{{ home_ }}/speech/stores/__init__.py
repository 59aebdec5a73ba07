"""Where audio and the ledger live. Each module here offers the same two functions, and ``answers.py`` names one:

``open(settings)`` gives its Stores. Nothing is touched before the first use, so it is safe to build before a fork.
``unsupported()`` says in one line why it can't work on this machine, or None.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from ..cache import AudioStore
from ..ledger import LedgerStore


class Room(Protocol):
    """What a store takes from the settings. Audio older than ttl + stale is of no use to anybody."""

    @property
    def cache_dir(self) -> Path: ...
    @property
    def cache_max_bytes(self) -> int: ...
    @property
    def cache_ttl_s(self) -> float: ...
    @property
    def cache_stale_s(self) -> float: ...


class Stores(NamedTuple):
    """A pair that is opened and closed together."""

    audio: AudioStore
    ledger: LedgerStore
    close: Callable[[], None] = lambda: None
