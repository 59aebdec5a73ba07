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


_AWAY, _REFUSED, _WRONG = errors.UpstreamUnavailable, errors.UpstreamRefused, errors.InvalidRequest

TABLE = {
    "concurrency": Verdict("requeue", "alive", "free", _AWAY, "ElevenLabs is at its concurrency limit"),
    "busy": Verdict("backoff", "ill", "free", _AWAY, "ElevenLabs is busy"),
    "unavailable": Verdict("backoff", "ill", "free", _AWAY, "ElevenLabs is unavailable"),
    "unreachable": Verdict("backoff", "ill", "free", _AWAY, "ElevenLabs can't be reached"),
    "server": Verdict("budget", "ill", "uncertain", _AWAY, "ElevenLabs failed"),
    "timeout": Verdict("budget", "ill", "uncertain", _AWAY, "ElevenLabs did not answer in time"),
    "reset": Verdict("budget", "ill", "uncertain", _AWAY, "the connection to ElevenLabs was lost"),
    "empty_audio": Verdict("budget", "ill", "uncertain", _AWAY, "ElevenLabs answered without audio"),
    "cut": Verdict("no", "ill", "kept", _AWAY, "ElevenLabs broke off in the middle"),
    "quota": Verdict("no", "quota", "free", errors.QuotaExhausted, "the ElevenLabs account is out of credits"),
    "key": Verdict("no", "key", "free", _REFUSED, "ElevenLabs refuses this service's key"),
    "config": Verdict("no", "alive", "free", _REFUSED, "ElevenLabs refuses this service's configuration"),
    "caller": Verdict("no", "alive", "free", _WRONG, "ElevenLabs refuses the request"),
    "not_found": Verdict("no", "alive", "free", _WRONG, "ElevenLabs doesn't know this voice"),
}


class Fault(Exception):
    """Upstream's failure, classified. ``code`` is theirs (or ours for the network); it is for logs and metrics."""

    def __init__(self, kind: str, code: str = "", **said: Any) -> None:
        super().__init__(f"{kind} {code}".strip())
        self.kind, self.code, self.verdict = kind, code or kind, TABLE[kind]
        self.limit: int | None = said.get("limit")  # the number in a concurrency refusal
        self.retry_after_s: float | None = said.get("retry_after_s")
        self.request_id: str | None = said.get("request_id")

    def as_error(self) -> errors.SpeechError:
        """What the caller hears: our words, never upstream's, which may quote the text or the account."""
        verdict = self.verdict
        code = "not_found" if self.kind == "not_found" else verdict.error.code
        named = f" ({self.code})" if verdict.error is _WRONG else ""
        later = self.retry_after_s or 1.0 if verdict.error is _AWAY else None
        return verdict.error(f"{verdict.says}{named}.", code=code, retry_after_s=later, request_id=self.request_id)


_BY_BLAME = {"voice": "not_found", "limiter": "concurrency"} | {w: w for w in ("caller", "config", "key", "quota")}
_BY_STATUS = {
    400: "caller", 401: "key", 402: "quota", 403: "config", 404: "config", 409: "config", 413: "caller", 422: "caller",
    425: "busy", 429: "busy", 503: "unavailable",
}  # fmt: skip


def _kind(row: Mapping[str, Any]) -> str:
    return _BY_BLAME.get(row["blame"]) or _BY_STATUS.get(row["http"], "server")


_ROWS: list[dict[str, Any]] = CATALOGUE["errors"]["rows"]
_BY_BOTH: dict[Any, str] = {
    (row["code"], row["legacy_status"]): _kind(row) for row in _ROWS if row["code"] or row["legacy_status"]
}
_BY_WORD: dict[Any, str] = {
    row[field]: _kind(row) for field in ("legacy_status", "code") for row in reversed(_ROWS) if row[field]
}


def classify(status: int, body: object, *, retry_after_s: float | None = None) -> Fault:
    """The fault behind an error answer. ``body`` is the parsed JSON, or text where it was none."""
    detail = body.get("detail") if isinstance(body, Mapping) else None
    said: Mapping[str, Any] = detail if isinstance(detail, Mapping) else {}
    code, legacy, message = said.get("code"), said.get("status"), said.get("message")
    kind = (
        _BY_BOTH.get((code, legacy))
        or _BY_WORD.get(code)
        or _BY_WORD.get(legacy)
        or ("busy" if said.get("type") == "rate_limit_error" else None)
        or _BY_STATUS.get(status)
        or ("server" if status >= 500 or status < 400 else "config")
    )
    named = next((str(word) for word in (code, legacy) if word in _BY_WORD), f"http_{status}")
    limit = re.search(r"maximum of (\d{1,6}) concurrent", str(message)) if kind == "concurrency" else None
    most = int(limit[1]) if limit else None
    return Fault(kind, named, limit=most, retry_after_s=retry_after_s, request_id=said.get("request_id"))
