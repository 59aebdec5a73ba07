"""One paid call, from its arrival to its last byte: fault, slot, bill, wait, answer.

What is paid is paid when the work begins, as the vendor says: a client that hangs up afterwards has paid in full.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .account import Account, Pool, Price, Slot
from .faults import COINS, REFUSALS, Fault
from .refusals import Refusal, new_id, refusal, too_many
from .server import Connection

REFUSED_AFTER_S = 0.24
PIECES = 8
PIECE_MAX = 64 * 1024
FIRST_BYTE = 0.3  # of the latency, where the answer is streamed
PAGE = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"


@dataclass(frozen=True)
class Job:
    """What is to be done, before anything is made."""

    pool: str
    weight: int
    price: Price
    media_type: str
    streamed: bool
    pieces: Callable[[Fault], list[bytes]]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Terms:
    """What this one call will meet, drawn on arrival."""

    fault: Fault
    latency_s: float
    coin: bool  # whether an unlucky call is billed all the same
    may_wait: bool


class Call:
    """``run`` answers, or raises the Refusal that is the answer."""

    def __init__(self, account: Account, job: Job, terms: Terms, reply: Connection, trace_id: str) -> None:
        self._account, self._job, self._terms, self._reply = account, job, terms, reply
        self._fault, self._trace_id = terms.fault, trace_id

    @property
    def _pool(self) -> Pool:
        return self._account.pools[self._job.pool]

    async def run(self) -> None:
        slot = await self._admit()
        try:
            self._bill()
            await self._work(slot)
        finally:
            slot.release()

    async def _admit(self) -> Slot:
        try:
            if self._fault.name in REFUSALS:
                raise self._refused()
            return await self._pool.admit(self._job.weight, self._terms.may_wait)
        except Refusal:
            await asyncio.sleep(min(REFUSED_AFTER_S, self._terms.latency_s))  # so long the vendor takes to say no
            raise

    def _refused(self) -> Exception:
        match self._fault.name, self._fault.kind:
            case "503", _:
                return refusal("service_unavailable", "The service is temporarily unavailable. Please try again later.")
            case "401", "key":
                return refusal("invalid_api_key", "Invalid API key", 401)
            case "401", "permission":
                message = "The API key you used is missing the permission text_to_speech to execute this operation."
                return refusal("missing_permissions", message)
            case ("401" | "402") as status, _:
                name = "quota_exceeded" if status == "401" else "insufficient_credits"
                return self._account.exhausted(name, self._job.price.credits)
        return self._throttled()

    def _throttled(self) -> Refusal:
        busy = "We are sorry, the system is experiencing heavy traffic, please try again."
        if self._fault.kind == "concurrent":
            refused = too_many(self._pool.limit)
        elif self._fault.kind == "busy":
            refused = refusal("system_busy", f"{busy} Higher subscriptions have higher priority.")
        else:
            refused = refusal("rate_limit_exceeded", "You have sent too many requests. Please slow down.")
        if self._fault.retry_after is not None:
            refused.headers["retry-after"] = str(self._fault.retry_after)
        return refused

    def _bill(self) -> None:
        self._account.check(self._job.price)
        if self._fault.name not in COINS or self._terms.coin:
            self._account.charge(self._job.price)

    async def _work(self, slot: Slot) -> None:
        latency = self._terms.latency_s
        first = latency * FIRST_BYTE if self._job.streamed else latency
        await asyncio.sleep(first + (self._fault.s if self._fault.name in ("slow", "timeout") else 0.0))
        match self._fault.name:
            case "reset" | "timeout":
                self._reply.reset()
            case "500":
                raise refusal("internal_error", "An unexpected error occurred.")
            case "502":
                self._reply.reply(502, PAGE)
            case "504":
                self._reply.reply(504, "")
            case "html":
                self._reply.reply(200, PAGE)
            case _:
                await self._answer(slot, latency - first)

    async def _answer(self, slot: Slot, spread_s: float) -> None:
        self._reply.start(200, self._headers())
        pieces = self._job.pieces(self._fault)
        last = len(pieces) - 1
        strikes = min(self._fault.after, last) if self._fault.name in ("cut", "stall") else -1
        for number, piece in enumerate(pieces):
            if number == strikes and await self._interrupt():
                return
            if number and spread_s > 0:
                await asyncio.sleep(spread_s / last)
            if number < last:
                await self._reply.write(piece)
        slot.release()
        self._reply.finish(pieces[-1] if pieces else b"")

    async def _interrupt(self) -> bool:
        """True where nothing more will come."""
        if self._fault.name == "stall":
            await asyncio.sleep(self._fault.s)
            return False
        await asyncio.sleep(0.01)  # let what was sent arrive: a reset overtakes it
        self._reply.reset()
        return True

    def _headers(self) -> dict[str, str]:
        common = {"content-type": self._job.media_type, "request-id": new_id(), "x-trace-id": self._trace_id}
        if self._job.pool == "stt":
            return {**common, "x-region": "us-central1"}
        return {
            **common,
            "x-region": "us-central1",
            "character-cost": str(self._job.price.credits),
            "current-concurrent-requests": str(self._pool.in_flight),
            "maximum-concurrent-requests": str(self._pool.limit),
            "workspace-concurrent-requests": str(self._account.workspace_in_flight),
            "tts-latency-ms": str(round(self._terms.latency_s * 1000)),
            **self._job.headers,
        }


def split(data: bytes) -> list[bytes]:
    """Eight pieces, or more where one would be long; a very short answer has fewer."""
    size = min(PIECE_MAX, max(1, -(-len(data) // PIECES)))
    return [data[at : at + size] for at in range(0, len(data), size)]


def new_trace_id() -> str:
    return f"{random.getrandbits(128):032x}"
