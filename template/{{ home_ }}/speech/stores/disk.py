"""In a folder, for all processes of one host: it survives a restart, and ``kill -9`` at any moment.

    audio/<key>.audio    one entry: header, meta, audio. Written beside its place, then renamed into it
    audio/index.sqlite   who goes first. Only an index: a file without a row is adopted, a row without a file is swept
    ledger.sqlite        the money
    owners/<id>          locked while the process that set money aside lives

After a power cut sqlite is whole but may lack the last moments: compare with ElevenLabs' own figures then. An entry
that was torn counts as absent. Not for network file systems: WAL and ``flock`` want one kernel.
"""

import asyncio
import json
import os
import secrets
import sqlite3
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..cache import Kept
from ..ledger import Cap, Charge, Reservation, Row, Usage
from . import Room, Stores

if sys.platform != "win32":
    import fcntl

MAGIC = b"SPK1"
HEADER = struct.Struct(">4sIQd")  # magic, bytes of meta, bytes of audio, born (seconds since 1970)
CRC = struct.Struct(">I")  # of all that precedes it
INLINE_MAX = 256 * 1024  # bytes: below, a thread takes longer than the reading
HEARD_MAX = 100  # entries: hits that may be unknown to the index
SWEEP_S = 600.0
TMP_S = 60.0  # older, and its writer is dead

INDEX = """
CREATE TABLE IF NOT EXISTS entries (key PRIMARY KEY, size, used, born, voice) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON entries (used);
CREATE TABLE IF NOT EXISTS total (one PRIMARY KEY, entries, bytes);
INSERT OR IGNORE INTO total VALUES (1, 0, 0);
CREATE TRIGGER IF NOT EXISTS came AFTER INSERT ON entries
    BEGIN UPDATE total SET entries = entries + 1, bytes = bytes + new.size; END;
CREATE TRIGGER IF NOT EXISTS went AFTER DELETE ON entries
    BEGIN UPDATE total SET entries = entries - 1, bytes = bytes - old.size; END;
"""


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


class _Database:
    """One sqlite file, for threads and processes. A connection must not cross a fork, so it is closed before one."""

    def __init__(self, root: Path, name: str, schema: str) -> None:
        self._root, self._path, self._schema = root, root / name, schema
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        os.register_at_fork(before=self._pause, after_in_parent=self._lock.release, after_in_child=self._lock.release)

    @contextmanager
    def step(self) -> Iterator[sqlite3.Connection]:
        """One transaction: others see all of it, or nothing."""
        with self._lock:
            self._connection = self._connection or self._connect()
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection

    def close(self) -> None:
        self._pause()
        self._lock.release()

    def _pause(self) -> None:
        self._lock.acquire()
        if self._connection:
            self._connection.close()
        self._connection = None

    def _connect(self) -> sqlite3.Connection:
        _make_folders(self._root)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # sqlite's other files take after it
        connection = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA page_size = 1024")  # rows are short, and whole pages are written
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(self._schema)
        return connection


