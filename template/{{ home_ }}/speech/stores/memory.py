"""In this process, and gone with it: nothing to install, nothing to clean up."""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext

from ..cache import Kept
from ..clock import now
from ..ledger import Reservation, Row, Usage
from . import Room, Stores


class MemoryAudio:
    """The least recently heard is first in ``_entries``, and first to go."""

    def __init__(self, bytes_max: int, age_s_max: float) -> None:
        self._bytes_max, self._age_s_max, self._bytes = bytes_max, age_s_max, 0
        self._entries: OrderedDict[str, tuple[Kept, float]] = OrderedDict()

    async def get(self, key: str) -> tuple[Kept, float] | None:
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        kept, born = self._entries[key]
        if (age_s := now() - born) < self._age_s_max:
            return kept, age_s
        self._drop(key)
        return None

    async def put(self, key: str, kept: Kept) -> None:
        self._drop(key)
        if _size(kept) > self._bytes_max:
            return
        self._entries[key] = kept, now()
        self._bytes += _size(kept)
        while self._bytes > self._bytes_max:
            self._drop(next(iter(self._entries)))

    def claim(self, _key: str) -> AbstractAsyncContextManager[None]:
        """Nobody else could put anything here: in one process the flights on the board are enough."""
        return nullcontext()

    async def purge(self, voice_id: str | None) -> int:
        doomed = [k for k, (kept, _) in self._entries.items() if voice_id in (None, kept.meta.get("voice_id"))]
        for key in doomed:
            self._drop(key)
        return len(doomed)

    async def stats(self) -> dict[str, int]:
        return {"entries": len(self._entries), "bytes": self._bytes, "bytes_max": self._bytes_max}

    def _drop(self, key: str) -> None:
        if key in self._entries:
            self._bytes -= _size(self._entries.pop(key)[0])


def _size(kept: Kept) -> int:
    return len(kept.data) + 1024  # what an entry takes beside its audio


class MemoryLedger:
    """Plain sums. No method awaits anything, so each is one step for everybody on the loop."""

    def __init__(self) -> None:
        self._rows: defaultdict[Row, Usage] = defaultdict(Usage)
        self._spent: defaultdict[str, float] = defaultdict(float)  # by account, reservations included
        self._open: set[str] = set()

    async def reserve(self, reservation: Reservation, limits: Mapping[str, float]) -> str | None:
        if refusing := reservation.refusing(limits, self._spent):
            return refusing
        self._open.add(reservation.id)
        self._spend(reservation.row, reservation.charge.usd)
        return None

    async def sent(self, reservation: Reservation) -> None:
        """Nobody could find it without this process."""

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        if reservation.id in self._open:
            self._open.remove(reservation.id)
            self._spend(reservation.row, usage.spent_usd - reservation.charge.usd)
            self._rows[reservation.row] += usage

    async def add(self, row: Row, usage: Usage) -> None:
        self._rows[row] += usage

    async def rows(self) -> dict[Row, Usage]:
        return {row: usage for row, usage in self._rows.items() if usage != Usage()}

    def _spend(self, row: Row, usd: float) -> None:
        for account in row.accounts:
            self._spent[account] += usd


class MemorySeats:
    """Requests under way, by caller."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    async def take(self, caller: str, most: int) -> bool:
        if free := self._taken[caller] < most:
            self._taken[caller] += 1
        return free

    async def free(self, caller: str) -> None:
        self._taken -= Counter((caller,))


def open(room: Room) -> Stores:
    """Of its own for each call."""
    return Stores(MemoryAudio(room.bytes_max, room.age_s_max), MemoryLedger(), MemorySeats())


def unsupported() -> str | None:
    """It works everywhere."""
    return None
