"""The diary in sqlite, a file of its own: losing it loses advice, and no money."""

from collections.abc import Mapping
from pathlib import Path

from . import Room
from .disk_database import Database

NOTES = """
CREATE TABLE IF NOT EXISTS counts (day, name, number, PRIMARY KEY (day, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts (name PRIMARY KEY, text) WITHOUT ROWID;
"""
ADD = "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number"
KEPT = 8  # days


class DiskNotes:
    """Every method is one transaction on the loop's thread."""

    def __init__(self, root: Path) -> None:
        self._database = Database(root, "diary.sqlite", NOTES)

    async def add(self, days: Mapping[str, Mapping[str, float]]) -> None:
        rows = [(day, name, number) for day, counts in days.items() for name, number in counts.items()]
        with self._database.step() as db:
            db.executemany(ADD, rows)
            oldest = f"-{KEPT} days"
            db.execute("DELETE FROM counts WHERE day < date((SELECT max(day) FROM counts), ?)", (oldest,))

    async def since(self, day: str) -> dict[str, dict[str, float]]:
        days: dict[str, dict[str, float]] = {}
        with self._database.step() as db:
            for each, name, number in db.execute("SELECT * FROM counts WHERE day >= ?", (day,)):
                days.setdefault(each, {})[name] = number
        return days

    async def put(self, name: str, text: str) -> None:
        with self._database.step() as db:
            db.execute("REPLACE INTO texts VALUES (?, ?)", (name, text))

    async def get(self, name: str) -> str | None:
        with self._database.step() as db:
            row = db.execute("SELECT text FROM texts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    async def close(self) -> None:
        self._database.close()


def open(room: Room) -> DiskNotes:
    return DiskNotes(room.folder)
