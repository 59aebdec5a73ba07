"""What came in over HTTP, before any framework: read, or refused with the right words."""

import io
import json
from typing import Any

import pytest

from speech.errors import InvalidRequest, Overloaded
from speech.request import Priority
from speech.web import answer, reading, wire
from speech.web.reading import Upload

WAV = b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80>\x00\x00\x00}\x00\x00\x02\x00\x10\x00"
WAV += b"data\x00\x00\x00\x00"


def refused(call: Any, *args: Any, **named: Any) -> tuple[int, str, str]:
    with pytest.raises(InvalidRequest) as error:
        call(*args, **named)
    return error.value.status, error.value.code, error.value.message


# bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"text": "a"} x',
        b'{"seed": NaN}',
        b'{"seed": -Infinity}',
        b'{"seed": 1e999}',
        '{"text": "a"}'.encode("utf-16"),
        b'{"text": "\xff"}',
        b'\xef\xbb\xbf{"text": "a"}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"text": ' + b"[" * 100_000,
        b'{"a":' * 60 + b"1" + b"}" * 60,
        b'{"seed": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_json_object_is_malformed(body: bytes) -> None:
    """Broken, not UTF-8, a number that is none, five thousand levels: 422 each, and never a crash."""
    status, code, message = refused(reading.json_object, body)
    assert (status, code) == (422, "malformed")
    assert "\n" not in message


def test_a_body_is_read_as_the_vendor_reads_it() -> None:
    """Nulls are absent, the last of two equal names counts, and unknown names are kept."""
    body = '{"text": "a", "text": "b", "seed": null, "brand_new": {"x": [1, 2.5, "ü"]}}'.encode()
    assert reading.json_object(body) == {"text": "b", "brand_new": {"x": [1, 2.5, "ü"]}}


@pytest.mark.parametrize("where", ['{"text": "\\ud800"}', '{"a": ["\\udc00x"]}', '{"\\ud800": 1}'])
def test_half_a_character_is_refused_wherever_it_hides(where: str) -> None:
    """No JSON upstream could hold it."""
    assert refused(reading.json_object, where.encode())[:2] == (400, "invalid_request")


# queries


def test_a_query_is_typed_where_it_is_known() -> None:
    """Known names have their types; unknown ones go on as they came, repeated ones as lists."""
    pairs = [
        ("enable_logging", "False"),
        ("optimize_streaming_latency", "3"),
        ("new", "1"),
        ("many", "a"),
        ("many", "b"),
    ]
    assert reading.query(pairs) == {
        "enable_logging": False, "optimize_streaming_latency": 3, "new": "1", "many": ["a", "b"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "pairs",
    [
        [("enable_logging", "maybe")],
        [("enable_logging", "")],
        [("optimize_streaming_latency", "fast")],
        [("optimize_streaming_latency", "1.5")],
        [("optimize_streaming_latency", "٣")],
        [("output_format", "mp3_44100_128"), ("output_format", "pcm_16000")],
    ],
)
def test_nonsense_in_a_query_is_malformed(pairs: list[tuple[str, str]]) -> None:
    """Above all ``enable_logging``: what was meant to keep a text private is never guessed."""
    assert refused(reading.query, pairs)[:2] == (422, "malformed")


# headers


def test_headers_say_who_goes_first_and_by_when() -> None:
    """Priority, deadline in milliseconds, cache; the defaults are the vendor's own behaviour."""
    plain = wire.terms({}, "alice", development=False)
    assert (plain.priority, plain.deadline_s, plain.caller, plain.cache, plain.fault) == (
        Priority.NORMAL, None, "alice", "use", None,
    )  # fmt: skip
    headers = {"x-priority": "interactive", "x-deadline-ms": "1500", "cache-control": "max-age=0, No-Store"}
    urgent = wire.terms(headers, "alice", development=False)
    assert (urgent.priority, urgent.deadline_s, urgent.cache) == (Priority.INTERACTIVE, 1.5, "off")
    assert wire.terms({"cache-control": "no-cache"}, "a", development=False).cache == "refresh"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-priority": "urgent"},
        {"x-priority": ""},
        {"x-priority": "0"},
        *({"x-deadline-ms": text} for text in ("", "0", "-1", "1.5", "1e3", "soon", "600001", "٣٠٠", "9" * 5000)),
    ],
)
def test_nonsense_in_a_header_is_malformed(headers: dict[str, str]) -> None:
    """A wish that can't be read is refused, not forgotten."""
    assert refused(wire.terms, headers, "alice", development=True)[:2] == (422, "malformed")


def test_faults_are_for_development() -> None:
    """In production nobody can ask for one."""
    wish = {"x-sandbox-fault": "stall;after=3"}
    assert wire.terms(wish, "alice", development=True).fault == "stall;after=3"
    assert wire.terms(wish, "alice", development=False).fault is None


