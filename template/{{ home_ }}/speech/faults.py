"""THE TABLE: what upstream did, and what every policy thinks of it.

Policies never judge an answer by themselves: they read one row here, so that no two of them can disagree. Which row an
error body belongs to is the catalogue's to say (``errors.rows``); ElevenLabs means different things by one status, so
the body is read first (``detail.code``, then ``detail.status``, then ``detail.type``) and the status last.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from . import errors
from .catalogue import CATALOGUE


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row.

    ``retry``    no · requeue (a slot will free) · backoff · budget (it may have been billed: a share of traffic only)
    ``health``   alive (they answered) · ill (counts against the breaker) · key, quota (our account: the latch)
    ``bill``     free · uncertain · kept (as it stood when it broke)
    """

    retry: Literal["no", "requeue", "backoff", "budget"]
    health: Literal["alive", "ill", "key", "quota"]
    bill: Literal["free", "uncertain", "kept"]
    error: type[errors.SpeechError]
    says: str


TABLE: dict[str, Verdict] = {
    "concurrency": Verdict(
        "requeue", "alive", "free", errors.UpstreamUnavailable, "ElevenLabs is at its concurrency limit"
    ),
    "busy": Verdict("backoff", "ill", "free", errors.UpstreamUnavailable, "ElevenLabs is busy"),
    "unavailable": Verdict("backoff", "ill", "free", errors.UpstreamUnavailable, "ElevenLabs is unavailable"),
    "server": Verdict("budget", "ill", "uncertain", errors.UpstreamUnavailable, "ElevenLabs failed"),
    "timeout": Verdict("budget", "ill", "uncertain", errors.UpstreamUnavailable, "ElevenLabs did not answer in time"),
    "reset": Verdict("budget", "ill", "uncertain", errors.UpstreamUnavailable, "the connection to ElevenLabs was lost"),
    "unreachable": Verdict("backoff", "ill", "free", errors.UpstreamUnavailable, "ElevenLabs can't be reached"),
    "empty_audio": Verdict(
        "budget", "ill", "uncertain", errors.UpstreamUnavailable, "ElevenLabs answered without audio"
    ),
    "cut": Verdict("no", "ill", "kept", errors.UpstreamUnavailable, "ElevenLabs broke off in the middle"),
    "quota": Verdict("no", "quota", "free", errors.QuotaExhausted, "the ElevenLabs account is out of credits"),
    "key": Verdict("no", "key", "free", errors.UpstreamRefused, "ElevenLabs refuses this service's key"),
    "config": Verdict("no", "alive", "free", errors.UpstreamRefused, "ElevenLabs refuses this service's configuration"),
    "caller": Verdict("no", "alive", "free", errors.InvalidRequest, "ElevenLabs refuses the request"),
    "not_found": Verdict("no", "alive", "free", errors.InvalidRequest, "ElevenLabs doesn't know this voice"),
}


class Fault(Exception):
    """Upstream's failure, classified. ``code`` is theirs (or ours for the network); it is for logs and metrics."""

    def __init__(
        self,
        kind: str,
        code: str = "",
        *,
        status: int | None = None,
        limit: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{kind} {code}".strip())
        self.kind, self.code = kind, code or kind
        self.verdict = TABLE[kind]
        self.status, self.limit, self.retry_after_s, self.request_id = status, limit, retry_after_s, request_id

    def as_error(self) -> errors.SpeechError:
        """What the caller hears: our words, never upstream's, which may quote the text or the account."""
        verdict = self.verdict
        code = "not_found" if self.kind == "not_found" else verdict.error.code
        named = f" ({self.code})" if verdict.error is errors.InvalidRequest and self.code in _KNOWN else ""
        later = (self.retry_after_s or 1.0) if verdict.error is errors.UpstreamUnavailable else None
        return verdict.error(f"{verdict.says}{named}.", code=code, retry_after_s=later, request_id=self.request_id)


_BY_BLAME = {
    "caller": "caller",
    "voice": "not_found",
    "config": "config",
    "key": "key",
    "quota": "quota",
    "limiter": "concurrency",
}
_BY_STATUS = {
    400: "caller", 401: "key", 402: "quota", 403: "config", 404: "config", 409: "config", 413: "caller", 422: "caller",
    425: "busy", 429: "busy", 503: "unavailable",
}  # fmt: skip


def _kind(row: Mapping[str, Any]) -> str:
    return _BY_BLAME.get(row["blame"]) or _BY_STATUS.get(row["http"], "server")


_ROWS: list[dict[str, Any]] = CATALOGUE["errors"]["rows"]
_BY_BOTH = {(row["code"], row["legacy_status"]): _kind(row) for row in _ROWS if row["code"] or row["legacy_status"]}
_BY_WORD = {row[field]: _kind(row) for field in ("legacy_status", "code") for row in reversed(_ROWS) if row[field]}
_KNOWN = frozenset(_BY_WORD)


def classify(status: int, body: object, *, retry_after_s: float | None = None) -> Fault:
    """The fault behind an error answer. ``body`` is the parsed JSON, or text where it was none."""
    detail = body.get("detail") if isinstance(body, Mapping) else None
    said: Mapping[str, Any] = detail if isinstance(detail, Mapping) else {}
    code, legacy = _word(said.get("code")), _word(said.get("status"))
    kind = (
        _BY_BOTH.get((code, legacy))
        or _BY_WORD.get(code or "")
        or _BY_WORD.get(legacy or "")
        or ("busy" if said.get("type") == "rate_limit_error" else None)
        or _BY_STATUS.get(status)
        or ("server" if status >= 500 or status < 400 else "config")
    )
    return Fault(
        kind,
        code or legacy or f"http_{status}",
        status=status,
        limit=_limit(said.get("message")) if kind == "concurrency" else None,
        retry_after_s=retry_after_s,
        request_id=_word(said.get("request_id")),
    )


def _word(value: object) -> str | None:
    """Upstream's identifiers are short and plain; whatever else stands there may quote somebody's text."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w+.-]{1,64}", value) else None


def _limit(message: object) -> int | None:
    """The number in "maximum of 4 concurrent requests"."""
    found = re.search(r"maximum of (\d{1,6}) concurrent", message) if isinstance(message, str) else None
    return int(found[1]) if found else None
