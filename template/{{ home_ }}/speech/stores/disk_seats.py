"""How many requests a caller has under way, over all processes of this host: one locked file each."""

import hashlib
from collections import defaultdict
from pathlib import Path

from .disk_locks import Locks


class DiskSeats:
    """Whoever dies gives its seats back at that instant. A file's name tells nothing of the caller's."""

    def __init__(self, root: Path) -> None:
        self._locks = Locks(root, "seats")
        self._taken: defaultdict[str, list[str]] = defaultdict(list)  # by caller, the names of our locks

    async def take(self, caller: str, most: int) -> bool:
        name = hashlib.sha256(caller.encode()).hexdigest()[:32]
        for seat in (f"{name}.{number}" for number in range(most)):
            if self._locks.take(seat):
                self._taken[caller].append(seat)
                return True
        return False

    async def free(self, caller: str) -> None:
        if self._taken[caller]:
            self._locks.free(self._taken[caller].pop())

    def close(self) -> None:
        self._taken.clear()
        self._locks.close()
