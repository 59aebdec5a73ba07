"""What advice is made of: counts by day, kept for DAYS. Nobody's text and nobody's name is in it.

    waited/<pool>/<minute>    how many waited for a slot, by the minute of the day in which they came; 0 in a minute
                              through which somebody went on waiting. So the names of a day are the minutes of a line
    refused/<pool>/<slots>    how many the pool refused (queue_full, deadline_unreachable), by the smallest number of
                              slots of any plan with which their turn would have come in time; ``line`` if the slots
                              were enough and the line too short, ``none`` if no plan has enough
    paid/<hash>/<characters>  how often one phrase was paid that the cache could have kept
    observed/<what>           SPEECH_MODE=observe: what enforcing would have done; ``observed/credits`` what it saved

Observing, nothing is cached: ``Shelf`` plays the cache, without audio. It knows this process's requests alone, so what
several processes would have saved is more.

On the path a request adds to a dict in memory, and nothing more. What was counted goes to the store within FLUSH_S, and
at the end; ``kill -9`` loses that much. In memory it ends with the process, as the ledger does there.
"""

import asyncio
import datetime
import json
import logging
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from .advice import slots_needed
from .answers import CACHE_BACKEND
from .catalogue import CATALOGUE
from .clock import now
from .errors import Overloaded
from .limiter import SPREAD
from .reconciling import Account

if TYPE_CHECKING:
    from .listening import Listening
    from .wiring import SpeechClient

DAYS = 7
FLUSH_S = 5.0
WAIT_S = 0.1  # less may be the way to the store and back, and nobody feels it
PHRASES = 500  # by process and day
SHELF = 20_000  # keys
SAVED = "observed_saved_credits"
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
        self._speech, self._ill = speech, False
        self._timer: asyncio.TimerHandle | None = None
        self._news: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._seen: tuple[str, Counter[str]] = "", Counter()
        self._observed: Counter[str] = Counter()
        self._writing = asyncio.Lock()
        self.notes: Notes = MemoryNotes()
        if CACHE_BACKEND != "memory":
            self.notes = import_module(f".stores.{CACHE_BACKEND}_notes", __package__).open(speech.settings.room)
        self.account = Account(self.notes)
        self._shelf = Shelf(speech.settings.cache_max_bytes, speech.settings.cache_ttl_s)
        speech.attend = self.note

    def note(self, listening: "Listening", error: BaseException | None) -> None:
        """A request has ended."""
        if listening.queue_s > WAIT_S:
            self._waited(listening)
        if isinstance(error, Overloaded) and error.code in ("queue_full", "deadline_unreachable"):
            self._count(f"refused/{self._pool(listening)}/{self._enough(listening, error)}")
        if listening.credits and (kept_as := listening.key or listening.kept_as):
            if self._speech.settings.mode == "enforce":
                self._paid(kept_as, listening.request.characters)
            elif listening.terms.cache == "use" and self._shelf.has(kept_as, _bytes(listening)):
                self._speech.policies.meter.observed("hit")
                self._speech.policies.meter.count(SAVED, listening.credits, model=listening.model_id)

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
        if self._speech.settings.mode == "observe":
            saved, seen = self._speech.policies.meter.totals()[SAVED], self._of_the_meter()
            logger.warning("observed in all: %g credits saved, %s", saved, json.dumps(seen))
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

    def _enough(self, listening: "Listening", refusal: Overloaded) -> str:
        """With how many slots it would have been served, by what the refusal says of its wait, in every store alike."""
        pool = self._pool(listening)
        limiter, request = self._speech.policies.limiters[pool], listening.request
        limit, service_s = limiter.allowance.limit, limiter.snapshot()["service_s"] or request.guess_s
        patience_s = listening.deadline - now() - (service_s if listening.whole else 0.0)
        if refusal.code == "queue_full":
            wait_s, least = limiter.queue_size * service_s / limit, 0
        else:  # it may come back when it would be in time: as much later, and a little more
            over_s = max(0.0, (refusal.retry_after_s or 0.0) - SPREAD * service_s)
            wait_s, least = patience_s + over_s, limit + 1
        needed = max(least, slots_needed(limit, wait_s, service_s, patience_s))
        if needed <= limit:
            return "line"
        plans = sorted(row["concurrency"][pool]["limit"] or 0 for row in CATALOGUE["plans"].values())
        return next((str(slots) for slots in plans if slots >= needed), "none")

    def _paid(self, kept_as: str, characters: int) -> None:
        """The first PHRASES of a day. In a store that processes share, from the second time on."""
        if self._seen[0] != (today := day_of()):
            self._seen = today, Counter()
        seen = self._seen[1]
        if kept_as not in seen and len(seen) >= PHRASES:
            return
        seen[kept_as] += 1
        name = f"paid/{kept_as[:12]}/{characters}"
        if CACHE_BACKEND == "memory":  # others may have paid for it too, and nobody knows before their counts meet
            self._count(name)
        elif seen[kept_as] > 1:
            self._count(name, 2 if seen[kept_as] == 2 else 1)

    def _observe(self) -> None:
        """What the meter counted since we looked last."""
        if self._speech.settings.mode == "enforce":
            return
        seen = Counter({f"observed/{what}": number for what, number in self._of_the_meter().items()})
        seen["observed/credits"] = self._speech.policies.meter.totals()[SAVED]  # type: ignore[assignment]
        for name, number in (more := seen - self._observed).items():
            self._news[day_of()][name] += number
        if more:
            logger.info("observed: %s", json.dumps(more))
        self._observed = seen

    def _of_the_meter(self) -> dict[str, float]:
        rows = self._speech.policies.meter.snapshot()["counters"]
        return {labels["what"]: number for name, labels, number in rows if name == "observed"}


class Shelf:
    """What the cache would hold: the keys and sizes of audio, the oldest first, by its own bounds."""

    def __init__(self, bytes_max: int, ttl_s: float) -> None:
        self._bytes_max, self._ttl_s, self._bytes = bytes_max, ttl_s, 0
        self._kept: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def has(self, key: str, size: int) -> bool:
        """Whether it would be a hit; if not, it is kept from now on."""
        born, _ = self._kept.get(key, (float("-inf"), 0))
        if found := now() - born < self._ttl_s:
            self._kept.move_to_end(key)
            return found
        self._drop(key)
        self._kept[key], self._bytes = (now(), size), self._bytes + size
        while self._bytes > self._bytes_max or len(self._kept) > SHELF:
            self._drop(next(iter(self._kept)))
        return False

    def _drop(self, key: str) -> None:
        self._bytes -= self._kept.pop(key, (0.0, 0))[1]


def _bytes(listening: "Listening") -> int:
    reader = listening.reader
    return reader.flight.received if reader else 0


def day_of(later: int = 0) -> str:
    """Today in UTC, or so many days later."""
    return (datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=later)).isoformat()


def _minutes(came: datetime.datetime, waited_s: float) -> Iterator[tuple[datetime.datetime, int]]:
    """Each minute that the wait touches; it counts in the first."""
    left, minute = came + datetime.timedelta(seconds=waited_s), came.replace(second=0, microsecond=0)
    yield minute, 1
    while (minute := minute + datetime.timedelta(minutes=1)) < left:
        yield minute, 0