def _make_folders(root: Path) -> None:
    for path in (root, root / "audio", root / "owners"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (ignore := root / ".gitignore").exists():
        ignore.write_text("*\n")


class DiskAudio:
    """The files are the truth: a get reads one and asks nobody. The index is for bounds, and hits reach it in bulk."""

    def __init__(self, root: Path, bytes_max: int, age_s_max: float, wall: Callable[[], float] = time.time) -> None:
        self._folder, self._index = root / "audio", _Database(root, "audio/index.sqlite", INDEX)
        self._bytes_max, self._age_s_max, self._wall = bytes_max, age_s_max, wall
        self._heard: dict[str, float] = {}
        self._swept = -SWEEP_S
        self.close = self._index.close

    async def get(self, key: str) -> tuple[Kept, float] | None:
        path = self._path(key)
        try:
            small = path.stat().st_size <= INLINE_MAX
            found = self._load(path) if small else await asyncio.to_thread(self._load, path)
        except FileNotFoundError:
            return None
        self._heard[key] = self._wall()
        if len(self._heard) >= HEARD_MAX:
            await asyncio.to_thread(self._note_heard)
        return found

    async def put(self, key: str, kept: Kept) -> None:
        await asyncio.to_thread(self._put, key, kept)

    async def purge(self, voice_id: str | None) -> int:
        return await asyncio.to_thread(self._purge, voice_id)

    async def stats(self) -> dict[str, int]:
        return await asyncio.to_thread(self._stats)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.audio"

    def _load(self, path: Path) -> tuple[Kept, float] | None:
        """What a file holds; one that is torn, or not ours, is removed."""
        if (entry := _decode(path.read_bytes())) is None:
            path.unlink(missing_ok=True)
            return None
        kept, born = entry
        return kept, max(0.0, self._wall() - born)

    def _put(self, key: str, kept: Kept) -> None:
        if self._wall() - self._swept >= SWEEP_S:
            self._sweep()
        born = self._wall()
        raw = _encode(kept, born)
        if len(raw) > self._bytes_max:
            return
        _write(self._path(key), raw)
        with self._index.step() as db:
            self._enter(db, key, len(raw), born, kept)
            self._bound(db)

    def _purge(self, voice_id: str | None) -> int:
        self._sweep()  # so that no file is missed for want of a row
        with self._index.step() as db:
            chosen = "SELECT key FROM entries WHERE ?1 IS NULL OR voice = ?1"
            return self._remove(db, db.execute(chosen, (voice_id,)).fetchall())

    def _stats(self) -> dict[str, int]:
        with self._index.step() as db:
            entries, size = db.execute("SELECT entries, bytes FROM total").fetchone()
        return {"entries": entries, "bytes": size, "bytes_max": self._bytes_max}

    def _note_heard(self) -> None:
        with self._index.step() as db:
            self._bound(db)

    def _enter(self, db: sqlite3.Connection, key: str, size: int, born: float, kept: Kept) -> None:
        db.execute("DELETE FROM entries WHERE key = ?", (key,))
        db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (key, size, born, born, kept.meta.get("voice_id")))

    def _remove(self, db: sqlite3.Connection, keys: list[tuple[str]]) -> int:
        for (key,) in keys:
            self._path(key).unlink(missing_ok=True)
        db.executemany("DELETE FROM entries WHERE key = ?", keys)
        return len(keys)

    def _bound(self, db: sqlite3.Connection) -> None:
        """Write down what was heard; then the least recently heard go, until the rest fits."""
        heard, self._heard = self._heard, {}
        db.executemany("UPDATE entries SET used = ? WHERE key = ?", [(when, key) for key, when in list(heard.items())])
        while db.execute("SELECT bytes FROM total").fetchone()[0] > self._bytes_max:
            self._remove(db, db.execute("SELECT key FROM entries ORDER BY used LIMIT 1").fetchall())

    def _sweep(self) -> None:
        """Bring folder and index together again, and drop what is too old for anybody."""
        self._swept = self._wall()
        with self._index.step() as db:
            rows = {key for (key,) in db.execute("SELECT key FROM entries")}
            files = {path.stem for path in self._folder.glob("*.audio")}
            self._remove(db, [(key,) for key in rows - files])
            for key in files - rows:
                self._adopt(db, key)
            old = db.execute("SELECT key FROM entries WHERE born <= ?", (self._swept - self._age_s_max,)).fetchall()
            self._remove(db, old)
            self._bound(db)
        for path in self._folder.glob("*.tmp"):
            with suppress(FileNotFoundError):
                if self._swept - path.stat().st_mtime > TMP_S:
                    path.unlink()

    def _adopt(self, db: sqlite3.Connection, key: str) -> None:
        with suppress(FileNotFoundError):
            if found := self._load(self._path(key)):
                kept, age_s = found
                self._enter(db, key, self._path(key).stat().st_size, self._swept - age_s, kept)


def _encode(kept: Kept, born: float) -> bytes:
    meta = json.dumps(kept.meta).encode()
    raw = HEADER.pack(MAGIC, len(meta), len(kept.data), born) + meta + kept.data
    return raw + CRC.pack(zlib.crc32(raw))


def _decode(raw: bytes) -> tuple[Kept, float] | None:
    """None for what is torn, or was not written by ``_encode``."""
    if len(raw) < HEADER.size + CRC.size or not raw.startswith(MAGIC):
        return None
    _, meta_bytes, data_bytes, born = HEADER.unpack_from(raw)
    middle, end = HEADER.size + meta_bytes, HEADER.size + meta_bytes + data_bytes
    if len(raw) != end + CRC.size or CRC.unpack_from(raw, end)[0] != zlib.crc32(memoryview(raw)[:end]):
        return None
    return Kept(raw[middle:end], json.loads(raw[HEADER.size : middle])), born


