"""A sqlite file that threads and processes share, and that survives a fork and ``kill -9``."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import disk_folder


class Database:
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
        for name in ("audio", "owners"):
            disk_folder.make(self._root, name)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # sqlite's other files take after it
        connection = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA page_size = 1024")  # rows are short, and whole pages are written
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(self._schema)
        return connection
