"""STAND-IN until the ledger arrives from its own branch: this process's sums, gone with it."""

from collections import defaultdict
from collections.abc import Mapping

from ..ledger import Reservation, Row, Usage
from .redis_connection import Connection


class RedisLedger:
    def __init__(self, _connection: Connection) -> None:
        self._rows: defaultdict[Row, Usage] = defaultdict(Usage)
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._open: set[str] = set()

    async def reserve(self, reservation: Reservation, limits: Mapping[str, float]) -> str | None:
        if refusing := reservation.refusing(limits, self._spent):
            return refusing
        self._open.add(reservation.id)
        self._spend(reservation.row, reservation.charge.usd)
        return None

    async def sent(self, reservation: Reservation) -> None:
        pass

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        if reservation.id in self._open:
            self._open.remove(reservation.id)
            self._spend(reservation.row, usage.spent_usd - reservation.charge.usd)
            self._rows[reservation.row] += usage

    async def add(self, row: Row, usage: Usage) -> None:
        self._rows[row] += usage

    async def rows(self) -> dict[Row, Usage]:
        return {row: usage for row, usage in self._rows.items() if usage != Usage()}

    async def close(self) -> None:
        pass

    def _spend(self, row: Row, usd: float) -> None:
        for account in row.accounts:
            self._spent[account] += usd