def _write(path: Path, raw: bytes) -> None:
    """Whole or not at all, whoever reads or is killed meanwhile. ``mkstemp`` gives 0600 and a name nobody shares."""
    handle, name = tempfile.mkstemp(".tmp", f"{path.stem}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


class DiskLedger:
    """Every method is one transaction on the loop's thread: tens of microseconds, and nothing awaits in between."""

    def __init__(self, root: Path) -> None:
        self._database = _Database(root, "ledger.sqlite", LEDGER)
        self._owners = root / "owners"
        self._owner: tuple[str, int] | None = None  # our id, and the locked file that proves we live
        os.register_at_fork(after_in_child=self._leave)  # the lock would live on in the child

    async def reserve(self, reservation: Reservation, caps: Sequence[Cap]) -> Cap | None:
        with self._database.step() as db:
            refusing = self._refusing(db, reservation, caps)
            if refusing and self._recover(db):
                refusing = self._refusing(db, reservation, caps)
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

    async def open_reservations(self) -> int:
        with self._database.step() as db:
            self._recover(db)
            return int(db.execute("SELECT count(*) FROM held").fetchone()[0])

    def close(self) -> None:
        self._database.close()
        self._leave()

    def _leave(self) -> None:
        if self._owner:
            os.close(self._owner[1])
        self._owner = None

    def _refusing(self, db: sqlite3.Connection, reservation: Reservation, caps: Sequence[Cap]) -> Cap | None:
        for cap in caps:
            spent = db.execute("SELECT usd FROM spent WHERE account = ?", (cap.account,)).fetchone() or (0.0,)
            if cap.refuses(spent[0], reservation.charge):
                return cap
        return None

    def _hold(self, db: sqlite3.Connection, reservation: Reservation) -> None:
        self._owner = self._owner or self._arrive()
        charge = reservation.charge
        held = (reservation.id, self._owner[0], 0, *reservation.row, charge.credits, charge.usd)
        db.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?)", held)
        self._spend(db, reservation, charge.usd)

    def _settle(self, db: sqlite3.Connection, reservation: Reservation, usage: Usage) -> None:
        if db.execute("DELETE FROM held WHERE id = ?", (reservation.id,)).rowcount:
            self._spend(db, reservation, usage.spent_usd - reservation.charge.usd)
            self._add(db, reservation.row, usage)

    def _add(self, db: sqlite3.Connection, row: Row, usage: Usage) -> None:
        if usage != Usage():
            db.execute(ADD, (*row, *vars(usage).values()))

    def _spend(self, db: sqlite3.Connection, reservation: Reservation, usd: float) -> None:
        if usd:
            db.executemany(SPEND, [(account, usd) for account in reservation.accounts])

    def _arrive(self) -> tuple[str, int]:
        """Within a step, as ``_living`` is: so nobody sees the file before it is locked."""
        name = secrets.token_hex(8)
        handle = os.open(self._owners / name, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        return name, handle

    def _living(self) -> set[str]:
        """The owners whose lock is held; the files of the others are removed."""
        living = set()
        for path in self._owners.iterdir():
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                except BlockingIOError:
                    living.add(path.name)
        return living

    def _recover(self, db: sqlite3.Connection) -> int:
        """Settle for processes that died: what they never sent is free, the rest uncertain. How many there were."""
        living = self._living()
        columns, orphaned = "sent, id, day, caller, model_id, credits, usd", f"owner NOT IN ({_marks(living)})"
        lost = db.execute(f"SELECT {columns} FROM held WHERE {orphaned}", tuple(living)).fetchall()
        for sent, id, day, *charged in lost:
            charge = Charge(*charged)
            self._settle(db, Reservation(id, day, charge), charge.booked("uncertain" if sent else "free"))
        return len(lost)


def open(settings: Room) -> Stores:
    """The same folder for whoever names it. Raises RuntimeError where it can't work at all."""
    if reason := unsupported():
        raise RuntimeError(reason)
    root = Path(settings.cache_dir)
    audio = DiskAudio(root, settings.cache_max_bytes, settings.cache_ttl_s + settings.cache_stale_s)
    ledger = DiskLedger(root)

    def close() -> None:
        audio.close()
        ledger.close()

    return Stores(audio, ledger, close)


def unsupported() -> str | None:
    """Why not here, in one line."""
    if sys.platform == "win32":
        return "the disk store needs flock, which Windows has not; choose cache_backend memory or redis"
    return None
