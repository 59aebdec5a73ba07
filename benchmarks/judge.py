"""The judge: a server in a process of its own that counts what is in flight, as the vendor would.

A connection says ``<milliseconds> <who>`` and hears ``ok`` when so long has passed; its call is over then, or when the
connection closes. ``report 0`` instead gives what was seen since the last report, as JSON.
"""

import asyncio
import json
import sys
import time
from typing import Any


class Count(asyncio.Protocol):
    """One connection. What was seen is the class's: ``starts`` are (instant, who), ``levels`` (instant, in flight)."""

    starts: list[tuple[float, str]] = []
    levels: list[tuple[float, int]] = []
    in_flight = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        milliseconds, who = data.decode().split()
        if milliseconds == "report":
            self._transport.write(json.dumps({"starts": Count.starts, "levels": Count.levels}).encode() + b"\n")
            Count.starts, Count.levels = [], []
            return
        Count.starts.append((time.monotonic(), who))
        self._count(+1)
        self._timer = asyncio.get_running_loop().call_later(float(milliseconds) / 1000, self._answer)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
            self._count(-1)

    def _answer(self) -> None:
        """The slot is free before the last byte is written, as at ElevenLabs."""
        self._timer = None
        self._count(-1)
        self._transport.write(b"ok\n")

    def _count(self, change: int) -> None:
        Count.in_flight += change
        Count.levels.append((time.monotonic(), Count.in_flight))


async def report(path: str) -> dict[str, Any]:
    """What the judge saw since it was last asked."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**26)
    writer.write(b"report 0")
    seen: dict[str, Any] = json.loads(await reader.readline())
    writer.close()
    return seen


async def _serve(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Count, path, backlog=2000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
