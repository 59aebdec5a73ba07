"""Audio as files. The files are the truth; the index beside them only says who goes first."""

import asyncio
import json
import os
import secrets
import sqlite3
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ..cache import Kept
from ..clock import now
from .disk_claims import Claims
from .disk_database import Database

MAGIC = b"SPK1"
HEADER = struct.Struct(">4sIQd")  # magic, bytes of meta, bytes of audio, born (seconds since 1970)
CRC = struct.Struct(">I")  # of all that precedes it
INLINE_MAX = 256 * 1024  # bytes: below, a thread takes longer than the reading, or the writing
UNTOLD_MAX = 100  # puts, or hits, before the index hears of them
BEHIND = 0.01  # of all bytes may be new before the index hears of them, so as many are kept free
SWEEP_S = 600.0
TMP_S = 60.0  # older, and its writer is dead
TOLD_S = 1.0  # for which the index need not be asked again how much there is

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


class New(NamedTuple):
    """What the index is still to hear of."""

    born: float
    voice: str | None


class DiskAudio:
    """A get reads a file, a put writes one, and neither asks anybody: the index hears of both in bulk, and before
    anything is evicted. Small files are read and written on the loop's thread: a tenth of a millisecond, but for a cold
    read, or for the moments in which the kernel holds back whoever writes, because the disk can't keep up.
    """

    def __init__(self, root: Path, bytes_max: int, age_s_max: float, wall: Callable[[], float] = time.time) -> None:
        self._folder, self._index = root / "audio", Database(root, "audio/index.sqlite", INDEX)
        self._bytes_max, self._age_s_max, self._wall = bytes_max, age_s_max, wall
        self._room = (1 - BEHIND) * bytes_max
        self._heard: dict[str, float] = {}
        self._came: dict[str, New] = {}
        self._behind = 0  # bytes of these
        self._hits = 0
        self._size, self._told_at = (0, 0), float("-inf")  # entries and bytes, as the index has them
        self._swept = -SWEEP_S
        self._claims = Claims(root)

    def close(self) -> None:
        if self._came:
            with suppress(OSError, sqlite3.Error):  # then a sweep finds them
                self._catch_up()
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
        if self._hits % UNTOLD_MAX == 0:
            await asyncio.to_thread(self._catch_up)
        return found

    async def put(self, key: str, kept: Kept) -> None:
        if self._wall() - self._swept >= SWEEP_S:
            await asyncio.to_thread(self._sweep)
        born, path = self._wall(), self._path(key)
        raw = _encode(kept, born)
        if len(raw) > self._room:
            return
        known = path.exists()
        if len(raw) <= INLINE_MAX:
            _write(path, raw)
        else:
            await asyncio.to_thread(_write, path, raw)
        self._behind += len(raw)
        self._came[key] = New(born, kept.meta.get("voice_id"))
        if known or len(self._came) >= UNTOLD_MAX or self._room + self._behind > self._bytes_max:
            await asyncio.to_thread(self._catch_up)

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
        if now() - self._told_at > TOLD_S:
            self._told_at = now()
            await asyncio.to_thread(self._catch_up)
        entries, size = self._size
        return {"entries": entries + len(self._came), "bytes": size + self._behind, "bytes_max": self._bytes_max}

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.audio"

    def _load(self, path: Path) -> tuple[Kept, float] | None:
        """What a file holds; one that is torn, or not ours, is removed."""
        if (entry := _decode(path.read_bytes())) is None:
            path.unlink(missing_ok=True)
            return None
        kept, born = entry
        return kept, max(0.0, self._wall() - born)

    def _purge(self, voice_id: str | None) -> int:
        self._sweep()  # so that no file is missed for want of a row
        with self._index.step() as db:
            chosen = "SELECT key FROM entries WHERE ?1 IS NULL OR voice = ?1"
            removed = self._remove(db, db.execute(chosen, (voice_id,)).fetchall())
            self._bound(db)
            return removed

    def _catch_up(self) -> None:
        with self._index.step() as db:
            self._bound(db)

    def _enter(self, db: sqlite3.Connection, key: str, new: New) -> None:
        """Unless it was purged meanwhile. Another may have written it again: its size is the file's."""
        with suppress(FileNotFoundError):
            size = self._path(key).stat().st_size
            db.execute("DELETE FROM entries WHERE key = ?", (key,))
            db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (key, size, new.born, *new))

    def _remove(self, db: sqlite3.Connection, keys: list[tuple[str]]) -> int:
        for (key,) in keys:
            self._path(key).unlink(missing_ok=True)
        db.executemany("DELETE FROM entries WHERE key = ?", keys)
        return len(keys)

    def _bound(self, db: sqlite3.Connection) -> None:
        """Write down what came and what was heard; then the least recently heard go, until the rest fits."""
        came, self._came, self._behind = self._came, {}, 0
        for key, new in came.items():
            self._enter(db, key, new)
        heard, self._heard = self._heard, {}
        db.executemany("UPDATE entries SET used = ? WHERE key = ?", [(when, key) for key, when in list(heard.items())])
        while (size := db.execute("SELECT entries, bytes FROM total").fetchone())[1] > self._room:
            self._remove(db, db.execute("SELECT key FROM entries ORDER BY used LIMIT 1").fetchall())
        self._size = size

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
                self._enter(db, key, New(self._swept - age_s, kept.meta.get("voice_id")))


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
    """Whole or not at all, whoever reads or is killed meanwhile."""
    draft = f"{path.with_suffix('')}.{secrets.token_hex(8)}.tmp"
    try:
        with open(draft, "xb", opener=_private) as file:
            file.write(raw)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
