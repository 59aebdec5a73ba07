"""A stand-in for the ElevenLabs API, for tests, demos and rehearsals.

The official SDK speaks to it unmodified.  It keeps one account of one plan: slots by model family, credits, a bill.
It logs nothing, listens on loopback only, and remembers no key.

Control, besides the vendor's routes::

    GET  /__sandbox/state   {calls, refused, peak: {pool}, in_flight: {pool}, bill_credits, bill_usd,
                             characters, seconds, limits: {pool}}
    POST /__sandbox/set     any of the fields below; answers with the state, or 400 and one line that names the field

=============  =========================================================================================
``limits``     pool -> number, for any of standard, flash, stt, stt_realtime; those running stay
``mode``       ``refuse`` (a 429 after 0.24 s, or the latency if that is less) or ``queue`` (wait in turn)
``latency_s``  seconds a call takes, or ``[least, most]``, drawn by the seed; streams: first byte at 30 %
``key``        the only key let in; null: any that is not empty
``scopes``     what any key may: text_to_speech, speech_to_text, models_read, voices_read, user_read; null: all
``credits``    how many are left; null: no end (the default)
``others``     credits that other keys of the account have used: in its subscription, not on this bill
``faults``     a list of ``"name;key=value"``, one a call, in order, and of ``{"fault": …, "share": 0.1}``;
               null or ``[]``: none.  The names and what each costs: ``faults.py``
``seed``       for latency, shares and tosses; starts their sequence anew
``reset``      true: counters, bill and peaks to zero, the sequence anew; settings and running calls stay
=============  =========================================================================================

The header ``X-Sandbox-Fault: stall;after=3`` strikes one call, and goes before ``faults``.

*calls* are the POSTs to a voice or to speech to text that came with a good key, whatever became of them; *refused* are
those answered with 429.  Work is paid for when it begins; refusals (4xx, 429, 503) are free.
"""

from collections.abc import Callable, Mapping
from typing import Any

from . import control, listing
from .account import Account
from .calls import Call, Job, Terms, new_trace_id
from .faults import Fault, Plan, parse
from .hearing import read_hearing
from .multipart import parts_of
from .refusals import Refusal, refusal
from .rules import read_speech
from .server import Connection, Request
from .speaking import speaking
from .transcripts import Memory, transcribing

LATENCY_S = 0.2
SPEAKING = ("", "stream", "with-timestamps", "stream/with-timestamps")


class Sandbox:
    """One account and what is asked of it; ``handle`` answers one request."""

    def __init__(self, tier: str = "creator", latency_s: float = LATENCY_S) -> None:
        self.account = Account(tier)
        self.plan = Plan()
        self.memory = Memory()
        self.latency_s = (latency_s, latency_s)
        self.key: str | None = None
        self.scopes: tuple[str, ...] = control.SCOPES
        self.may_wait = False
        self.zero()

    def zero(self) -> None:
        self.calls = self.refused = 0
        self.account.zero()
        self.reseed(self.plan.seed)

    def reseed(self, seed: int) -> None:
        """Chance begins anew: the next call is number one of its sequence."""
        self.plan.seed, self._number = seed, 0

    async def handle(self, request: Request, reply: Connection) -> None:
        trace_id = new_trace_id()
        try:
            if request.path.startswith("/__sandbox/"):
                self._control(request, reply)
            elif job := self._paid(request):
                await self._run(job, request, reply, trace_id)
            else:
                reply.reply(200, self._free(request), {"x-trace-id": trace_id})
        except Refusal as refused:
            reply.reply(refused.status, refused.body(trace_id), {"x-trace-id": trace_id, **refused.headers})

    def _control(self, request: Request, reply: Connection) -> None:
        try:
            if (request.method, request.path) == ("POST", "/__sandbox/set"):
                control.change(self, request.body)
            elif (request.method, request.path) != ("GET", "/__sandbox/state"):
                raise Refusal(404, "there are GET /__sandbox/state and POST /__sandbox/set")
        except ValueError as problem:
            raise Refusal(400, str(problem)) from None
        reply.reply(200, control.state(self))

    def _free(self, request: Request) -> Any:
        """Lists and account; the voices are there without a key, as at the vendor."""
        answers: dict[str, Callable[[], Any]] = {
            "/v1/models": listing.models,
            "/v1/voices": lambda: {"voices": listing.voices()},
            "/v2/voices": lambda: listing.search_voices(request.query),
            "/v1/user": lambda: listing.user(self.account),
            "/v1/user/subscription": lambda: listing.subscription(self.account),
        }
        _, _, voice_id = request.path.rpartition("/")
        answers[f"/v1/voices/{voice_id}"] = lambda: listing.one_voice(voice_id)
        answer = answers.get(request.path)
        if answer is None or request.method != "GET":
            raise Refusal(404, "Not Found")
        if request.path != "/v1/voices":
            scope = "user_read" if "/user" in request.path else "models_read" if "/models" in request.path else ""
            self._check_key(request.headers, scope or "voices_read")
        return answer()

    def _paid(self, request: Request) -> Job | None:
        """What is to be done; None where the request costs nothing."""
        voice_id, _, rest = request.path.removeprefix("/v1/text-to-speech/").partition("/")
        speaks = request.path.startswith("/v1/text-to-speech/") and rest in SPEAKING
        if request.method != "POST" or not (speaks or request.path == "/v1/speech-to-text"):
            return None
        self._check_key(request.headers, "text_to_speech" if speaks else "speech_to_text")
        self.calls += 1
        self._number += 1
        if speaks:
            speech = read_speech(self.account.tier, voice_id, request.query, request.body, "stream" in rest)
            return speaking(speech, rest, self.memory)
        return transcribing(read_hearing(parts_of(request.headers.get("content-type", ""), request.body)), self.memory)

    def _check_key(self, headers: Mapping[str, str], permission: str) -> None:
        given = headers.get("xi-api-key", "")
        if not given:
            raise refusal(
                "needs_authorization", "Neither authorization header nor xi-api-key received, please provide one."
            )
        if self.key is not None and given != self.key:
            raise refusal("invalid_api_key", "Invalid API key", 401)
        if permission not in self.scopes:
            message = f"The API key you used is missing the permission {permission} to execute this operation."
            raise refusal("missing_permissions", message)

    async def _run(self, job: Job, request: Request, reply: Connection, trace_id: str) -> None:
        terms = self._terms(request.headers.get("x-sandbox-fault"))
        try:
            await Call(self.account, job, terms, reply, trace_id).run()
        except Refusal as refused:
            self.refused += refused.status == 429
            raise

    def _terms(self, wanted: str | None) -> Terms:
        """Everything that chance decides, by the number of the call, so that a seed repeats it."""
        number, (least, most) = self._number, self.latency_s
        latency = least + (most - least) * self.plan.chance(number, "latency")
        coin = self.plan.chance(number, "coin") < 0.5
        return Terms(self._fault(wanted, number), latency, coin, self.may_wait)

    def _fault(self, wanted: str | None, number: int) -> Fault:
        try:
            return parse(wanted) if wanted else self.plan.next(number)
        except ValueError as problem:
            raise Refusal(400, f"X-Sandbox-Fault: {problem}") from None
