"""The books against the account: what ElevenLabs counted, what we booked, and what that says of what was uncertain.

    account's growth since the first reading = billed here + some of what is uncertain here + whatever others used

Others can only add. So of what is uncertain at most ``growth - billed`` was billed, and the rest was not: that much is
proven, whoever else uses the account, and is given back. The account's own count lags by minutes, so "billed" is what
the books said LAG_S ago: then the bound is too high at worst, and too little is given back, not too much.

What is left of the uncertain stays so, unless nothing was billed here in between: then the account's count can't lag,
and it is booked as billed, for the account has counted as much. Whether it was for that very call, or somebody else's,
no count can tell. Nor does it tell of speech to text, if that is billed in USD alone; it tells of credits, and the USD
of what is cleared follow in proportion.

A key that may only speak is a good key and can't read this: then we say so.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from .ledger import Charge, Reservation, Row, Usage

if TYPE_CHECKING:
    from .diary import Notes
    from .ledger import LedgerStore
    from .settings import Settings

LAG_S = 600.0
LOOK_S = 30.0  # how often a process looks whether it is time to read
KEPT = 20  # readings of a period: the first, and the last ones
PATIENCE_S = 5.0
DAY_S = 86400
FIELDS = ("character_count", "character_limit", "next_character_count_reset_unix")

Rows = Mapping[Row, Usage]


class CantRead(Exception):
    """Why the account can't be read, in one line."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the account said, and the books at that time. Instants are Unix seconds, amounts credits."""

    at: float
    used: int
    limit: int
    resets_at: int
    billed: int
    uncertain: int

    def begins_anew(self, before: "Reading") -> bool:
        """Whether the account's count was set back in between."""
        return self.used < before.used or self.resets_at > before.resets_at + DAY_S


async def read(settings: "Settings", rows: Rows) -> Reading:
    """``GET /v1/user/subscription``, which costs nothing. Raises CantRead."""
    import httpx

    url, booked = f"{settings.base_url}/v1/user/subscription", sum(rows.values(), Usage())
    try:
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            answer = await http.get(url, headers={"xi-api-key": settings.api_key, "X-Speech-Hop": "1"})
    except httpx.HTTPError as error:
        raise CantRead(f"ElevenLabs can't be reached ({type(error).__name__})") from None
    if answer.status_code in (401, 403):
        raise CantRead("the key may not read the account (no user_read): fine for speaking; grant it to see this")
    try:
        used, limit, resets_at = (answer.json()[name] for name in FIELDS)
        return Reading(time.time(), int(used), int(limit), int(resets_at), booked.credits, booked.uncertain_credits)
    except (ValueError, KeyError, TypeError):
        raise CantRead(f"ElevenLabs answered {answer.status_code}, without the figures of the account") from None


class Account:
    """The readings, where the diary is kept."""

    def __init__(self, notes: "Notes") -> None:
        self._notes, self._looked_at = notes, 0.0
        self._looking: asyncio.Task[None] | None = None

    def look(self, settings: "Settings", rows: Rows) -> None:
        """Read it in the background, if nobody has for LAG_S: whoever asks for the figures doesn't wait for it."""
        if settings.api_key and time.monotonic() - self._looked_at > LOOK_S:
            self._looked_at = time.monotonic()
            self._looking = asyncio.create_task(self._look(settings, rows))

    async def aclose(self) -> None:
        if self._looking:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self, settings: "Settings", rows: Rows) -> None:
        tried_at, _ = await self.why_not()
        if time.time() - tried_at >= LAG_S:
            with suppress(CantRead):
                await self.read(settings, rows)

    async def readings(self) -> list[Reading]:
        return [Reading(**row) for row in json.loads(await self._notes.get("readings") or "[]")]

    async def why_not(self) -> tuple[float, str]:
        """When it could not be read, and why; "" where it could."""
        at, why = json.loads(await self._notes.get("why_not") or '[0, "nobody has read the account yet"]')
        return at, why

    async def read(self, settings: "Settings", rows: Rows) -> Reading:
        """And remember it, or why not. Raises CantRead."""
        try:
            reading = await read(settings, rows)
        except CantRead as error:
            await self._notes.put("why_not", json.dumps([time.time(), str(error)]))
            raise
        before = await self.readings()
        kept = [] if before and reading.begins_anew(before[-1]) else before
        kept = [*kept[:1], *kept[1:][-KEPT:], reading]
        await self._notes.put("readings", json.dumps([asdict(each) for each in kept]))
        await self._notes.put("why_not", json.dumps([reading.at, ""]))
        return reading

    async def correct(self, reading: Reading) -> None:
        """Replace the last one: the books were put right by it."""
        readings = [*(await self.readings())[:-1], reading]
        await self._notes.put("readings", json.dumps([asdict(each) for each in readings]))

    async def state(self) -> dict[str, Any]:
        """``account`` of ``GET /usage``."""
        readings, (_, why) = await self.readings(), await self.why_not()
        if not readings:
            names = ("credits_used", "credits_limit", "resets_at", "drift_credits", "read_at", "since", "billed_then")
            return {**dict.fromkeys(names), "why_not": why}
        first, last = readings[0], readings[-1]
        return {
            "credits_used": last.used,
            "credits_limit": last.limit,
            "resets_at": _iso(last.resets_at),
            "drift_credits": drift(first, last) if last is not first else None,
            "read_at": _iso(last.at),
            "since": _iso(first.at),
            "billed_then": last.billed + last.uncertain,
            "why_not": why or None,
        }


