"""The front door: what a caller asks, from here to the flight that answers it.

    validate → meter → deadline → cache / flight board       here, per caller
      retry → ledger → limiter → breaker → upstream          per flight, in ``flight.py``

A request is counted and logged once, at its end, whatever the end is. Text is never logged.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

from .catalogue import DEFAULT_FORMAT, DEFAULT_STT_MODEL, QUALITIES
from .clock import now
from .errors import InvalidRequest, Overloaded
from .flight import Flight, Policies, Reader
from .listening import Listening, TimedListening
from .request import CacheMode, Priority, Request, Rules, Shape, SpeechRequest, Terms, TranscriptionRequest
from .sound import measure

DEADLINE_S_MAX = 600.0
QUERY: tuple[str, ...] = ("enable_logging", "optimize_streaming_latency")


@dataclass(frozen=True, slots=True)
class CallerTerms:
    """What one caller may do; None is "as everybody"."""

    daily_usd: float | None = None
    concurrency: int | None = None
    max_priority: Priority = Priority.INTERACTIVE


@dataclass(frozen=True, slots=True)
class House:
    """The rules of the house: defaults and bounds that are not a policy's."""

    rules: Rules
    voice_id: str
    quality: str | None = None
    deadline_s: float = 30.0
    cache_scope: str = "shared"
    degrade: str = "none"
    callers: Mapping[str, CallerTerms] = field(default_factory=dict)
    enforce: bool = True
    ready: bool = True  # a key is set


