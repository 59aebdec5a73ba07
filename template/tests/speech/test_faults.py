"""The fault table: what upstream says, and what every policy thinks of it."""

from typing import Any

import pytest

from speech import errors
from speech.catalogue import CATALOGUE
from speech.faults import TABLE, Fault, classify


def body(**detail: Any) -> dict[str, Any]:
    return {"detail": detail}


CONCURRENCY = (
    "Too many concurrent requests. Your current subscription is associated with a maximum of 4 concurrent requests"
)

ANSWERS: list[tuple[int, object, str]] = [
    (429, body(code="concurrent_limit_exceeded", status="too_many_concurrent_requests"), "concurrency"),
    (429, body(status="too_many_concurrent_requests", message=CONCURRENCY), "concurrency"),
    (429, body(type="rate_limit_error", code="system_busy", status="system_busy"), "busy"),
    (429, body(type="rate_limit_error", code="a_new_kind_of_busy"), "busy"),
    (429, "", "busy"),
    (401, body(status="invalid_api_key"), "key"),
    (401, body(status="quota_exceeded"), "quota"),
    (402, "", "quota"),
    (401, None, "key"),
    (403, body(), "config"),
    (404, body(status="voice_not_found"), "not_found"),
    (422, {"detail": [{"loc": ["body", "text"], "msg": "field required"}]}, "caller"),
    (400, body(status="a_new_refusal"), "caller"),
    (500, "<html>oops</html>", "server"),
    (502, "<html>bad gateway</html>", "server"),
    (503, "", "unavailable"),
    (504, None, "server"),
    (301, "", "server"),
    (418, "", "config"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "said", "kind"), ANSWERS)
def test_an_answer_is_classified(status: int, said: object, kind: str) -> None:
    """The body first, for one status means several things; the status where the body says nothing."""
    assert kind == classify(status, said).kind


@pytest.mark.parametrize("row", CATALOGUE["errors"]["rows"], ids=lambda row: f"{row['http']}-{row['code']}")
def test_every_error_of_the_catalogue_is_known(row: dict[str, Any]) -> None:
    """And each kind of blame leads to the row that doesn't punish somebody else for it."""
    if not (row["code"] or row["legacy_status"]):
        return
    fault = classify(row["http"], body(code=row["code"], status=row["legacy_status"]))
    whose = {"caller": "alive", "voice": "alive", "config": "alive", "limiter": "alive", "key": "key", "quota": "quota"}

    assert whose.get(row["blame"], "ill") == fault.verdict.health


@pytest.mark.parametrize(
    ("message", "limit"),
    [(CONCURRENCY, 4), ("maximum of 12 concurrent requests (running)", 12), ("Too many requests", None), (None, None)],
)
def test_the_number_is_read_from_a_concurrency_refusal(message: str | None, limit: int | None) -> None:
    """It is the only place where speech to text tells its limit."""
    assert limit == classify(429, body(status="too_many_concurrent_requests", message=message)).limit


def test_other_refusals_tell_no_limit() -> None:
    """A number in another fault's text is none."""
    assert classify(429, body(status="system_busy", message=CONCURRENCY)).limit is None


def test_only_what_is_still_free_or_uncertain_is_tried_again() -> None:
    """A fault that may have been billed retries out of the budget; one that certainly was, never."""
    for kind, verdict in TABLE.items():
        assert {"free": True, "uncertain": verdict.retry in ("no", "budget"), "kept": verdict.retry == "no"}[
            verdict.bill
        ], kind


def test_a_fault_that_will_not_mend_is_not_tried_again() -> None:
    """Neither the caller's mistakes nor our account's troubles."""
    for kind in ("caller", "not_found", "config", "key", "quota", "cut"):
        assert "no" == TABLE[kind].retry


def test_what_callers_hear_is_ours() -> None:
    """Never upstream's words: they may quote the text or the account."""
    secret = "the text to speak, and sk_not_to_be_shown"
    for status, said in ((500, secret), (400, body(status=secret, message=secret)), (401, body(code=secret))):
        error = classify(status, said).as_error()
        assert secret not in f"{error!r} {error.message} {error.code}" and secret not in str(classify(status, said))


@pytest.mark.parametrize(
    ("kind", "error", "status", "later"),
    [
        ("server", errors.UpstreamUnavailable, 503, 1.0),
        ("concurrency", errors.UpstreamUnavailable, 503, 1.0),
        ("quota", errors.QuotaExhausted, 402, None),
        ("key", errors.UpstreamRefused, 502, None),
        ("config", errors.UpstreamRefused, 502, None),
        ("caller", errors.InvalidRequest, 400, None),
        ("not_found", errors.InvalidRequest, 404, None),
    ],
)
def test_a_fault_becomes_the_callers_error(
    kind: str, error: type[errors.SpeechError], status: int, later: float | None
) -> None:
    """With the status that says the same, and a time to come back where coming back may help."""
    heard = Fault(kind, request_id="abc123").as_error()

    assert (error, status, later, "abc123") == (type(heard), heard.status, heard.retry_after_s, heard.request_id)
