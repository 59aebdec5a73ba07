"""One process pays for an audio, the others wait for it: a locked file for each key that is being paid for."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from . import disk_folder

if sys.platform != "win32":  # there, disk.unsupported() says why not
    import fcntl

BELOW = "audio/claims"
POLL_S, POLL_S_MAX, SLOWER = 0.02, 0.1, 1.5


class Claims:
    """A file is removed by whoever has its lock; so a lock counts only if the file is still the one of that name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: set[int] = set()
        os.register_at_fork(after_in_child=self.close)  # the locks would live on in the child

    @asynccontextmanager
    async def claim(self, name: str) -> AsyncIterator[None]:
        """Waits for whoever has it, ours or not. Raises OSError where nothing can be locked."""
        path, wait_s = self._root / BELOW / name, POLL_S
        while (file := self._lock(path)) is None:
            await asyncio.sleep(wait_s)
            wait_s = min(SLOWER * wait_s, POLL_S_MAX)
        try:
            yield
        finally:
            self._release(path, file)

    def close(self) -> None:
        """Give back all."""
        while self._files:
            os.close(self._files.pop())

    def _lock(self, path: Path) -> int | None:
        """The locked file; None if another has it, or has just removed it."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            file = os.open(disk_folder.make(self._root, BELOW) / path.name, os.O_RDWR | os.O_CREAT, 0o600)
        self._files.add(file)
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_ino == path.stat().st_ino:
                return file
        self._close(file)
        return None

    def _release(self, path: Path, file: int) -> None:
        if file in self._files:
            path.unlink(missing_ok=True)
            self._close(file)

    def _close(self, file: int) -> None:
        self._files.remove(file)
        os.close(file)
