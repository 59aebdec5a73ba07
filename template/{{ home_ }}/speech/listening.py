"""One request's answer, from the check to the log line: out of the cache, or as a reader of a flight.

Entering waits for what decides the status: the first byte of a stream, all of whole audio. So whoever writes headers
has the error, the price and the model before the first of them; what breaks later breaks in the iteration.
"""

import base64
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from .catalogue import QUALITIES, media_type
from .clock import now
from .errors import CircuitOpen, Overloaded, Rejected, SpeechError, UpstreamFault
from .flight import Call, Reader
from .request import Request, SpeechRequest, Terms

if TYPE_CHECKING:
    from .client import Client

logger = logging.getLogger(__name__)


class Listening:
    """``async with`` it, then iterate over bytes. What it says of itself is true from the moment it is entered.

    ``credits`` and ``cost_usd`` are what this answer took from the account: nothing for a hit, nothing for a ride on
    another's flight. ``request_id`` is upstream's, where upstream was asked for this answer; ``id`` is ours.
    """

    def __init__(self, client: "Client", request: Request, terms: Terms, *, whole: bool, chosen: bool = False) -> None:
        self.client, self.request, self.terms, self.whole, self.chosen = client, request, terms, whole, chosen
        self.priority = max(terms.priority, client.caller_terms(terms.caller).max_priority)
        self.id, self.request_id = secrets.token_hex(10), ""
        self.cache, self.credits, self.cost_usd, self._kept = "bypass", 0, 0.0, 0  # bytes that were there
        self.began = self.deadline = self.queue_s = 0.0
        self.degraded: str | None = None
        self.upstream_s: float | None = None  # to the first byte
        self.alignment: dict[str, list[Any]] | None = None
        self._paid = self._seated = False
        self.reader: Reader | None = None
        self._chunks: list[bytes] = []
        self._outcome = "left"

    @property
    def model_id(self) -> str:
        return self.request.model_id

    @property
    def media_type(self) -> str:
        return self.request.media_type

    @cached_property
    def key(self) -> str | None:
        """Under which it may be joined and kept; None where it may not, and where we only observe."""
        return self.kept_as if self.client.house.enforce and self.terms.cache != "off" else None

    @property
    def kept_as(self) -> str | None:
        """The key it would have, had nobody said no."""
        if not isinstance(self.request, SpeechRequest) or not self.request.cacheable:
            return None
        return self.request.key(self.terms.caller if self.client.house.cache_scope == "caller" else "")

    def call(self) -> Call:
        """What goes upstream. A long text or recording takes its time before the first byte of whole audio."""
        patience_s = self.client.policies.attempt_timeout_s
        timeout_s = max(patience_s, self.request.guess_s) if self.whole else patience_s
        return Call(self.request, self.client.house.rules.models[self.model_id], timeout_s, fault=self.terms.fault)

    async def __aenter__(self) -> Self:
        self.began, self._span = now(), self.client.policies.meter.span("request", self)
        try:
            await self._check()
            await self._begin()
        except BaseException as error:
            await self._done(error)
            raise
        return self

    async def __aexit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        await self._done(error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._chunks:
            self._kept = len(self._chunks[0])
            return self._chunks.pop(0)
        try:
            if self.whole or self.reader is None:
                raise StopAsyncIteration
            return await anext(self.reader)
        except StopAsyncIteration:
            self._outcome = "ok"
            raise

    async def read(self) -> bytes:
        """All of it, or all that is left."""
        return b"".join([chunk async for chunk in self])

    async def _check(self) -> None:
        client, request = self.client, self.request
        if client.draining:
            raise Overloaded("This service is shutting down; try again.", code="draining", retry_after_s=1)
        request.validate(client.house.rules, streamed=not self.whole)
        floor_s = max(30.0, request.seconds / 8) if request.kind == "stt" else 0.0
        self.deadline = self.began + client.deadline_s(self.terms.deadline_s, self.priority, floor_s)
        self._seated = await client.check_in(self.terms.caller)

    async def _begin(self) -> None:
        cache = self.client.policies.cache
        if self.terms.cache == "use" and self.key and (kept := await cache.get(self.key)):
            self._chunks, self.cache = [kept.data], "hit"
            return
        try:
            await self._board()
        except (UpstreamFault, CircuitOpen) as fault:
            if self.key and (kept := await cache.stale(self.key)):
                self._chunks, self.cache, self.degraded = [kept.data], "stale", "stale"
            elif self.chosen and self.client.house.degrade == "family" and (other := self._other_family()):
                self.request, self.degraded = replace(self.request, model_id=other), "family"
                del self.key  # computed anew: what is kept now is the other model's
                await self._board()
            else:
                raise fault
            self.client.policies.meter.count("degraded", how=self.degraded)

    async def _board(self) -> None:
        reader = self.reader = self.client.board(self)
        try:
            if self.whole:
                self._chunks = [b"".join(await reader.rest())]
            else:
                await reader.ready()
        finally:
            self._tell(reader)

    def _tell(self, reader: Reader) -> None:
        """What is known of the call once it has begun to answer, or has failed to."""
        flight = reader.flight
        self.queue_s, self.upstream_s = flight.queue_s, flight.first_byte_s
        self._paid = flight.payer is reader
        if flight.received and not flight.payer:
            self.cache = "coalesced"  # with a flight of another process
        if self._paid and flight.bill and flight.bill.state == "billed":
            self.credits, self.cost_usd = flight.bill.charge.credits, flight.bill.charge.usd
        if self._paid and flight.answer and flight.answer.request_id:
            self.request_id = flight.answer.request_id

    def _other_family(self) -> str | None:
        models = self.client.house.rules.models
        stand_ins = (models[name] for names in QUALITIES.values() for name in names)
        ours = models[self.model_id].pool
        return next((m.id for m in stand_ins if m.pool != ours and self.request.characters <= m.max_characters), None)

    async def _done(self, error: BaseException | None) -> None:
        """Count, book and log it, once, whatever the end was."""
        if self.reader is not None:
            await self.reader.aclose()
        if self._seated:
            await self.client.policies.seats.free(self.terms.caller)
        if isinstance(error, SpeechError):
            error.request_id, self._outcome = self.id, error.code
        elif isinstance(error, Exception):
            self._outcome = "internal_error"
        await self._count(error)
        self.client.attend(self, error)
        if logger.isEnabledFor(logging.INFO):
            logger.info("request", extra={"fields": self.fields()})
        self._span.__exit__(type(error), error, None)

    async def _count(self, error: BaseException | None) -> None:
        meter, model = self.client.policies.meter, self.model_id
        if self._outcome == "ok" and not self._paid:
            charge = self.call().charge(self.terms.caller)
            await self.client.policies.ledger.saved(charge)
            meter.count("saved_credits", charge.credits, model=model)
            meter.count("saved_bytes", self._kept or (self.reader.heard if self.reader else 0), model=model)
        meter.count("requests", kind=self.request.kind, outcome=self._outcome)
        if isinstance(error, Rejected):
            meter.count("refusals", code=error.code)
        elif self._outcome == "ok" and self.request.kind == "tts":
            meter.count("cache", result=self.cache)

    def fields(self) -> Mapping[str, Any]:
        """What there is to tell of it; never what was said."""
        return {
            "id": self.id, "upstream_id": self.request_id, "kind": self.request.kind, "outcome": self._outcome,
            "caller": self.terms.caller, "priority": self.priority.name.lower(), "model": self.model_id,
            "cache": self.cache, "degraded": self.degraded, "characters": self.request.characters,
            "credits": self.credits, "cost_usd": self.cost_usd, "queue_s": round(self.queue_s, 3),
            "first_byte_s": None if self.upstream_s is None else round(self.upstream_s, 3),
            "total_s": round(now() - self.began, 3), "attempts": self.reader.flight.attempts if self.reader else 0,
        }  # fmt: skip


class TimedListening(Listening):
    """With timestamps: yields the audio of the vendor's JSON and gathers ``alignment`` on the way."""

    @property
    def media_type(self) -> str:
        return media_type(self.request.output_format) if isinstance(self.request, SpeechRequest) else ""

    async def __anext__(self) -> bytes:
        said = await super().__anext__()
        while not self.whole and not said.endswith(b"\n"):  # a line in the middle
            said += await super().__anext__()
        return b"".join(self._heard(json.loads(line)) for line in said.splitlines())

    def _heard(self, said: Mapping[str, Any]) -> bytes:
        for name, values in (said.get("alignment") or {}).items():
            self.alignment = self.alignment or {}
            self.alignment.setdefault(name, []).extend(values)
        return base64.b64decode(said.get("audio_base64") or "")
