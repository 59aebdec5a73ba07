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
        self, message: str, *, code: str = "", retry_after_s: float | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.retry_after_s = retry_after_s
        self.request_id = request_id or secrets.token_hex(10)

    @property
    def status(self) -> int:
        """The HTTP status that says the same."""
        return STATUS[self.code]

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (429, 503, 504)

    def body(self) -> dict[str, Any]:
        """As JSON, in the shape that ElevenLabs' own SDKs read; ``status`` repeats the code, as theirs does."""
        kind = TYPE.get(self.status, "invalid_request")
        detail = {"type": kind, "code": self.code, "status": self.code, "message": self.message}
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


STATUS = {
    "invalid_request": 400, "not_found": 404, "too_large": 413, "malformed": 422, "not_offered": 422,
    "queue_full": 429, "deadline_unreachable": 429, "caller_limit": 429, "draining": 503, "circuit_open": 503,
    "budget_exceeded": 402, "deadline_exceeded": 504, "upstream_unavailable": 503, "insufficient_credits": 402,
    "upstream_refused": 502, "invalid_client_key": 401, "forbidden": 403, "internal_error": 500,
}  # fmt: skip
TYPE = {  # as ElevenLabs sorts them
    400: "validation_error", 401: "authentication_error", 402: "payment_required", 403: "authorization_error",
    404: "not_found", 413: "invalid_request", 422: "validation_error", 429: "rate_limit_error", 500: "internal_error",
    502: "upstream_error", 503: "service_unavailable", 504: "timeout_error",
}  # fmt: skip
