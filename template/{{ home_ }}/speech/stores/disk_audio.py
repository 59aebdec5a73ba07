"""Audio as files. The files are the truth; the index beside them only says who goes first."""

import asyncio
import json
import os
import sqlite3
import struct
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from ..cache import Kept
from .disk_claims import Claims
from .disk_database import Database

MAGIC = b"SPK1"
HEADER = struct.Struct(">4sIQd")  # magic, bytes of meta, bytes of audio, born (seconds since 1970)
CRC = struct.Struct(">I")  # of all that precedes it
INLINE_MAX = 256 * 1024  # bytes: below, a thread takes longer than the reading
HITS_MAX = 100  # before the index hears of them, if no put tells it
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


class DiskAudio:
    """A get reads one file and asks nobody; hits reach the index in bulk, before anything is evicted."""

    def __init__(self, root: Path, bytes_max: int, age_s_max: float, wall: Callable[[], float] = time.time) -> None:
        self._folder, self._index = root / "audio", Database(root, "audio/index.sqlite", INDEX)
        self._bytes_max, self._age_s_max, self._wall = bytes_max, age_s_max, wall
        self._heard: dict[str, float] = {}
        self._hits = 0
        self._swept = -SWEEP_S
        self._claims = Claims(root)

    def close(self) -> None:
        self._claims.close()
        self._index.close()

    async def get(self, key: str) -> tuple[Kept, float] | None:
        path = self._path(key)
        try:
            small = path.stat().st_size <= INLINE_MAX
            found = self._load(path) if small else await asyncio.to_thread(self._load, path)
        except FileNotFoundError:
            return None
        self._heard[key] = self._wall()
        self._hits += 1
        if self._hits % HITS_MAX == 0:
            await asyncio.to_thread(self._note_heard)
        return found

    async def put(self, key: str, kept: Kept) -> None:
        await asyncio.to_thread(self._put, key, kept)

    @asynccontextmanager
    async def claim(self, key: str) -> AsyncIterator[tuple[Kept, float] | None]:
        """Where nothing can be locked everybody has it."""
        async with AsyncExitStack() as claim:
            found = None
            with suppress(OSError, sqlite3.Error):
                await claim.enter_async_context(self._claims.claim(key))
                found = await self.get(key)
            yield found

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
