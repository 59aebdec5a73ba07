"""What advice is made of: counts by day, kept for DAYS. Nobody's text and nobody's name is in it.

    waited/<pool>/<minute>    how many waited for a slot, by the minute of the day in which they came; 0 in a minute
                              through which somebody went on waiting. So the names of a day are the minutes of a line
    refused/<pool>/<slots>    how many the pool refused (queue_full, deadline_unreachable), by the smallest number of
                              slots of any plan with which their turn would have come in time; ``line`` if the slots
                              were enough and the line too short, ``none`` if no plan has enough
    paid/<hash>/<characters>  how often one phrase was paid that the cache could have kept
    observed/<what>           SPEECH_MODE=observe: what enforcing would have done; ``observed/credits`` what it saved

On the path a request adds to a dict in memory, and nothing more. What was counted goes to the store within FLUSH_S, and
at the end; ``kill -9`` loses that much. In memory it ends with the process, as the ledger does there.
"""

import asyncio
import datetime
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from .advice import slots_needed
from .answers import CACHE_BACKEND
from .catalogue import CATALOGUE
from .clock import now
from .errors import Overloaded
from .limiter import Ticket
from .reconciling import Account
from .request import SpeechRequest

if TYPE_CHECKING:
    from .listening import Listening
    from .wiring import SpeechClient

DAYS = 7
FLUSH_S = 5.0
WAIT_S = 0.01  # less is the way to the store and back, not a wait
PHRASES = 500  # by process and day
logger = logging.getLogger(__name__)

Days = Mapping[str, Mapping[str, float]]
"""By day, by name."""


class Notes(Protocol):
    """Where counts live, and a few texts (what the account said). Each method is one step."""

    async def add(self, days: Days) -> None: ...

    async def since(self, day: str) -> Days:
        """That day and those after it; what is older may be gone."""

    async def put(self, name: str, text: str) -> None: ...

    async def get(self, name: str) -> str | None: ...

    async def close(self) -> None: ...


class MemoryNotes:
    """Of this process."""

    def __init__(self) -> None:
        self.days: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._texts: dict[str, str] = {}

    async def add(self, days: Days) -> None:
        add(self.days, days)
        for old in sorted(self.days)[: -DAYS - 1]:
            del self.days[old]

    async def since(self, day: str) -> Days:
        return {each: counts for each, counts in self.days.items() if each >= day}

    async def put(self, name: str, text: str) -> None:
        self._texts[name] = text

    async def get(self, name: str) -> str | None:
        return self._texts.get(name)

    async def close(self) -> None: ...


def add(sums: defaultdict[str, Counter[str]], days: Days) -> None:
    """Put *days* into *sums*."""
    for day, counts in days.items():
        for name, number in counts.items():
            sums[day][name] += number  # type: ignore[assignment]  # seconds and credits may be fractions


