"""The books in sqlite, and whose reservations they are: where a process died, others settle for it."""

import sqlite3
from collections.abc import Collection, Mapping
from pathlib import Path

from ..ledger import Charge, Reservation, Row, Usage
from .disk_database import Database
from .disk_owner import Owner, living


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


SUMS = tuple(vars(Usage()))
LEDGER = f"""
CREATE TABLE IF NOT EXISTS usage
    (day, caller, model_id, {", ".join(SUMS)}, PRIMARY KEY (day, caller, model_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (account PRIMARY KEY, usd) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (id PRIMARY KEY, owner, sent, day, caller, model_id, credits, usd) WITHOUT ROWID;
"""
ADD = f"""
INSERT INTO usage (day, caller, model_id, {", ".join(SUMS)}) VALUES (?, ?, ?, {_marks(SUMS)})
ON CONFLICT DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)}
"""
SPEND = "INSERT INTO spent VALUES (?, ?) ON CONFLICT DO UPDATE SET usd = usd + excluded.usd"


class DiskLedger:
    """Every method is one transaction on the loop's thread: tens of microseconds, and nothing awaits in between."""

    def __init__(self, root: Path) -> None:
        self._database = Database(root, "ledger.sqlite", LEDGER)
        self._root, self._owner = root, Owner(root)

    async def reserve(self, reservation: Reservation, limits: Mapping[str, float]) -> str | None:
        with self._database.step() as db:
            refusing = self._refusing(db, reservation, limits)
            if refusing and self._recover(db):
                refusing = self._refusing(db, reservation, limits)
            if refusing is None:
                self._hold(db, reservation)
            return refusing

    async def sent(self, reservation: Reservation) -> None:
        with self._database.step() as db:
            db.execute("UPDATE held SET sent = 1 WHERE id = ?", (reservation.id,))

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        with self._database.step() as db:
            self._settle(db, reservation, usage)

    async def add(self, row: Row, usage: Usage) -> None:
        with self._database.step() as db:
            self._add(db, row, usage)

    async def rows(self) -> dict[Row, Usage]:
        with self._database.step() as db:
            self._recover(db)
            return {Row(*row[:3]): Usage(*row[3:]) for row in db.execute("SELECT * FROM usage")}

    def close(self) -> None:
        self._database.close()
        self._owner.leave()

    def _refusing(self, db: sqlite3.Connection, reservation: Reservation, limits: Mapping[str, float]) -> str | None:
        spent = db.execute(f"SELECT account, usd FROM spent WHERE account IN ({_marks(limits)})", tuple(limits))
        return reservation.refusing(limits, dict(spent.fetchall()))

    def _hold(self, db: sqlite3.Connection, reservation: Reservation) -> None:
        charge = reservation.charge
        held = (reservation.id, self._owner.path.name, 0, *reservation.row, charge.credits, charge.usd)
        db.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?)", held)
        self._spend(db, reservation.row, charge.usd)

    def _settle(self, db: sqlite3.Connection, reservation: Reservation, usage: Usage) -> None:
        if db.execute("DELETE FROM held WHERE id = ?", (reservation.id,)).rowcount:
            self._spend(db, reservation.row, usage.spent_usd - reservation.charge.usd)
            self._add(db, reservation.row, usage)

    def _add(self, db: sqlite3.Connection, row: Row, usage: Usage) -> None:
        if usage != Usage():
            db.execute(ADD, (*row, *vars(usage).values()))

    def _spend(self, db: sqlite3.Connection, row: Row, usd: float) -> None:
        if usd:
            db.executemany(SPEND, [(account, usd) for account in row.accounts])

    def _recover(self, db: sqlite3.Connection) -> int:
        """Settle for processes that died: what they never sent is free, the rest uncertain. How many there were."""
        alive = living(self._root)
        columns, orphaned = "sent, id, day, caller, model_id, credits, usd", f"owner NOT IN ({_marks(alive)})"
        lost = db.execute(f"SELECT {columns} FROM held WHERE {orphaned}", tuple(alive)).fetchall()
        for sent, id, *row, credits, usd in lost:
            charge = Charge(row[1], row[2], credits, usd)
            self._settle(db, Reservation(id, Row(*row), charge), charge.booked("uncertain" if sent else "free"))
        return len(lost)
