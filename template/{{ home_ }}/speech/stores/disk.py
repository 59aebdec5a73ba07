"""In a folder, for all processes of one host: it survives a restart, and ``kill -9`` at any moment.

    audio/<key>.audio    one entry: header, meta, audio. Written beside its place, then renamed into it
    audio/index.sqlite   who goes first. Only an index, and a little behind: a file without a row is adopted, a row
                         without a file is swept
    ledger.sqlite        the money
    owners/<id>          locked while the process lives that set money aside, or pays for audio
    seats/<caller>.<n>   locked while a caller's request is under way, where its number is bounded
    leases/              who may call, by account and pool: disk_limiter.py
    audio/claims/<key>   another name (a hard link) of the file of its owner, who pays for this audio

After a power cut sqlite is whole but may lack the last moments: compare with ElevenLabs' own figures then. An entry
that was torn counts as absent. Not for network file systems: WAL and ``flock`` want one kernel.
"""

import sys
from pathlib import Path
from typing import Any

from ..limiter import Limiter
from . import Room, Stores
from .disk_audio import DiskAudio
from .disk_ledger import DiskLedger
from .disk_limiter import DiskLimiter
from .disk_seats import DiskSeats


def open(room: Room) -> Stores:
    """The same folder for whoever names it. Raises RuntimeError where it can't work at all."""
    if reason := unsupported():
        raise RuntimeError(reason)
    root = Path(room.folder)
    audio = DiskAudio(root, room.bytes_max, room.age_s_max)
    ledger, seats = DiskLedger(root), DiskSeats(root)
    limiters: list[DiskLimiter] = []

    def limiter(pool: str, plan: int, *, processes: int, **terms: Any) -> Limiter:
        """The whole limit, for all processes; observing, each watches its share by itself."""
        if terms.get("observed"):
            return Limiter(pool, plan, processes, **terms)
        limiters.append(DiskLimiter(pool, plan, root=root, account=room.account, **terms))
        return limiters[-1]

    def state() -> dict[str, str]:
        return {"slots": "alone" if any(each.helping for each in limiters) else "joined"} if limiters else {}

    async def close() -> None:
        for each in limiters:
            each.close()
        audio.close()
        ledger.close()
        seats.close()

    return Stores(audio, ledger, seats, limiter=limiter, state=state, close=close)


def unsupported() -> str | None:
    """Why not here, in one line."""
    if sys.platform == "win32":
        return "the disk store needs flock, which Windows has not; choose cache_backend memory or redis"
    return None
