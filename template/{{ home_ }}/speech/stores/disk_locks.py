"""Files that are locked while something is under way.

The kernel counts: whoever dies, however it dies, gives back what it held at that instant, and who is paused keeps it.
``flock`` belongs to the open file and not, as ``fcntl``'s locks do, to the process: two clients in one process are two.
"""

import os
import sys
from pathlib import Path

from . import disk_folder

if sys.platform != "win32":  # there, disk.unsupported() says why not
    import fcntl


class Locks:
    """Those of one folder, by name. A file stays open for the next time, and keeps its name for ever: so nobody locks
    one that another has just removed."""

    def __init__(self, root: Path, below: str) -> None:
        self._root, self._below = root, below
        self._files: dict[str, int] = {}
        self._held: set[str] = set()
        os.register_at_fork(after_in_child=self._close)  # they would live on in the child

    @property
    def folder(self) -> Path:
        return self._root / self._below

    def take(self, name: str) -> bool:
        """False if anybody has it, also if it is us."""
        if name in self._held:
            return False
        try:
            fcntl.flock(self._file(name), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._held.add(name)
        return True

    def free(self, name: str) -> None:
        """Give back one that was taken."""
        self._held.discard(name)
        fcntl.flock(self._files[name], fcntl.LOCK_UN)

    def busy(self, name: str) -> bool:
        """Whether anybody has it."""
        if taken := self.take(name):
            self.free(name)
        return not taken

    def close(self) -> None:
        """Give back all, at once, whoever has inherited the files."""
        for name in tuple(self._held):
            self.free(name)
        self._close()

    def _close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        self._held.clear()

    def _file(self, name: str) -> int:
        if name not in self._files:
            path = disk_folder.make(self._root, self._below) / name
            self._files[name] = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        return self._files[name]