def drift(first: Reading, last: Reading) -> int:
    """Credits that the account counts and these books don't; what is uncertain here explains as much as it can."""
    unexplained = last.used - first.used - (last.billed - first.billed)
    uncertain = max(0, last.uncertain - first.uncertain)
    return unexplained - min(max(0, unexplained), uncertain)


@dataclass(frozen=True, slots=True)
class Finding:
    """Of the credits that became uncertain since the first reading: not billed, and counted by the account."""

    uncertain: int
    free: int
    billed: int
    why: str


def judge(readings: list[Reading]) -> Finding:
    """What the readings prove; the last one is of now."""
    first, last = readings[0], readings[-1]
    uncertain = max(0, last.uncertain - first.uncertain)
    then = next((each for each in reversed(readings) if last.at - each.at >= LAG_S), None)
    if not uncertain or then is None:
        why = f"the account's count lags: read it again {LAG_S / 60:g} minutes after the first reading"
        return Finding(uncertain, 0, 0, why if uncertain else "nothing became uncertain since the first reading")
    possible = last.used - first.used - (then.billed - first.billed)
    if possible < 0:
        return Finding(uncertain, 0, 0, "the account counts less than was billed here: its count lags, read it later")
    quiet, most = then.billed == last.billed and then.uncertain == last.uncertain, min(uncertain, possible)
    free, billed = uncertain - most, most if quiet else 0
    stays = uncertain - free - billed
    why = f"{stays} may have been billed: to tell, read twice {LAG_S / 60:g} minutes apart with no call in between"
    return Finding(uncertain, free, billed, why if stays else "all of it is cleared")


async def clear(store: "LedgerStore", rows: Rows, finding: Finding) -> None:
    """Book it, the youngest rows first: those are since the first reading."""
    free, billed = finding.free, finding.billed
    for row, sums in sorted(rows.items(), reverse=True):
        freed = min(free, sums.uncertain_credits)
        taken = min(billed, sums.uncertain_credits - freed)
        free, billed = free - freed, billed - taken
        if freed + taken:
            usd = sums.uncertain_usd / sums.uncertain_credits
            await _book(store, row, Usage(taken, -freed - taken, taken * usd, -(freed + taken) * usd))


async def _book(store: "LedgerStore", row: Row, change: Usage) -> None:
    """By way of a reservation of nothing, so that budgets get back what was free."""
    nothing = Reservation(secrets.token_hex(12), row, Charge(row.caller, row.model_id, 0, 0.0))
    await store.reserve(nothing, {})
    await store.settle(nothing, change)


def after(reading: Reading, finding: Finding) -> Reading:
    """The same, with the books as they are now."""
    uncertain = reading.uncertain - finding.free - finding.billed
    return replace(reading, billed=reading.billed + finding.billed, uncertain=uncertain)


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
