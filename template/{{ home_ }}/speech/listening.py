"""One request's answer, from the check to the log line: out of the cache, or as a reader of a flight.

Entering waits for what decides the status: the first byte of a stream, all of whole audio. So whoever writes headers
has the error, the price and the model before the first of them; what breaks later breaks in the iteration.
"""

import asyncio
import base64
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from .cache import Kept
from .catalogue import QUALITIES, media_type
from .clock import now
from .errors import CircuitOpen, Overloaded, Rejected, SpeechError, UpstreamFault
from .flight import Call, Reader
from .ledger import Charge
from .request import SpeechRequest, Terms, TranscriptionRequest

if TYPE_CHECKING:
    from .client import Client

logger = logging.getLogger(__name__)


class Listening:
    """``async with`` it, then iterate over bytes. What it says of itself is true from the moment it is entered."""

    def __init__(
        self,
        client: "Client",
        request: SpeechRequest | TranscriptionRequest,
        terms: Terms,
        *,
        whole: bool,
        chosen: bool = False,
    ) -> None:
        self.client, self.request, self.terms, self.whole, self.chosen = client, request, terms, whole, chosen
        self.id = secrets.token_hex(10)
        self.cache = "bypass"
        self.degraded: str | None = None
        self.alignment: dict[str, list[Any]] | None = None
        self.kind = "tts" if isinstance(request, SpeechRequest) else "stt"
        self.began = self.deadline = 0.0
        self.priority = max(terms.priority, client.caller_terms(terms.caller).max_priority)
        self._reader: Reader | None = None
        self._chunks: list[bytes] = []
        self._outcome = "left"

    # ------------------------------------------------------------------------------------------------- what it says

    @property
    def model_id(self) -> str:
        return self.request.model_id

    @property
    def media_type(self) -> str:
        return self.request.media_type if isinstance(self.request, SpeechRequest) else "application/json"

    @property
    def characters(self) -> int:
        return self.request.characters if isinstance(self.request, SpeechRequest) else 0

    @property
    def credits(self) -> int:
        """Taken from the account for this answer: nothing for a hit, nothing for a ride on another's flight."""
        return self._charge.credits if self._charge else 0

    @property
    def cost_usd(self) -> float:
        return self._charge.usd if self._charge else 0.0

    @property
    def request_id(self) -> str | None:
        """Upstream's, where upstream was asked for this answer."""
        answer = self._reader.flight.answer if self._paid and self._reader else None
        return answer.request_id if answer else None

    @property
    def queue_s(self) -> float:
        return self._reader.flight.queue_s if self._reader else 0.0

    @property
    def upstream_s(self) -> float | None:
        """Seconds from the last attempt's start to its first byte."""
        return self._reader.flight.first_byte_s if self._reader else None

    @property
    def key(self) -> str | None:
        """Under which it may be joined and kept; None where it may not."""
        request, scope = self.request, self.client.house.cache_scope
        if not isinstance(request, SpeechRequest) or self.terms.cache == "off" or not request.cacheable:
            return None
        return request.key(self.terms.caller if scope == "caller" else "")

    @property
    def _paid(self) -> bool:
        return self._reader is not None and self._reader.flight.payer is self._reader

    @property
    def _charge(self) -> Charge | None:
        """What this answer was billed; None where nobody has billed it, or not to us."""
        bill = self._reader.flight.bill if self._reader and self._paid else None
        return bill.charge if bill and bill.state == "billed" else None

    def call(self) -> Call:
        """What goes upstream. A long text or recording takes its time before the first byte of whole audio."""
        request, model = self.request, self.client.house.rules.models[self.request.model_id]
        needs_s = 1 + request.characters / 150 if isinstance(request, SpeechRequest) else request.seconds / 8
        patience_s = self.client.policies.attempt_timeout_s
        return Call(request, model, max(patience_s, needs_s) if self.whole else patience_s, fault=self.terms.fault)

    # ----------------------------------------------------------------------------------------------------- its life

    async def __aenter__(self) -> Self:
        self.began = now()
        self.client.check_in(self.terms.caller)
        try:
            self._check()
            await self._begin()
        except BaseException as error:
            await self._done(error)
            raise
        return self

    async def __aexit__(self, _type: object, error: BaseException | None, _tb: object) -> None:
        await self._done(error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._chunks:
            return self._chunks.pop(0)
        if self.whole or self._reader is None:
            self._outcome = "ok"
            raise StopAsyncIteration
        try:
            return await anext(self._reader)
        except StopAsyncIteration:
            self._outcome = "ok"
            raise

    def _check(self) -> None:
        client, request = self.client, self.request
        if client.draining:
            raise Overloaded("This service is shutting down; try again.", code="draining", retry_after_s=1)
        if isinstance(request, SpeechRequest):
            request.validate(client.house.rules, streamed=not self.whole)
            floor_s = 0.0
        else:
            request.validate(client.house.rules)
            floor_s = max(30.0, request.seconds / 8)
        self.deadline = self.began + client.deadline_s(self.terms.deadline_s, self.priority, floor_s)

    async def _begin(self) -> None:
        if self.terms.cache == "use" and self.key and (kept := await self.client.policies.cache.get(self.key)):
            self._play(kept, "hit")
            return
        try:
            await self._board()
        except (UpstreamFault, CircuitOpen) as fault:
            await self._degrade(fault)

    async def _board(self) -> None:
        self._reader = self.client.board(self)
        if self.whole:
            self._chunks = [chunk async for chunk in self._reader]
        else:
            await self._reader.ready()

    async def _degrade(self, fault: SpeechError) -> None:
        """Upstream can't answer: old audio, then another family if the model was our choice, then a clear refusal."""
        if self.key and (kept := await self.client.policies.cache.stale(self.key)):
            self.degraded = "stale"
            self._play(kept, "stale")
        elif self.chosen and self.client.house.degrade == "family" and (other := self._other_family()):
            self.degraded = "family"
            self.request = replace(self.request, model_id=other)
            await self._leave()
            await self._board()
        else:
            raise fault
        self.client.policies.meter.count("degraded", how=self.degraded)

    def _other_family(self) -> str | None:
        models = self.client.house.rules.models
        pool = models[self.model_id].pool
        stand_ins = (models[name] for names in QUALITIES.values() for name in names)
        return next((m.id for m in stand_ins if m.pool != pool and self.characters <= m.max_characters), None)

    def _play(self, kept: Kept, cache: str) -> None:
        self._chunks, self.cache = [kept.data], cache

    async def _leave(self) -> None:
        if self._reader is not None:
            await self._reader.aclose()

    async def _done(self, error: BaseException | None) -> None:
        """Count and log it, once, whatever the end was."""
        await self._leave()
        self.client.check_out(self.terms.caller)
        if error is not None:
            self._outcome = error.code if isinstance(error, SpeechError) else _LEFT.get(type(error), "internal_error")
        if isinstance(error, SpeechError):
            error.request_id = self.id
        self._count(error)
        if self._outcome == "ok":
            await self._book()
        logger.info("request", extra={"fields": self._fields()})

    def _count(self, error: BaseException | None) -> None:
        meter = self.client.policies.meter
        meter.count("requests", kind=self.kind, outcome=self._outcome)
        if isinstance(error, Rejected):
            meter.count("refusals", code=error.code)
        elif self._outcome == "ok" and self.kind == "tts":
            meter.count("cache", result=self.cache)

    async def _book(self) -> None:
        ledger = self.client.policies.ledger
        charge = self.call().charge(self.terms.caller)
        if not self._paid:
            await ledger.saved(charge)
            self.client.policies.meter.count("saved_credits", charge.credits, model=self.model_id)
        await ledger.counted(self.terms.caller, self.model_id)

    def _fields(self) -> Mapping[str, Any]:
        return {
            "id": self.id, "upstream_id": self.request_id, "kind": self.kind, "outcome": self._outcome,
            "caller": self.terms.caller, "priority": self.priority.name.lower(), "model": self.model_id,
            "cache": self.cache, "degraded": self.degraded, "characters": self.characters, "credits": self.credits,
            "cost_usd": self.cost_usd, "queue_s": round(self.queue_s, 3), "first_byte_s": round(self.upstream_s or 0, 3),
            "total_s": round(now() - self.began, 3), "attempts": self._reader.flight.attempts if self._reader else 0,
        }  # fmt: skip


class TimedListening(Listening):
    """With timestamps: yields the audio of the vendor's JSON and gathers ``alignment`` on the way."""

    @property
    def media_type(self) -> str:
        return media_type(self.request.output_format) if isinstance(self.request, SpeechRequest) else ""

    async def __anext__(self) -> bytes:
        buffer = b""
        while True:
            buffer += await super().__anext__()
            *lines, buffer = buffer.split(b"\n") if not self.whole else [buffer, b""]
            audio = b"".join(self._heard(json.loads(line)) for line in lines if line.strip())
            if lines:
                if buffer:
                    self._chunks.insert(0, buffer)
                return audio

    def _heard(self, said: Mapping[str, Any]) -> bytes:
        for name, values in (said.get("alignment") or {}).items():
            self.alignment = self.alignment or {}
            self.alignment.setdefault(name, []).extend(values)
        return base64.b64decode(said.get("audio_base64") or "")


_LEFT: dict[type[BaseException], str] = {asyncio.CancelledError: "left", GeneratorExit: "left"}
