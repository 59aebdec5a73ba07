"""A flight: one paid upstream call, and everybody who reads it.

    retry                   above all that costs: backing off holds no money and no slot
      ledger                above the queue: don't wait for what can't be paid
        limiter             above the breaker: it may open while we queue
          breaker           above the timeout: a hang counts against upstream
            attempt timeout, upstream

Whole answers and streams are one thing: ``synthesize`` reads a flight to its end, ``stream`` reads it as it comes, the
cache keeps it when it ended well. A flight belongs to nobody: its priority is the highest and its deadline the latest
of its readers. The slot is held for as long as upstream speaks, not for as long as a reader listens; what comes in the
meantime waits in memory, whole up to 8 MiB, beyond that at most 1 MiB ahead of the slowest reader.

The mutable state is ``chunks`` (what upstream has said), ``readers``, and the end (``ended``, ``error``). ``_fly``
writes the first and the last; ``board`` and ``left`` write the second.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Protocol

from .breaker import Breaker
from .cache import AudioCache, Kept
from .catalogue import CATALOGUE, Model
from .clock import now
from .errors import BudgetExceeded, DeadlineExceeded, Overloaded, SpeechError
from .faults import Fault
from .ledger import Bill, Charge, Ledger
from .limiter import Lease, Limiter, Ticket
from .meter import Meter
from .request import Priority, Request, SpeechRequest, TranscriptionRequest
from .retry import Retry

KEPT_WHOLE = 8 * 2**20
AHEAD = 2**20


@dataclass(slots=True)
class Answer:
    """What upstream says before it speaks, and then its chunks. ``seconds`` is a transcript's; None is "no news"."""

    chunks: AsyncIterator[bytes]
    cost: int | None = None
    maximum: int | None = None
    current: int | None = None
    request_id: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent upstream, and what it costs."""

    request: Request
    model: Model
    timeout_s: float  # to the first byte
    streamed: bool = False
    fault: str | None = None

    def charge(self, caller: str) -> Charge:
        """What ``caller`` has to put down: an upper bound, settled by what upstream says."""
        amounts = (*self.request.price(self.model), self.request.characters, self.request.seconds)
        return Charge(caller, self.model.id, *amounts)


class Seats(Protocol):
    """How many requests a caller has under way, over all processes."""

    async def take(self, caller: str, most: int) -> bool:
        """False if it has *most*. Where nobody can be asked, only this process's count."""

    async def free(self, caller: str) -> None:
        """Give back one that was taken."""


class Upstream(Protocol):
    """The vendor, as the path sees it. Raises ``Fault`` and nothing else."""

    def open(self, call: Call) -> AbstractAsyncContextManager[Answer]: ...


@dataclass(frozen=True, slots=True)
class Policies:
    """Every guard of the path, and what is behind them."""

    upstream: Upstream
    limiters: dict[str, Limiter]
    breakers: dict[str, Breaker]
    retry: Retry
    ledger: Ledger
    cache: AudioCache
    seats: Seats
    meter: Meter
    attempt_timeout_s: float