class Diary:
    """One process's. The mutable state is ``_news``, what the store has yet to hear, and ``_seen``, today's phrases."""

    def __init__(self, speech: "SpeechClient") -> None:
        self._speech, self._timer, self._ill = speech, None, False
        self._news: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._seen: tuple[str, Counter[str]] = "", Counter()
        self._observed: Counter[str] = Counter()
        self._writing = asyncio.Lock()
        self.notes: Notes = MemoryNotes()
        if CACHE_BACKEND != "memory":
            self.notes = import_module(f".stores.{CACHE_BACKEND}_notes", __package__).open(speech.settings.room)
        self.account = Account(self.notes)

    def note(self, listening: "Listening", error: BaseException | None) -> None:
        """A request has ended."""
        if listening.queue_s > WAIT_S:
            self._waited(listening)
        if isinstance(error, Overloaded) and error.code in ("queue_full", "deadline_unreachable"):
            self._count(f"refused/{self._pool(listening)}/{self._enough(listening)}")
        if listening.credits and isinstance(listening.request, SpeechRequest) and listening.request.cacheable:
            self._paid(listening, listening.request)

    async def flush(self) -> None:
        """Tell the store. One that fails is told later; until then all stays here."""
        async with self._writing:
            self._observe()
            news, self._news = self._news, defaultdict(Counter)
            try:
                if news:
                    await self.notes.add(news)
                self._ill = False
            except Exception as error:
                add(self._news, news)
                if not self._ill:
                    logger.warning("the diary can't be written for now: %r", error)
                self._ill = True

    async def days(self) -> Days:
        """The last DAYS, today's included; what can't be read is empty."""
        await self.flush()
        try:
            return await self.notes.since(day_of(-(DAYS - 1)))
        except Exception as error:
            logger.warning("the diary can't be read for now: %r", error)
            return {}

    async def aclose(self) -> None:
        if self._timer:
            self._timer.cancel()
        await self.account.aclose()
        await self.flush()
        await self.notes.close()

    def _count(self, name: str, number: float = 1, day: str = "") -> None:
        self._news[day or day_of()][name] += number  # type: ignore[assignment]
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(FLUSH_S, lambda: asyncio.ensure_future(self._later()))

    async def _later(self) -> None:
        self._timer = None
        await self.flush()

    def _pool(self, listening: "Listening") -> str:
        return self._speech.house.rules.models[listening.model_id].pool

    def _waited(self, listening: "Listening") -> None:
        """From when it came, as if it had waited at once: a retry waits later than this says."""
        came = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=now() - listening.began)
        for minute, number in _minutes(came, listening.queue_s):
            name = f"waited/{self._pool(listening)}/{minute.hour * 60 + minute.minute:04}"
            self._count(name, number, minute.date().isoformat())

    def _enough(self, listening: "Listening") -> str:
        pool = self._pool(listening)
        limiter, request = self._speech.policies.limiters[pool], listening.request
        limit = limiter.allowance.limit
        terms = listening.priority, listening.deadline, listening.whole, request.guess_s, request.weight
        service_s = limiter.snapshot()["service_s"] or request.guess_s
        patience_s = listening.deadline - now() - (service_s if listening.whole else 0.0)
        needed = slots_needed(limit, limiter.turn_in_s(Ticket(*terms, arrived=now())), service_s, patience_s)
        if needed <= limit:
            return "line"
        plans = sorted(row["concurrency"][pool]["limit"] or 0 for row in CATALOGUE["plans"].values())
        return next((str(slots) for slots in plans if slots >= needed), "none")

    def _paid(self, listening: "Listening", request: SpeechRequest) -> None:
        """The first PHRASES of a day. In a store that processes share, from the second time on."""
        today, hashed = day_of(), listening.key if listening.key else request.key()
        if self._seen[0] != today:
            self._seen = today, Counter()
        seen = self._seen[1]
        if hashed not in seen and len(seen) >= PHRASES:
            return
        seen[hashed] += 1
        name = f"paid/{hashed[:12]}/{request.characters}"
        if CACHE_BACKEND == "memory":  # others may have paid for it too, and nobody knows before their counts meet
            self._count(name)
        elif seen[hashed] > 1:
            self._count(name, 2 if seen[hashed] == 2 else 1)

    def _observe(self) -> None:
        """What the meter counted since we looked last."""
        meter = self._speech.policies.meter
        seen = Counter({f"observed/{what}": number for what, number in meter.of("observed").items()})
        seen["observed/credits"] = meter.totals()["observed_saved_credits"]  # type: ignore[assignment]
        for name, number in (seen - self._observed).items():
            self._news[day_of()][name] += number
        self._observed = seen


def day_of(later: int = 0) -> str:
    """Today in UTC, or so many days later."""
    return (datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=later)).isoformat()


def _minutes(came: datetime.datetime, waited_s: float) -> Iterator[tuple[datetime.datetime, int]]:
    """Each minute that the wait touches; it counts in the first."""
    left, minute = came + datetime.timedelta(seconds=waited_s), came.replace(second=0, microsecond=0)
    yield minute, 1
    while (minute := minute + datetime.timedelta(minutes=1)) < left:
        yield minute, 0
