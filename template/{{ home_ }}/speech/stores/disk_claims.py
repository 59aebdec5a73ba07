"""One process pays for an audio, the others wait for it: a file for each key that is being paid for."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from . import disk_folder
from .disk_owner import Owner, is_orphaned

BELOW = "audio/claims"
POLL_S, POLL_S_MAX, SLOWER = 0.02, 0.1, 1.5


class Claims:
    """A claim is another name of its process's own file, so that it is nobody's once that is not locked any more.

    To make a file for each claim would take up to a millisecond: ext4 looks for a new one past all that were removed in
    the last minutes.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._owner = root, Owner(root)
        self._held: set[Path] = set()
        os.register_at_fork(after_in_child=self._held.clear)

    @asynccontextmanager
    async def claim(self, name: str) -> AsyncIterator[None]:
        """Waits for whoever has it, ours or not. Raises OSError where nothing can be locked."""
        path, wait_s = self._root / BELOW / name, POLL_S
        while not self._take(path):
            await asyncio.sleep(wait_s)
            wait_s = min(SLOWER * wait_s, POLL_S_MAX)
        try:
            yield
        finally:
            self._release(path)

    def close(self) -> None:
        """Give back all."""
        for path in list(self._held):
            self._release(path)
        self._owner.leave()

    def _take(self, path: Path) -> bool:
        """False if another has it, or had it until now."""
        try:
            os.link(self._owner.path, path)
        except FileExistsError:
            is_orphaned(path)
            return False
        except FileNotFoundError:  # the first one here; or somebody removed the folder
            disk_folder.make(self._root, BELOW)
            self._owner.leave()
            return False
        self._held.add(path)
        return True

    def _release(self, path: Path) -> None:
        if path in self._held:
            self._held.remove(path)
            path.unlink(missing_ok=True)