def test_a_service_pointed_at_itself_is_told_so() -> None:
    """The hop header is refused before anything is spent, in words that name the variable."""
    assert "ELEVENLABS_BASE_URL" in refused(wire.terms, {"x-speech-hop": "1"}, "alice", development=True)[2]


# forms


def form(*fields: tuple[str, str], file: bytes | None = WAV) -> list[tuple[str, str | Upload]]:
    upload = [] if file is None else [("file", Upload(io.BytesIO(file), "a.wav", "audio/wav"))]
    return [("model_id", "scribe_v2"), *fields, *upload]


def test_a_form_as_the_sdk_sends_it_is_read() -> None:
    """Literal nulls are absent; booleans, numbers, repeated and JSON parts have their types; unknown ones stay text."""
    heard = wire.transcription(
        form(
            ("webhook_metadata", "null"), ("entity_detection", '"pii"'), ("diarize", "true"), ("num_speakers", "2"),
            ("temperature", "0.5"), ("keyterms", "2024"), ("keyterms", "Ünïcode"), ("language_code", "en"),
            ("additional_formats", '[{"format": "srt"}]'), ("tag_audio_events", "false"), ("brand_new", "true"),
        ),
        [("enable_logging", "false")],
    )  # fmt: skip
    assert heard.model_id == "scribe_v2"
    assert (heard.filename, heard.content_type) == ("a.wav", "audio/wav")
    assert heard.query == {"enable_logging": False}
    assert heard.fields == {
        "entity_detection": "pii", "diarize": True, "num_speakers": 2, "temperature": 0.5,
        "keyterms": ["2024", "Ünïcode"], "language_code": "en", "additional_formats": [{"format": "srt"}],
        "tag_audio_events": False, "brand_new": "true",
    }  # fmt: skip


def test_one_keyterm_is_a_list_of_one() -> None:
    assert wire.transcription(form(("keyterms", "one")), []).fields == {"keyterms": ["one"]}


@pytest.mark.parametrize(
    "parts, expected",
    [
        (form(("diarize", "yes, please")), (422, "malformed")),
        (form(("num_speakers", "two")), (422, "malformed")),
        (form(("temperature", "nan")), (422, "malformed")),
        (form(("additional_formats", "[{")), (422, "malformed")),
        (form(("additional_formats", "[" * 5000)), (422, "malformed")),
        (form(("diarize", "true"), ("diarize", "false")), (422, "malformed")),
        (form(file=None), (422, "malformed")),
        (form(("file", "no file"), file=None), (422, "malformed")),
        (form() + form(), (422, "malformed")),
        (form(("source_url", "https://example.com/a.mp3"), file=None), (422, "not_offered")),
        (form(("cloud_storage_url", "https://example.com/a.mp3")), (422, "not_offered")),
        (form(("webhook", "true")), (422, "not_offered")),
        (form(file=b""), (400, "invalid_request")),
        (form(file=b"just words, and no sound at all"), (400, "invalid_request")),
        (form(file=b"%PDF-1.7 \x00\x01\x02"), (400, "invalid_request")),
    ],
)
def test_a_form_that_can_not_be_heard_is_refused(parts: Any, expected: tuple[int, str]) -> None:
    """Unreadable parts 422, a file that nobody could listen to 400; before anything is sent."""
    assert refused(wire.transcription, parts, [])[:2] == expected


def test_a_missing_model_says_what_the_sdk_does() -> None:
    """The SDK drops the form when it retries: the answer tells how to stop it."""
    status, code, message = refused(wire.transcription, form()[1:], [])
    assert (status, code) == (422, "malformed")
    assert "max_retries" in message


def test_raw_pcm_has_no_header_and_a_length() -> None:
    """It looks like nothing, and its size tells the seconds."""
    heard = wire.transcription(form(("file_format", "pcm_s16le_16"), file=b"\x00\x01" * 32_000), [])
    assert (heard.seconds, heard.channels) == (2.0, 1)


# answers


def test_an_error_wears_the_vendors_shape() -> None:
    """With our code twice, the exact wait inside and whole seconds in the header."""
    error = Overloaded("Wait.", retry_after_s=2.3456, request_id="abc")
    got = answer.failed(error)
    assert got.status == 429
    assert json.loads(got.body)["detail"] == {
        "type": "rate_limit_error", "code": "queue_full", "status": "queue_full", "message": "Wait.",
        "request_id": "abc", "retry_after_s": 2.346,
    }  # fmt: skip
    assert (got.headers["retry-after"], got.headers["x-speech-request-id"]) == ("3", "abc")


@pytest.mark.parametrize(
    "status, expected",
    [(404, (404, "not_offered")), (405, (405, "not_offered")), (413, (413, "too_large")), (400, (422, "malformed")),
     (500, (500, "internal_error"))],
)  # fmt: skip
def test_the_frameworks_own_words_are_ours(status: int, expected: tuple[int, str]) -> None:
    """A route that isn't there names those that are."""
    stray = wire.Stray(status)
    assert (stray.status, stray.code) == expected
    assert status not in (404, 405) or "/v1/speech-to-text" in stray.message
