"""How many requests a caller has under way, over all processes of this host: one locked file each.

The kernel counts: whoever dies gives its seats back at that instant.
"""

import hashlib
import os
import sys
from collections import defaultdict
from pathlib import Path

if sys.platform != "win32":  # there, disk.unsupported() says why not
    import fcntl


class DiskSeats:
    """The files keep their names for ever, so that nobody locks one that another has just removed."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "seats"
        self._taken: defaultdict[str, list[int]] = defaultdict(list)  # by caller, the files that are locked
        os.register_at_fork(after_in_child=self.close)  # the locks would live on in the child

    async def take(self, caller: str, most: int) -> bool:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(caller.encode()).hexdigest()[:32]
        return any(self._lock(caller, self._folder / f"{name}.{number}") for number in range(most))

    async def free(self, caller: str) -> None:
        if self._taken[caller]:
            os.close(self._taken[caller].pop())

    def close(self) -> None:
        for files in self._taken.values():
            while files:
                os.close(files.pop())

    def _lock(self, caller: str, path: Path) -> bool:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._taken[caller].append(file)
        return True
