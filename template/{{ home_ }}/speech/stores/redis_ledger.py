"""The money in Redis: one ledger for all processes of all hosts.

A process knows what it has booked since its start and what it holds. What it says of that replaces what it said before
(``redis_ledger.lua``, one script), so nothing is booked twice, however often it is told.

    reserve  under a budget a step, which checks it and sets the money aside; else it rides in the next one
    sent     nothing where others take it for sent already (see Hold), else a step
    settle   rides in the next step, 20 ms later at the latest
    beat     a step a second, from the first use on

Who is silent for 3 s is given up by whoever speaks next: what it never sent is free, the rest uncertain. Was it only
paused, it says everything again, and uncertain turns into what it became.

Redis away: what falls under a budget is refused, all else goes on and is told when Redis is back. Redis emptied: every
process says everything again within a second, and no budget is granted for two. Lost is what was booked by processes
that are no more by then: so keep ``appendonly`` on, and ``maxmemory-policy`` off ``allkeys-*``. One that starts within
that second may be granted what another has yet to say it spent. Of a process that was cut off for over a week, what it
had told before is counted twice.
"""

import asyncio
import json
import logging
import secrets
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from ..clock import now
from ..ledger import Reservation, Row, Usage
from .redis_connection import Connection, Script
from .redis_money import Hold, by_right, text, usage_of, whole
from .redis_teller import BEAT_S, RETRY_S, Teller

CLOSE_S = 2.0
SCRIPT = Script.read("redis_ledger")
ROWS_MAX = 500  # in a step: some 10 ms of Redis' time
logger = logging.getLogger(__name__)


class Heard(NamedTuple):
    """A step's answer.

    ``learning``: Redis has lost something, and who spent it may have yet to say so. ``more``: we have more to say.
    """

    learning: bool
    more: bool


class Unknown(Exception):
    """Redis doesn't know what we said: it is lost, or we were given up, and what we held was booked for us."""


class RedisLedger:
    """One process's, on one loop. Nothing is touched before the first use.

    The mutable state is ``_booked`` and ``_held``; of what is to be told, ``_changed_rows`` and ``_changed_holds``.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._root = connection, f"{connection.prefix}:ledger"
        self._teller = Teller("the ledger", self._step, self._beat)
        self._begin()

    def _begin(self) -> None:
        """As a process that nobody has heard of."""
        self._name, self._steps, self._heard = "", 0, 0
        self._booked: defaultdict[str, Usage] = defaultdict(Usage)
        self._held: dict[str, Hold] = {}
        self._changed_rows: set[str] = set()
        self._changed_holds: set[str] = set()
        self._leave = False

    async def reserve(self, reservation: Reservation, limits: Mapping[str, float]) -> str | None:
        hold = self._hold(reservation, limits)
        if not limits:
            return None
        try:
            if (await self._told()).learning:
                raise ConnectionError("Redis has lost something: nothing is granted until all have told theirs")
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
            self._changed_holds.add(hold.id)
            if hold.limits:
                await self._told()
            elif not self._teller.away:
                await self._tried()
        if hold.refusing:
            raise LookupError("this process was silent for too long: what it had set aside was given to others")
        hold.left = True

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        if hold := self._held.get(reservation.id):
            self._release(hold)
            self._book(hold.row, usage)

    async def add(self, row: Row, usage: Usage) -> None:
        self._book(text(row), usage)

    async def rows(self) -> dict[Row, Usage]:
        while (await self._told()).more:
            pass
        ask, texts = self._connection.ask, list[tuple[bytes, bytes]]()
        for month in await ask("SMEMBERS", f"{self._root}:months"):
            texts += (await ask("HGETALL", f"{self._root}:usage:{month.decode()}")).items()
        rows = {Row(*json.loads(row)): usage_of(json.loads(sums)) for row, sums in texts}
        return {row: usage for row, usage in rows.items() if usage != Usage()}

    @property
    def state(self) -> str:
        return "alone" if self._teller.away else "joined"

    async def close(self) -> None:
        """Tell what is left to tell, for at most CLOSE_S."""
        self._leave = True
        try:
            async with asyncio.timeout(CLOSE_S):
                while (self._steps or self._booked) and not await self._tried():
                    await asyncio.sleep(RETRY_S if self._teller.away else 0)
        except TimeoutError:
            booked = sum(self._booked.values(), Usage())
            logger.error("Redis was not told of all that was booked here, in all %g USD", booked.spent_usd)
        self._teller.stop()
        self._begin()

    def _hold(self, reservation: Reservation, limits: Mapping[str, float]) -> Hold:
        hold = self._held[reservation.id] = Hold.of(reservation, limits, since=now())
        self._changed_holds.add(hold.id)
        self._teller.keep_beating()
        return hold

    def _release(self, hold: Hold) -> None:
        del self._held[hold.id]
        self._changed_holds.add(hold.id)
        self._changed_rows.add(hold.row)
        self._teller.shortly()

    def _book(self, row: str, usage: Usage) -> None:
        if usage != Usage():
            self._booked[row] += usage
            self._changed_rows.add(row)
            self._teller.shortly()

    def _beat(self) -> None:
        for hold in self._held.values():
            if hold.sent and not hold.left and now() - hold.since > BEAT_S:
                hold.sent = False
                self._changed_holds.add(hold.id)

    async def _told(self) -> Heard:
        _ = self._connection.redis  # loading redis-py takes longer than the patience that begins now
        return await self._teller.told()

    async def _tried(self) -> bool:
        """Whether all is told now."""
        with suppress(ConnectionError, TimeoutError):
            return not (await self._told()).more
        return False

    async def _step(self) -> Heard:
        """Tell the news; where Redis doesn't know what came before, that is news too."""
        try:
            return await self._say()
        except Unknown as why:
            lost = why.args == (b"lost",)
            self._changed_rows |= self._booked.keys() if lost else {hold.row for hold in self._held.values()}
            self._changed_holds |= self._held.keys()
            return await self._say(everything=True)

    async def _say(self, everything: bool = False) -> Heard:
        rows, holds = set(islice(self._changed_rows, ROWS_MAX)), self._changed_holds & self._held.keys()
        more = len(rows) < len(self._changed_rows)
        gone = set() if more else self._changed_holds - holds  # money is given back with what became of it, not before
        self._changed_rows -= rows
        self._changed_holds -= holds | gone
        said = {
            "rows": {row: whole(self._booked[row]) for row in rows},
            "holds": [hold.said() for hold in by_right(self._held[id] for id in holds)],
            "gone": list(gone),
            "all": everything,
            "more": more,
            "leave": self._leave,
        }
        self._name, self._steps = self._name or secrets.token_hex(8), self._steps + 1
        args = self._root, self._name, self._steps, self._heard, json.dumps(said)
        try:
            return self._hear(more, *await self._connection.run(SCRIPT, *args))
        except BaseException:
            self._changed_rows |= rows
            self._changed_holds |= holds | gone
            raise

    def _hear(self, more: bool, state: bytes, *answer: Any) -> Heard:
        if state != b"done":
            raise Unknown(state)
        learning, refused = answer
        self._heard = self._steps
        for id, account in zip(refused[::2], refused[1::2], strict=True):
            if hold := self._held.get(id.decode()):
                hold.refusing = account.decode()
        if more:
            self._teller.shortly()
        return Heard(bool(learning), more)