@dataclass(eq=False)
class Flight:
    """One upstream call, paid once. ``key`` is None where nobody else may join and nothing may be kept."""

    call: Call
    policies: Policies
    key: str | None
    off_the_board: Callable[["Flight"], None]
    refresh: bool = False  # what was kept before we asked won't do
    chunks: list[bytes] = field(default_factory=list)
    dropped: int = 0  # chunks that every reader has had, gone from the front of ``chunks``
    received: int = 0  # bytes
    readers: list["Reader"] = field(default_factory=list)
    attempts: int = 0
    queue_s: float = 0.0
    sent: float | None = None  # the instant; None while upstream is not at work on it
    first_byte_s: float | None = None  # since it was sent
    answer: Answer | None = None
    bill: Bill | None = None
    payer: "Reader | None" = None
    wanted_whole: bool = False  # by somebody, once
    streamed: bool = False  # by somebody, now
    landed: bool = False  # upstream has said all
    ended: bool = False  # and nobody needs to wait any more
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.news, self.read = asyncio.Event(), asyncio.Event()
        request, self.limiter = self.call.request, self.policies.limiters[self.call.model.pool]
        self.ticket = Ticket(Priority.BATCH, 0.0, whole=False, guess_s=request.guess_s, weight=request.weight)
        self.task: asyncio.Task[None] | None = None

    @property
    def deadline(self) -> float:
        """Nobody is there to hear it after this."""
        return max((r.deadline for r in self.readers), default=now())

    @property
    def billed(self) -> bool:
        return self.bill is not None and self.bill.state == "billed"

    def board(self, reader: "Reader") -> None:
        """Take a reader on. Raises Overloaded, for this reader alone, if its turn would come too late."""
        if self.task and (late := self.limiter.late(reader.priority, reader.deadline, reader.whole, self.ticket)):
            raise late
        self.readers.append(reader)
        self.wanted_whole |= reader.whole
        self._requeue()
        self.task = self.task or asyncio.create_task(self._fly())

    def left(self, reader: "Reader") -> bool:
        """The last one gone: what was not sent, or what only streams wanted, ends now; what was paid whole is kept.

        Whether it ends.
        """
        if reader in self.readers:
            self.readers.remove(reader)
            self.read.set()
        if self.readers:
            self._requeue()
        elif not self.ended and not (self.sent is not None and self.wanted_whole and self.key):
            self.off_the_board(self)  # at once, so that nobody boards a dying one
            return bool(self.task and self.task.cancel())
        return False

    def _requeue(self) -> None:
        self.streamed = not all(r.whole for r in self.readers)
        self.ticket.priority = min(r.priority for r in self.readers)
        self.ticket.deadline, self.ticket.whole = self.deadline, not self.streamed
        self.limiter.reorder(self.ticket)

    async def _fly(self) -> None:
        try:
            async with self.policies.cache.claim(self.key, self.refresh) if self.key else nullcontext() as kept:
                if kept:  # another process has just paid for it
                    self.chunks, self.received = [kept.data], len(kept.data)
                else:
                    await self._take_off()
        except Fault as fault:
            self.error = fault.as_error()
        except asyncio.CancelledError:  # nobody reads any more, or the client closes
            self.error = Overloaded("This service is shutting down; try again.", code="draining", retry_after_s=1)
        except Exception as error:  # noqa: BLE001  every reader gets it, whatever it is
            self.error = error
        finally:
            self.ended = True
            self.off_the_board(self)
            self._tell()

    async def _take_off(self) -> None:
        for attempt in self.policies.retry.attempts(self):
            async with (
                attempt,
                await self._pay() as self.bill,
                self.limiter.admit(self.ticket) as lease,
                self.policies.breakers[self.call.model.pool].guard(),
            ):
                await self._attempt(self.bill, lease)
            if self.landed:
                return await self._keep()

    async def _pay(self) -> Bill:
        """A refusal that concerns one caller goes to that caller alone; the next reader pays."""
        while True:
            payer = self.payer = self.readers[0]
            try:
                return await self.policies.ledger.reserve(self.call.charge(payer.caller))
            except BudgetExceeded as refusal:
                self._refuse(payer, refusal)

    def _refuse(self, reader: "Reader", refusal: SpeechError) -> None:
        reader.refusal = refusal
        self.readers.remove(reader)
        if not self.readers:
            raise refusal
        self._tell()

    async def _attempt(self, bill: Bill, lease: Lease) -> None:
        waited_s = self.ticket.waited_s - self.queue_s
        meter, pool, priority = self.policies.meter, self.call.model.pool, self.ticket.priority.name.lower()
        meter.time("queue_wait_s", waited_s, pool=pool, priority=priority)
        self.attempts, self.queue_s = self.attempts + 1, self.ticket.waited_s
        try:
            await self._listen(bill)
        except Fault as fault:
            fault = Fault("cut", fault.code) if self.billed and fault.kind != "empty_audio" else fault
            self.sent = None
            bill.judged(fault.verdict.bill)
            meter.count("upstream_errors", code=fault.code)
            if fault.kind == "concurrency":
                lease.refused(fault.limit)
            raise fault from None
        finally:
            self._count_money(bill)

    def _count_money(self, bill: Bill) -> None:
        """What the ledger is about to book, for those who watch."""
        booked, meter, model = bill.charge.booked(bill.state), self.policies.meter, self.call.model.id
        for name in ("credits", "uncertain_credits", "cost_usd", "characters", "stt_seconds"):
            if amount := getattr(booked, name):
                meter.count(name, amount, model=model)

    async def _listen(self, bill: Bill) -> None:
        """Read upstream at upstream's pace. One clock: to the first byte, then from chunk to chunk."""
        await bill.send()
        self.sent = now()
        call = replace(self.call, streamed=self.streamed)
        try:
            async with asyncio.timeout(call.timeout_s) as patience:
                async with self.policies.upstream.open(call) as self.answer:
                    self.limiter.heard(self.answer.maximum, self.answer.current)
                    if self.answer.cost is not None:
                        bill.billed(self.answer.cost)
                    await self._hear(bill, self.answer, patience)
                if not self.received:
                    raise Fault("empty_audio")
        except TimeoutError:
            raise Fault("timeout") from None
        request, seconds = call.request, self.answer.seconds
        if isinstance(request, TranscriptionRequest) and seconds is not None:  # of silence nobody knows what it costs
            bill.billed(usd=request.usd(call.model, seconds), seconds=seconds)
        self.landed, bill.answers = True, 1

    async def _hear(self, bill: Bill, answer: Answer, patience: asyncio.Timeout) -> None:
        stall_s, extend_at = self.policies.attempt_timeout_s, 0.0
        async for chunk in answer.chunks:
            if self.first_byte_s is None and self.sent is not None:
                self.first_byte_s = now() - self.sent
                if self.call.request.kind == "tts" and not self.billed:
                    bill.billed()
            self.chunks.append(chunk)
            self.received += len(chunk)
            if self.received > KEPT_WHOLE:
                patience.reschedule(None)  # while we wait for a reader, upstream is not to blame
                await self._room()
                extend_at = 0.0
            elif self.streamed:
                self._tell()  # who wants it whole sleeps to the end: to wake for each chunk costs more than the chunk
            if (instant := now()) >= extend_at:  # not for each chunk, for the same reason
                patience.reschedule(instant + stall_s)
                extend_at = instant + 0.1 * stall_s

    async def _room(self) -> None:
        """Too big to keep: nobody may join any more, and the slowest reader sets the pace."""
        self.off_the_board(self)
        self.key = None
        self._tell()
        if not self.readers:
            raise DeadlineExceeded("Nobody listens any more.")
        while self.received - (slowest := min(self.readers, key=lambda r: r.heard)).heard > AHEAD:
            self.read.clear()
            try:
                await asyncio.wait_for(self.read.wait(), self.policies.attempt_timeout_s)
            except TimeoutError:
                self._refuse(slowest, DeadlineExceeded("The audio was not read for too long."))
        done = min(r.position for r in self.readers) - self.dropped
        del self.chunks[:done]
        self.dropped += done

    async def _keep(self) -> None:
        """After the slot went back, before the readers hear the end, so that the next one to ask has a hit."""
        meter, request, model = self.policies.meter, self.call.request, self.call.model.id
        if self.sent is not None and self.first_byte_s is not None:
            meter.time("first_byte_s", self.first_byte_s, model=model)
            meter.time("last_byte_s", now() - self.sent, model=model)
        if not isinstance(request, SpeechRequest):
            return
        if implausible(request, self.received):
            meter.count("suspicious_audio", model=model)
        elif self.key is not None:
            meta = {"model_id": model, "voice_id": request.voice_id}
            await self.policies.cache.keep(self.key, Kept(b"".join(self.chunks), meta))

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class Reader:
    """One caller's ear on a flight. A class, not a generator: leaving must not wait for the garbage collector."""

    def __init__(self, flight: Flight, caller: str, priority: Priority, deadline: float, whole: bool) -> None:
        self.flight, self.caller, self.priority, self.deadline, self.whole = flight, caller, priority, deadline, whole
        self.position, self.heard = flight.dropped, 0  # chunks and bytes that were read
        self.refusal: SpeechError | None = None
        flight.board(self)

    async def __anext__(self) -> bytes:
        if not await self.ready():
            raise StopAsyncIteration
        chunk = self.flight.chunks[self.position - self.flight.dropped]
        self.position += 1
        self.heard += len(chunk)
        self.flight.read.set()
        return chunk

    async def rest(self) -> list[bytes]:
        """All that is still to come."""
        chunks: list[bytes] = []
        while await self.ready():
            chunks += self.flight.chunks[self.position - self.flight.dropped :]
            self.position = self.flight.dropped + len(self.flight.chunks)
            self.heard = self.flight.received
            self.flight.read.set()
        return chunks

    async def ready(self) -> bool:
        """Wait for more; False at the end. Whole audio has its deadline at the last byte, a stream at the first."""
        flight = self.flight
        while self.position - flight.dropped == len(flight.chunks):
            if failure := self.refusal or flight.error:
                # Ours is copied: each reader's gets a request id of its own.
                raise copy.copy(failure) if isinstance(failure, SpeechError) else failure
            if flight.ended:
                return False
            try:
                async with asyncio.timeout_at(self.deadline if self.whole or not self.position else None):
                    await flight.news.wait()
            except TimeoutError:
                raise DeadlineExceeded("The deadline passed before the audio was there; ask for more time.") from None
        return True

    async def aclose(self) -> None:
        if self.flight.left(self):
            await asyncio.sleep(0)  # so that it lets go of its slot before the caller goes on


def implausible(request: SpeechRequest, received: int) -> bool:
    """Whether the audio is under a tenth of what the text should take: played, counted, never kept."""
    if request.characters <= 40:
        return False
    rate = float(CATALOGUE["formats"][request.output_format]["bytes_per_second"])
    rate *= 1 if request.shape == "audio" else 4 / 3  # base64
    return received / rate < request.expected_s / 10
