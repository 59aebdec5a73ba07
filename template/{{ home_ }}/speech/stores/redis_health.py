"""What this process and the others know of upstream's health: one tells, all hear, and one may probe."""

import asyncio
import secrets
from collections.abc import Callable, Collection
from typing import Any

from ..breaker import PROBE_TAKES_S
from .redis_inbox import Ear, Inbox
from .redis_scripts import HOLD_S, Away, Heartbeat, Scripts

HOLD_MS = int(HOLD_S * 1000)
WELL = "well"

Adopt = Callable[[str, float, float], None]  # why it is not closed (or that it is ``WELL``), opens for s, left s


class RedisHealth:
    """One process's voice and ears. Instants don't travel, for every loop has its own clock: seconds do.

    While Redis is away each process judges and probes for itself.
    """

    def __init__(self, scripts: Scripts, inbox: Inbox) -> None:
        self._scripts, self._inbox, self._process = scripts, inbox, secrets.token_hex(8)
        self._adopters: dict[str, Adopt] = {}
        self._probing: set[str] = set()
        self._heartbeat = Heartbeat(self._probing, self._renew)
        self.ready = inbox.ready
        inbox.listen("health", Ear(self._heard, self._joined))

    def follow(self, name: str, adopt: Adopt) -> None:
        """*adopt* hears what others tell of *name*, and how it stands when this process joins."""
        self._adopters[name] = adopt

    def tell(self, name: str, why: str, opens_s: float = 0.0, left_s: float = 0.0) -> None:
        """That it opened, latched or closed here. Whoever probed it for all has done so."""
        self._probing.discard(name)
        said = self._process, name, why, opens_s, max(0, int(left_s * 1000))
        self._scripts.later(self._run("tell", *said))

    async def probe(self, names: Collection[str]) -> float | None:
        """None if this process may ask upstream for all, until it tells or gives back; else when to try again."""
        ask = self._run("probe", self._process, HOLD_MS, int(PROBE_TAKES_S * 1000), *names)
        try:
            left_ms = await self._scripts.take(ask, undo=lambda: self._free(names))
        except Away:
            return None
        if left_ms >= 0:
            return float(left_ms) / 1000
        self._probing.update(names)
        self._heartbeat.start()
        return None

    def give_back(self, name: str) -> None:
        """The probe told nothing."""
        self._probing.discard(name)
        self._scripts.later(self._run("free", self._process, name))

    async def aclose(self) -> None:
        await self._heartbeat.aclose()

    async def _free(self, names: Collection[str]) -> None:
        await asyncio.gather(*(self._run("free", self._process, name) for name in names))

    async def _renew(self) -> None:
        await self._run("renew", self._process, HOLD_MS, *self._probing)

    async def _joined(self) -> None:
        rows = iter(await self._run("state"))
        for name, record, left_ms in zip(rows, rows, rows, strict=True):
            why, opens_s = record.decode().split()
            self._adopt(name.decode(), why, float(opens_s), left_ms / 1000)

    def _heard(self, message: bytes) -> None:
        process, name, why, opens_s, left_ms = message.decode().split()
        if process != self._process:
            self._adopt(name, why, float(opens_s), int(left_ms) / 1000)

    def _adopt(self, name: str, why: str, opens_s: float, left_s: float) -> None:
        if adopt := self._adopters.get(name):
            adopt(why, opens_s, left_s)

    async def _run(self, step: str, *args: Any) -> Any:
        return await self._scripts.run("redis_health", step, *args)
