"""The money in Redis: one ledger for all processes of all hosts.

A process knows what it has booked since its start and what it holds. What it says of that replaces what it said before
(``redis_ledger.lua``, one script), so nothing is booked twice, however often it is told. Steps go one at a time; what
happens meanwhile rides in the next one.

    reserve  under a budget a step, which checks it and sets the money aside; else it rides along
    sent     nothing where others take it for sent already (see Hold), else a step
    settle   rides along, 20 ms later at the latest
    beat     a step a second, where there is anything to lose

Who is silent for 3 s is given up by whoever is refused or asks for rows: what it never sent is free, the rest
uncertain. Was it only paused, it says everything again, and uncertain turns into what it became.

Redis away: what falls under a budget is refused, all else goes on and is told when Redis is back. Redis emptied: every
process says everything again within a second, and no budget is granted for two. Lost is what was booked by processes
that are no more by then, so keep ``appendonly`` on; and one that starts within that second may be granted what another
has yet to say that it spent. A process that was cut off for more than a week is counted twice.
"""

import asyncio
import json
import logging
import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..clock import now
from ..ledger import Reservation, Row, Usage
from .redis_connection import PATIENCE_S, Connection

BEAT_S, RETRY_S, SOON_S, CLOSE_S = 1.0, 0.25, 0.02, 2.0
NANO = 10**9
SCALE = [NANO if isinstance(value, float) else 1 for value in vars(Usage()).values()]
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Hold:
    """A reservation. ``sent`` is how others shall take it if we die, ``left`` whether it was sent indeed.

    Under a budget it is taken for sent from the start, so that sending needs no step of its own: of a process that dies
    within that second it is uncertain, not free. What has waited longer is said to be unsent; then sending is told.
    """

    id: str
    row: str
    credits: int
    usd: int
    limits: list[tuple[str, int]]
    since: float
    sent: bool
    left: bool = False
    refusing: str | None = None

    def said(self) -> tuple[object, ...]:
        """For the script. What is under way is held, whatever the budget says."""
        return self.id, self.row, self.credits, self.usd, self.sent, [] if self.left else self.limits


class Heard(NamedTuple):
    """A step's answer. ``learning``: Redis has lost something, and others may have yet to say what they spent."""

    learning: bool
    rows: dict[Row, Usage]