@dataclass(frozen=True, slots=True)
class Audio:
    """Whole audio. ``credits`` and ``cost_usd`` are what this answer cost: nothing for a hit or a ride along."""

    data: bytes
    media_type: str
    model_id: str
    cache: str
    degraded: str | None
    characters: int
    credits: int
    cost_usd: float
    request_id: str
    alignment: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said. ``seconds`` is None where upstream heard nothing."""

    text: str
    words: list[dict[str, Any]]
    language_code: str | None
    seconds: float | None
    cost_usd: float
    model_id: str
    request_id: str


class Client:
    """Speaks and transcribes inside the plan's limits. One a process and loop; ``async with`` opens and closes it."""

    def __init__(self, policies: Policies, house: House) -> None:
        self.policies, self.house = policies, house
        self.draining = False
        self._flights: dict[str, Flight] = {}
        self._flying: set[Flight] = set()
        self.attend: Callable[[Listening, BaseException | None], None] = lambda *_: None  # to the end of each request

    async def __aenter__(self) -> Self:
        self.policies.meter.watch(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def ready(self) -> bool:
        """Whether new work is welcome; says nothing about upstream's health or our load."""
        return self.house.ready and not self.draining

    # ------------------------------------------------------------------------------------------ what callers call

    async def synthesize(self, text: str, **wishes: Any) -> Audio:
        """Speak *text*; whole audio. Takes what ``stream`` takes.

        Raises SpeechError: InvalidRequest, Rejected, DeadlineExceeded or UpstreamFault.
        """
        async with self._listen(text, whole=True, **wishes) as it:
            data = await it.read()
        said = (it.media_type, it.model_id, it.cache, it.degraded, it.request.characters, it.credits, it.cost_usd)
        return Audio(data, *said, it.request_id or it.id, it.alignment)

    def stream(self, text: str, **wishes: Any) -> Listening:
        """Speak *text*, as it comes: ``async with speech.stream("Hello") as chunks: async for chunk in chunks: ...``

        ``voice_id``, ``model_id``, ``output_format`` and ``voice_settings`` are the vendor's; any other of its body
        fields may be named too. ``quality`` (realtime, balanced, quality) chooses the model where none is named.
        ``priority`` is interactive, normal or batch; ``deadline`` is in seconds from now, to the first byte (of whole
        audio: to the last); ``caller`` is who pays; ``cache`` is use, refresh or off; ``timestamps`` gives
        ``.alignment``.
        """
        return self._listen(text, whole=False, **wishes)

    async def transcribe(
        self,
        audio: bytes | str | Path | BinaryIO,
        *,
        model_id: str = DEFAULT_STT_MODEL,
        priority: str | Priority = Priority.NORMAL,
        deadline: float | None = None,
        caller: str = "local",
        **fields: Any,
    ) -> Transcript:
        """Write down what a recording says. *audio* is bytes, a path, or a binary file that can seek.

        Any form field of the vendor's may be named: ``language_code``, ``diarize``, ``keyterms`` ...
        """
        terms, name = Terms(Priority.parse(priority), deadline, caller), Path(str(getattr(audio, "name", "audio"))).name
        with Path(audio).open("rb") if isinstance(audio, str | Path) else nullcontext(audio) as heard:
            seconds, channels = await asyncio.to_thread(measure, heard)
            request = TranscriptionRequest(heard, model_id, name, seconds=seconds, channels=channels, fields=fields)
            async with self.open(request, terms, whole=True) as it:
                said = json.loads(await it.read())
        parts = said.get("transcripts") or [said]
        words = [word for part in parts for word in part.get("words") or ()]
        text, language = "\n".join(part.get("text") or "" for part in parts), parts[0].get("language_code")
        lasts = said.get("audio_duration_secs")
        return Transcript(text, words, language, lasts, it.cost_usd, it.model_id, it.request_id or it.id)

    def snapshot(self) -> dict[str, Any]:
        """Limits, what is in flight and queued, breakers, cache and counts, now: plain data."""
        limiters, breakers = self.policies.limiters, self.policies.breakers
        return {
            "ready": self.ready,
            "draining": self.draining,
            "flights": len(self._flying),
            "pools": {p: limiters[p].snapshot() | {"breaker": breakers[p].snapshot()} for p in limiters},
            "latch": next(iter(breakers.values())).latch.snapshot(),
            "retry": {"budget": self.policies.retry.tokens},
            "cache": self.policies.cache.size,
            "usage": self.policies.meter.totals(),
            "meter": self.policies.meter.snapshot(),
        }

    # --------------------------------------------------------------------- the gateway's way in, below the defaults

    def open(self, request: Request, terms: Terms, *, whole: bool, chosen: bool = False) -> Listening:
        """Listen to *request*. ``chosen``: the model was our choice, so another family may stand in for it.

        A transcription is always whole; its bytes are upstream's JSON.
        """
        return Listening(self, request, terms, whole=whole, chosen=chosen)

    def choose(self, quality: str, characters: int, deadline_s: float | None, priority: Priority) -> str:
        """The first model of a quality that takes the text and has room before the deadline."""
        if quality not in QUALITIES:
            raise InvalidRequest(f"quality is one of {', '.join(QUALITIES)}")
        models = [self.house.rules.models[name] for name in QUALITIES[quality]]
        fitting = [model for model in models if characters <= model.max_characters] or models
        deadline, limiters = now() + self.deadline_s(deadline_s, priority), self.policies.limiters
        in_time = (model for model in fitting if not limiters[model.pool].late(priority, deadline, True))
        return next(in_time, fitting[0]).id

    def drain(self) -> None:
        """No new work from now on; what is in flight goes on."""
        self.draining = True

    async def aclose(self, grace_s: float = 0.0) -> None:
        """Drain, wait for what is in flight, give back what is held."""
        self.drain()
        tasks = [flight.task for flight in self._flying if flight.task]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # --------------------------------------------------------------------------------------------------- the inside

    def _listen(
        self,
        text: str,
        *,
        whole: bool,
        voice_id: str | None = None,
        model_id: str | None = None,
        quality: str | None = None,
        output_format: str | None = None,
        timestamps: bool = False,
        priority: str | Priority = Priority.NORMAL,
        deadline: float | None = None,
        caller: str = "local",
        cache: CacheMode = "use",
        **fields: Any,
    ) -> Listening:
        terms, voice = Terms(Priority.parse(priority), deadline, caller, cache), voice_id or self.house.voice_id
        query = {name: fields.pop(name) for name in QUERY if name in fields}
        quality = quality or self.house.quality or "balanced"
        model = model_id or self.choose(quality, len(str(text)), deadline, terms.priority)
        shape: Shape = ("timestamps" if whole else "timestamps-lines") if timestamps else "audio"
        request = SpeechRequest(text, voice, model, output_format or DEFAULT_FORMAT, fields, query, shape)
        kind = TimedListening if timestamps else Listening
        return kind(self, request, terms, whole=whole, chosen=not model_id)

    def deadline_s(self, wanted: float | None, priority: Priority, floor_s: float = 0.0) -> float:
        if wanted is None:
            wanted = max(self.house.deadline_s * (10 if priority is Priority.BATCH else 1), floor_s)
        elif isinstance(wanted, bool) or not isinstance(wanted, int | float) or not wanted > 0:
            raise InvalidRequest("deadline is a number of seconds above zero", code="malformed")
        return min(wanted, DEADLINE_S_MAX)

    def board(self, listening: Listening) -> Reader:
        """Join a flight that speaks the same, or start one."""
        key = listening.key
        flight = self._flights.get(key) if key else None
        listening.cache = ("coalesced" if flight else "miss") if key else "bypass"
        if flight is None:
            refresh = listening.terms.cache == "refresh"
            flight = Flight(listening.call(), self.policies, key, self._off_the_board, refresh)
        reader = Reader(flight, listening.terms.caller, listening.priority, listening.deadline, listening.whole)
        self._flying.add(flight)
        if key:
            self._flights[key] = flight
        return reader

    def _off_the_board(self, flight: Flight) -> None:
        if flight.key and self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        if flight.ended:
            self._flying.discard(flight)

    def caller_terms(self, caller: str) -> CallerTerms:
        """What this caller may do; a caller nobody configured may do what everybody may."""
        return self.house.callers.get(caller, CallerTerms())

    async def check_in(self, caller: str) -> bool:
        """Whether a seat was taken, for ``seats.free``. Raises Overloaded if this caller has as many as it may."""
        if (allowed := self.caller_terms(caller).concurrency) is None:
            return False
        taken = await self.policies.seats.take(caller, allowed)
        if not taken and self.house.enforce:
            message = f"{caller} may have {allowed} requests under way at once; wait for one to end."
            raise Overloaded(message, code="caller_limit", retry_after_s=1)
        if not taken:
            self.policies.meter.observed("caller_limit")
        return taken
