"""What can go wrong, as a caller sees it.

SpeechError
├── InvalidRequest          the caller's to mend: invalid_request, not_found, too_large, malformed, not_offered
├── Rejected                ours: upstream never saw it; see ``retry_after_s``
│   ├── Overloaded          queue_full, deadline_unreachable, caller_limit, draining
│   ├── CircuitOpen         circuit_open
│   └── BudgetExceeded      budget_exceeded
├── DeadlineExceeded        deadline_exceeded
└── UpstreamFault           theirs; ``faults.py`` says what each policy does about it
    ├── UpstreamUnavailable upstream_unavailable
    ├── QuotaExhausted      insufficient_credits
    └── UpstreamRefused     upstream_refused: our key, plan or configuration; the log says which

``except Rejected`` catches every "no" that cost nothing. A message never holds the text that was to be spoken.
"""

import math
import secrets
from typing import Any


class SpeechError(Exception):
    """The root: ``code`` is stable, ``message`` may be shown to anybody and says what to do."""

    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.retry_after_s = retry_after_s
        self.request_id = request_id or secrets.token_hex(10)

    @property
    def status(self) -> int:
        """The HTTP status that says the same."""
        return ANSWERS[self.code][0]

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (429, 503, 504)

    def body(self) -> dict[str, Any]:
        """As JSON, in the shape that ElevenLabs' own SDKs read; ``status`` repeats the code, as theirs does."""
        detail = {"type": ANSWERS[self.code][1], "code": self.code, "status": self.code, "message": self.message}
        later = {} if self.retry_after_s is None else {"retry_after_s": round(self.retry_after_s, 3)}
        return {"detail": {**detail, "request_id": self.request_id, **later}}

    def headers(self) -> dict[str, str]:
        """``Retry-After`` is in whole seconds, at least one."""
        later = {} if self.retry_after_s is None else {"retry-after": str(max(1, math.ceil(self.retry_after_s)))}
        return {"request-id": self.request_id, "x-speech-request-id": self.request_id} | later


class InvalidRequest(SpeechError):
    """Nothing was spent: the request can't succeed as it is."""

    code = "invalid_request"


class Rejected(SpeechError):
    """Our own "no": upstream never saw the request."""


class Overloaded(Rejected):
    """Shed: the queue is full, the deadline can't be met, a caller has its share, or we are leaving."""

    code = "queue_full"


class CircuitOpen(Rejected):
    """Upstream is ill; asking now would only take its time."""

    code = "circuit_open"


class BudgetExceeded(Rejected):
    """The money set aside for this day, month or caller is spent."""

    code = "budget_exceeded"


class DeadlineExceeded(SpeechError):
    """The answer would have come too late."""

    code = "deadline_exceeded"


class UpstreamFault(SpeechError):
    """Upstream failed us."""

    code = "upstream_unavailable"


class UpstreamUnavailable(UpstreamFault):
    """5xx, timeouts, resets, 429s: once the retries are spent."""


class QuotaExhausted(UpstreamFault):
    """The account is out of credits."""

    code = "insufficient_credits"


class UpstreamRefused(UpstreamFault):
    """Upstream refuses our key, plan or configuration: an operator has to look."""

    code = "upstream_refused"


ANSWERS: dict[str, tuple[int, str]] = {
    "invalid_request": (400, "validation_error"),
    "not_found": (404, "not_found"),
    "too_large": (413, "invalid_request"),
    "malformed": (422, "validation_error"),
    "not_offered": (422, "invalid_request"),
    "queue_full": (429, "rate_limit_error"),
    "deadline_unreachable": (429, "rate_limit_error"),
    "caller_limit": (429, "rate_limit_error"),
    "draining": (503, "service_unavailable"),
    "circuit_open": (503, "service_unavailable"),
    "budget_exceeded": (402, "payment_required"),
    "deadline_exceeded": (504, "timeout_error"),
    "upstream_unavailable": (503, "service_unavailable"),
    "insufficient_credits": (402, "payment_required"),
    "upstream_refused": (502, "upstream_error"),
    "invalid_client_key": (401, "authentication_error"),
    "forbidden": (403, "authorization_error"),
    "internal_error": (500, "internal_error"),
}