class RedisLedger:
    """One process's, on one loop. Nothing is touched before the first use."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._begin()

    async def reserve(self, reservation: Reservation, limits: Mapping[str, float]) -> str | None:
        hold = self._hold(reservation, limits)
        if not limits:
            return None
        try:
            if (await self._told()).learning:
                raise ConnectionError("Redis was emptied, and others have yet to say what they spent")
        except BaseException:
            self._release(hold)
            raise
        if hold.refusing:
            del self._held[hold.id]
        return hold.refusing

    async def sent(self, reservation: Reservation) -> None:
        hold = self._held[reservation.id]
        if not hold.sent:
            hold.sent, hold.since = True, now()
            self._holds.add(hold.id)
            if hold.limits:
                await self._told()
            elif not self._away:
                await self._tried()
        if hold.refusing:
            raise LookupError("this process was silent for too long: what it had set aside was given to others")
        hold.left = True

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        if hold := self._held.get(reservation.id):
            self._release(hold)
            self._book(hold.row, usage)

    async def add(self, row: Row, usage: Usage) -> None:
        self._book(_text(row), usage)

    async def rows(self) -> dict[Row, Usage]:
        self._read = True
        return (await self._told()).rows

    async def close(self) -> None:
        """Tell what is left to tell, for at most CLOSE_S."""
        self._leave = True
        try:
            async with asyncio.timeout(CLOSE_S):
                while self._steps and not await self._tried():
                    await asyncio.sleep(RETRY_S)
        except TimeoutError:
            logger.error("Redis was not told of %d rows and %d reservations", len(self._rows), len(self._holds))
        for ending in (self._beat, self._soon, self._stepping):
            if ending:
                ending.cancel()
        self._begin()

    # ---------------------------------------------------------------------------------------------------- what is so

    def _begin(self) -> None:
        """As a process that nobody has heard of."""
        self._name, self._steps, self._heard, self._away = "", 0, 0, False
        self._booked: defaultdict[str, Usage] = defaultdict(Usage)  # by row, since our start
        self._held: dict[str, Hold] = {}
        self._rows: set[str] = set()  # of these there is news
        self._holds: set[str] = set()
        self._read = self._leave = False
        self._next: asyncio.Future[Heard | Exception] | None = None  # what the next step will hear
        self._stepping: asyncio.Task[None] | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None

    def _hold(self, reservation: Reservation, limits: Mapping[str, float]) -> Hold:
        id, row, charge = reservation
        whole = [(account, round(usd * NANO)) for account, usd in limits.items()]
        hold = Hold(id, _text(row), charge.credits, round(charge.usd * NANO), whole, since=now(), sent=bool(limits))
        self._held[id] = hold
        self._holds.add(id)
        self._keep_beating()
        return hold

    def _release(self, hold: Hold) -> None:
        del self._held[hold.id]
        self._holds.add(hold.id)
        self._shortly()

    def _book(self, row: str, usage: Usage) -> None:
        if usage != Usage():
            self._booked[row] += usage
            self._rows.add(row)
            self._shortly()

    # --------------------------------------------------------------------------------------------------- how it is told

    async def _told(self) -> Heard:
        """What is so now is known in Redis. Raises what kept it from there."""
        coming = self._go()
        async with asyncio.timeout(PATIENCE_S):
            heard = await asyncio.shield(coming)
        if isinstance(heard, Exception):
            raise ConnectionError("Redis can't be told") from heard
        return heard

    async def _tried(self) -> bool:
        try:
            return bool(await self._told())
        except (ConnectionError, TimeoutError):
            return False

    def _go(self) -> "asyncio.Future[Heard | Exception]":
        self._next = self._next or asyncio.get_running_loop().create_future()
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.create_task(self._step_by_step())
        return self._next

    def _shortly(self) -> None:
        self._keep_beating()
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON_S, self._on_soon)

    def _on_soon(self) -> None:
        self._soon = None
        if (self._rows or self._holds) and not self._away:
            self._go()

    def _keep_beating(self) -> None:
        if self._beat is None:
            after_s = RETRY_S if self._away else BEAT_S
            self._beat = asyncio.get_running_loop().call_later(after_s, self._on_beat)

    def _on_beat(self) -> None:
        self._beat = None
        if self._booked or self._held or self._holds:
            self._say_who_waits()
            self._go()
            self._keep_beating()

    def _say_who_waits(self) -> None:
        for hold in self._held.values():
            if hold.sent and not hold.left and now() - hold.since > BEAT_S:
                hold.sent = False
                self._holds.add(hold.id)

    async def _step_by_step(self) -> None:
        while asked := self._next:
            self._next = None
            asked.set_result(await self._step())

    async def _step(self) -> Heard | Exception:
        rows, holds, read = self._rows, self._holds, self._read
        self._rows, self._holds, self._read = set(), set(), False
        script = self._script  # its import takes longer than our patience
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._say(script, rows, holds, read) if self._heard else [b"again"]
                if answer[0] == b"again":
                    answer = await self._say(script, self._booked, self._held, read, everything=True)
            if answer[0] != b"done":
                raise ConnectionError(f"Redis says {answer[0]!r}")
        except Exception as error:  # whatever keeps us from it
            self._rows |= rows
            self._holds |= holds
            self._be_away(error)
            return error
        return self._hear(answer)

    async def _say(
        self, script: Any, rows: Collection[str], ids: Collection[str], read: bool, everything: bool = False
    ) -> Any:
        self._name, self._steps = self._name or secrets.token_hex(8), self._steps + 1
        holds = [self._held[id].said() for id in ids if id in self._held and not self._held[id].refusing]
        said = {
            "rows": {row: _whole(self._booked[row]) for row in rows},
            "holds": holds,
            "gone": [id for id in ids if id not in self._held],
            "all": everything,
            "read": read,
            "leave": self._leave,
        }
        root = f"{self._connection.prefix}:ledger"
        return await script([root], [self._name, self._steps, self._heard, json.dumps(said)])

    def _hear(self, answer: list[Any]) -> Heard:
        _, learning, refused, months = answer
        self._heard = self._steps
        if self._away:
            logger.warning("Redis keeps the ledger again")
        self._away = False
        for id, account in zip(refused[::2], refused[1::2], strict=True):
            if hold := self._held.get(id.decode()):
                hold.refusing = account.decode()
        return Heard(bool(learning), _rows(months))

    def _be_away(self, error: Exception) -> None:
        if not self._away:
            logger.warning("Redis does not keep the ledger, this process does by itself: %r", error)
        self._away = True

    @cached_property
    def _script(self) -> Any:
        return self._connection.redis.register_script(Path(__file__).with_suffix(".lua").read_text("utf-8"))


def _text(row: Row) -> str:
    """Raises UnicodeEncodeError for what could not be said: in a step it would stop everything else."""
    return json.dumps(row, ensure_ascii=False).encode().decode()


def _whole(usage: Usage) -> list[int]:
    return [round(value * scale) for value, scale in zip(vars(usage).values(), SCALE, strict=True)]


def _rows(months: list[list[bytes]]) -> dict[Row, Usage]:
    """Of the script's answer, without the rows of zeros."""
    texts = ((row, sums) for month in months for row, sums in zip(month[::2], month[1::2], strict=True))
    rows = {Row(*json.loads(row)): _usage(json.loads(sums)) for row, sums in texts}
    return {row: usage for row, usage in rows.items() if usage != Usage()}


def _usage(sums: list[Any]) -> Usage:
    return Usage(*[value if scale == 1 else value / scale for value, scale in zip(sums, SCALE, strict=False)])
