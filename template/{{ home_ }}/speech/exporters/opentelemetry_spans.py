"""What a request's trace looks like. Names are OpenTelemetry's where it has one (``gen_ai.*``, ``error.type``).

    speech.request                 from the question to the last byte that its caller has read
      speech.attempt               each try: money set aside, a slot waited for, a call made
        speech.queue               the wait
        text_to_speech <model>     the call upstream, from the first byte sent to the last received, or the failure

Its parent is the span that is current where the client is asked, in whatever thread; over HTTP, where nobody has made
one, that of the caller's ``traceparent``. A flight has many readers: it hangs below the request that came first, and
the others have a link to that one. No attribute holds a text, a key or a caller, and none is a message, for a message
may quote one.
"""

import time
from abc import abstractmethod
from contextlib import nullcontext
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, Tracer

from ..errors import InvalidRequest, SpeechError
from ..faults import Fault
from ..flight import Flight
from ..listening import Listening

OPERATIONS = {"tts": "text_to_speech", "stt": "speech_to_text"}
OUTPUTS = {"tts": "speech", "stt": "text"}
TOLD = "id kind outcome priority cache degraded characters credits cost_usd queue_s first_byte_s attempts".split()

_first: WeakKeyDictionary[Flight, SpanContext] = WeakKeyDictionary()
"""The request that a flight hangs below."""


class Span(nullcontext[None]):
    """One that has begun. It is current until it ends, which may be in another task: there it never was."""

    def __init__(
        self, tracer: Tracer, name: str, said: dict[str, Any], parent: Context | None = None, client: bool = False
    ) -> None:
        super().__init__()
        kind = SpanKind.CLIENT if client else SpanKind.SERVER if parent else SpanKind.INTERNAL
        self._before = context.get_current()
        self.span = tracer.start_span(name, parent, kind, said)
        self._within = trace.set_span_in_context(self.span, parent)
        context.attach(self._within)

    def __exit__(self, *exctype: object) -> None:
        if self.span.is_recording():
            error = exctype[1] if isinstance(exctype[1], Exception) else None
            said = self._known(error) | ({"error.type": _why(error)} if error else {})
            self.span.set_attributes({name: value for name, value in said.items() if value is not None})
            if error and not isinstance(error, InvalidRequest):
                self.span.set_status(StatusCode.ERROR)
        self.span.end()
        if context.get_current() is self._within:
            context.attach(self._before)

    async def __aexit__(self, *exctype: object) -> None:
        self.__exit__(*exctype)

    @abstractmethod
    def _known(self, error: Exception | None) -> dict[str, Any]:
        """What there is to say at its end; None is nothing."""


class RequestSpan(Span):
    def __init__(self, tracer: Tracer, listening: Listening) -> None:
        self._of = listening
        kind = listening.request.kind
        super().__init__(tracer, "speech.request", {"speech.kind": kind}, _theirs(listening.terms.trace))

    def _known(self, error: Exception | None) -> dict[str, Any]:
        fields, reader = self._of.fields(), self._of.reader
        first = _first.get(reader.flight) if reader else None
        if first and first.span_id != self.span.get_span_context().span_id:
            self.span.add_link(first)
        model = fields["model"] if fields["model"] in self._of.client.house.rules.models else "other"
        ids = {"gen_ai.request.model": model, "gen_ai.response.id": fields["upstream_id"] or None}
        return ids | {f"speech.{name}": fields[name] for name in TOLD}


class AttemptSpan(Span):
    def __init__(self, tracer: Tracer, flight: Flight) -> None:
        _first.setdefault(flight, trace.get_current_span().get_span_context())
        self._of = flight
        super().__init__(tracer, "speech.attempt", {"speech.attempt": flight.attempts + 1})

    def _known(self, error: Exception | None) -> dict[str, Any]:
        return {
            "speech.pool": self._of.call.model.pool,
            "speech.priority": self._of.ticket.priority.name.lower(),
        }


class UpstreamSpan(Span):
    def __init__(self, tracer: Tracer, flight: Flight) -> None:
        self._of, self._answered_before = flight, flight.answer
        kind, model = flight.call.request.kind, flight.call.model.id
        said = {
            "gen_ai.operation.name": OPERATIONS[kind],
            "gen_ai.provider.name": "elevenlabs",
            "gen_ai.request.model": model,
            "gen_ai.request.stream": flight.streamed,
            "gen_ai.output.type": OUTPUTS[kind],
        }
        super().__init__(tracer, f"{OPERATIONS[kind]} {model}", said, client=True)

    def _known(self, error: Exception | None) -> dict[str, Any]:
        flight = self._of
        answer = flight.answer if flight.answer is not self._answered_before else None
        return {
            "gen_ai.response.id": (answer and answer.request_id) or getattr(error, "request_id", None),
            "gen_ai.response.time_to_first_chunk": flight.first_byte_s,
            "speech.bytes": flight.received,
        }


KINDS: dict[str, Any] = {"request": RequestSpan, "attempt": AttemptSpan, "upstream": UpstreamSpan}


def queued(tracer: Tracer, seconds: float, labels: dict[str, str]) -> None:
    """A wait that is over."""
    ended = time.time_ns()
    said = {f"speech.{name}": value for name, value in labels.items()}
    tracer.start_span("speech.queue", attributes=said, start_time=ended - int(seconds * 1e9)).end(ended)


def _theirs(headers: Any) -> Context | None:
    """What the caller's headers say, unless the application has read them: then its span is current."""
    if not headers or trace.get_current_span().get_span_context().is_valid:
        return None
    return propagate.extract(headers)


def _why(error: Exception) -> str:
    """A code of ours or of the fault table, else the type; never the words."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return error.code if isinstance(error, SpeechError | Fault) else type(error).__name__
