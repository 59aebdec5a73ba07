"""How many requests a caller has under way, over all processes of all hosts.

A seat is renewed for as long as its process lives. While Redis is away each process bounds its own; what it gave out
meanwhile counts for all as soon as Redis is back.
"""

import asyncio
import hashlib
import secrets
from typing import Any

from .redis_scripts import HOLD_S, Away, Heartbeat, Scripts

HOLD_MS = int(HOLD_S * 1000)


class RedisSeats:
    """``_taken`` holds this process's: by seat, whose it is."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._taken: dict[str, str] = {}
        self._heartbeat = Heartbeat(self._taken, self._renew)

    async def take(self, caller: str, most: int) -> bool:
        name, seat = _name(caller), secrets.token_hex(8)
        try:
            ask = self._run("take", HOLD_MS, name, seat, most)
            taken = bool(await self._scripts.take(ask, undo=lambda: self._run("free", name, seat)))
        except Away:
            taken = len(self._of(name)) < most
        if taken:
            self._taken[seat] = name
            self._heartbeat.start()
        return taken

    async def free(self, caller: str) -> None:
        if seats := self._of(_name(caller)):
            await asyncio.shield(self._give_back(seats[0]))

    async def aclose(self) -> None:
        await self._heartbeat.aclose()
        for seat in list(self._taken):
            self._give_back(seat)

    def _give_back(self, seat: str) -> "asyncio.Task[object]":
        return self._scripts.later(self._run("free", self._taken.pop(seat), seat))

    def _of(self, name: str) -> list[str]:
        return [seat for seat, taken_by in self._taken.items() if taken_by == name]

    async def _renew(self) -> None:
        pairs = (word for seat, name in self._taken.items() for word in (name, seat))
        await self._run("renew", HOLD_MS, *pairs)

    async def _run(self, step: str, *args: Any) -> Any:
        return await self._scripts.run("redis_seats", step, *args)


def _name(caller: str) -> str:
    return hashlib.sha256(caller.encode()).hexdigest()[:32]
