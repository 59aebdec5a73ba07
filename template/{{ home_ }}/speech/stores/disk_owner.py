"""A file of each process, locked while it lives: what belongs to one that is no more, the kernel says."""

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

from . import disk_folder

if sys.platform != "win32":  # there, disk.unsupported() says why not
    import fcntl

BELOW = "owners"


class Owner:
    """This process, from the first use on. A forked child is another one."""

    def __init__(self, root: Path) -> None:
        self._root, self._path, self._file = root, root, -1
        os.register_at_fork(after_in_child=self._close)  # the lock would live on in the child

    @property
    def path(self) -> Path:
        """Our file, made and locked. Raises OSError where that can't be."""
        while self._file < 0:
            self._path = disk_folder.make(self._root, BELOW) / secrets.token_hex(8)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if not self._path.exists():  # somebody found it before it was locked
                self._close()
        return self._path

    def leave(self) -> None:
        """Nothing is ours any more."""
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def is_orphaned(path: Path) -> bool:
    """Whether the process whose file this is lives no more. Then the file does not, either."""
    with suppress(FileNotFoundError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):  # it is another's by now
            return False
        path.unlink()
    return True


def living(root: Path) -> set[str]:
    """The names of the processes that live; the files of the others are removed."""
    return {path.name for path in (root / BELOW).iterdir() if not is_orphaned(path)}
