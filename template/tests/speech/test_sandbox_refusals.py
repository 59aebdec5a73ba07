"""What the vendor refuses, the sandbox refuses: same status, same body, and nothing is billed."""

from typing import Any

import httpx
import pytest
from sandbox_calls import FLASH, TALIA, hear, speak

from speech.catalogue import CATALOGUE
from speech.testing.plugin import SandboxThread

TIERS = list(CATALOGUE["plans"])
PCM = bytes([1, 2]) * 16000


def refused(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """The detail of an answer that must be a refusal of that status and legacy name."""
    detail: dict[str, Any] = answer.json()["detail"]
    assert (answer.status_code, detail["status"]) == (status, name), detail
    assert detail["request_id"] == answer.headers["x-trace-id"]
    assert "character-cost" not in answer.headers and "request-id" not in answer.headers
    return detail


@pytest.mark.parametrize(
    ("asked", "status", "name"),
    [
        ({"model_id": "eleven_v9"}, 400, "model_not_found"),
        ({"model_id": "eleven_monolingual_v1"}, 400, "model_not_found"),
        ({"model_id": "scribe_v2"}, 400, "model_not_found"),
        ({"text": "x" * 5501, "model_id": "eleven_v3"}, 400, "max_character_limit_exceeded"),
        ({"text": "", "model_id": "eleven_v3"}, 400, "input_text_empty"),
        ({"text": " 🎉 ", "model_id": "eleven_v4"}, 400, "input_text_empty"),
        ({"previous_text": "before", "model_id": "eleven_v3"}, 400, "unsupported_model"),
        ({"next_request_ids": ["a"], "model_id": "eleven_v3_conversational"}, 400, "unsupported_model"),
        ({"language_code": "xx"}, 400, "unsupported_language"),
        ({"language_code": "de", "model_id": "eleven_flash_v2"}, 400, "unsupported_language"),
        ({"voice_settings": {"speed": 0.69}}, 400, "invalid_voice_settings"),
        ({"voice_settings": {"speed": 2.0}, "model_id": "eleven_multilingual_v2"}, 400, "invalid_voice_settings"),
        ({"voice_settings": {"stability": 1.5}}, 400, "invalid_voice_settings"),
        ({"voice": "short"}, 400, "invalid_uid"),
        ({"voice": "unknown0000000000000"}, 404, "voice_not_found"),
        ({"query": {"output_format": "mp3_44100_129"}}, 403, "invalid_output_format"),
        ({"query": {"output_format": "wav_16000"}, "endpoint": "/stream"}, 403, "invalid_output_format"),
        ({"query": {"output_format": "pcm_44100"}}, 403, "output_format_not_allowed"),
        ({"key": None}, 401, "needs_authorization"),
    ],
)
def test_a_request_to_speak_is_refused_as_the_vendor_does(
    speech_sandbox: SandboxThread, asked: dict[str, Any], status: int, name: str
) -> None:
    refused(speak(speech_sandbox, **asked), status, name)
    assert speech_sandbox.state()["bill_credits"] == 0


@pytest.mark.parametrize(
    "asked",
    [
        {"text": "x" * 5500, "model_id": "eleven_v3"},
        {"text": "", "model_id": "eleven_multilingual_v2"},
        {"previous_text": "before"},
        {"previous_request_ids": ["a", "b", "c"]},
        {"language_code": "xx", "model_id": "eleven_multilingual_v2"},
        {"voice_settings": {"speed": 9.0}, "model_id": "eleven_v4"},
        {"seed": -5},
        {"no_such_field": True},
        {"voice_settings": None},
        {"text": "lone \ud83d surrogate"},
        {"query": {"output_format": "wav_16000"}, "endpoint": "/with-timestamps"},
    ],
)
def test_what_the_vendor_lets_pass_is_spoken(speech_sandbox: SandboxThread, asked: dict[str, Any]) -> None:
    assert speak(speech_sandbox, **asked).status_code == 200


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ({"text": ...}, ["body", "text"]),
        ({"text": None}, ["body", "text"]),
        ({"text": 5}, ["body", "text"]),
        ({"seed": "one"}, ["body", "seed"]),
        ({"voice_settings": {"speed": "fast"}}, ["body", "voice_settings", "speed"]),
        ({"voice_settings": [1]}, ["body", "voice_settings"]),
        ({"previous_request_ids": "a"}, ["body", "previous_request_ids"]),
        ({"apply_text_normalization": "maybe"}, ["body", "apply_text_normalization"]),
    ],
)
def test_an_ill_typed_field_is_listed(speech_sandbox: SandboxThread, asked: dict[str, Any], place: list[str]) -> None:
    answer = speak(speech_sandbox, **asked)
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [place]


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 422), (b"", 422), (b"[]", 422), (b"[" * 5000, 422), (b'{"text": "\xff"}', 400)]
)
def test_a_body_that_cannot_be_read_is_refused(speech_sandbox: SandboxThread, body: bytes, status: int) -> None:
    url = f"{speech_sandbox.url}/v1/text-to-speech/{TALIA}"
    assert httpx.post(url, content=body, headers={"xi-api-key": "any"}).status_code == status


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("name", "needed"), [("mp3_44100_192", "creator"), ("pcm_44100", "pro"), ("opus_48000_192", "free")]
)
def test_a_format_opens_with_its_plan(tier: str, name: str, needed: str) -> None:
    rising = ["free", "payg", "starter", "creator", "pro", "scale", "business", "enterprise"]
    with SandboxThread(tier) as sandbox:
        allowed = speak(sandbox, query={"output_format": name}).status_code == 200
    assert allowed is (rising.index(tier) >= rising.index(needed))


@pytest.mark.parametrize(("tier", "status"), [("free", 402), ("starter", 200)])
def test_library_voices_are_for_those_who_pay(tier: str, status: int) -> None:
    rachel = CATALOGUE["voices"]["legacy"][0]["voice_id"]
    with SandboxThread(tier) as sandbox:
        assert speak(sandbox, voice=rachel).status_code == status


def test_only_the_key_that_was_set_is_let_in(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(key="right")
    refused(speak(speech_sandbox, key="wrong"), 401, "invalid_api_key")
    refused(hear(speech_sandbox, PCM, key="wrong"), 401, "invalid_api_key")
    assert speak(speech_sandbox, key="right").status_code == 200
    assert speech_sandbox.state()["calls"] == 1


def test_credits_run_out_but_never_below_zero(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(credits=4)
    assert speak(speech_sandbox, "hello").status_code == 200
    detail = refused(speak(speech_sandbox, "hello"), 401, "quota_exceeded")
    assert "quota of 4. You have 1 credits remaining, while 3 credits are required" in detail["message"]
    assert speech_sandbox.state()["bill_credits"] == 3


def test_speech_to_text_needs_an_account_with_something_left(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(credits=0)
    refused(hear(speech_sandbox, PCM, file_format="pcm_s16le_16"), 401, "quota_exceeded")


@pytest.mark.parametrize(
    ("file", "fields", "status", "name"),
    [
        (PCM, {"model_id": "scribe_v9"}, 400, "invalid_model_id"),
        (PCM, {"language_code": "english"}, 400, "invalid_language_code"),
        (PCM, {"keyterms": ["x" * 51]}, 400, "invalid_keyword_length"),
        (PCM, {"keyterms": ["good", "<bad>"]}, 400, "invalid_keyword"),
        (b"", {}, 400, "empty_file"),
        (b"this is no audio at all", {}, 400, "invalid_content"),
        (b"RIFF....WAVE", {}, 400, "invalid_content"),
        (b"OggS", {}, 400, "invalid_content"),
        (None, {}, 400, "invalid_parameters"),
        (None, {"source_url": "https://example.com/x.mp3"}, 400, "invalid_request"),
    ],
)
def test_an_upload_is_refused_as_the_vendor_does(
    speech_sandbox: SandboxThread, file: bytes | None, fields: dict[str, Any], status: int, name: str
) -> None:
    refused(hear(speech_sandbox, file, **fields), status, name)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model_id": None}, "model_id"),
        ({"model_id": "null"}, "model_id"),
        ({"timestamps_granularity": "letter"}, "timestamps_granularity"),
        ({"num_speakers": "33"}, "num_speakers"),
        ({"temperature": "hot"}, "temperature"),
        ({"diarize": "perhaps"}, "diarize"),
    ],
)
def test_an_ill_typed_form_field_is_listed(speech_sandbox: SandboxThread, fields: dict[str, Any], field: str) -> None:
    answer = hear(speech_sandbox, PCM, **fields)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", field]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nothing"),
        ("POST", "/v1/models"),
        ("GET", f"/v1/text-to-speech/{TALIA}"),
        ("POST", f"/v1/text-to-speech/{TALIA}/backwards"),
        ("POST", "/"),
    ],
)
def test_a_path_that_is_not_there_gets_a_bare_string(speech_sandbox: SandboxThread, method: str, path: str) -> None:
    answer = httpx.request(method, f"{speech_sandbox.url}{path}", headers={"xi-api-key": "any"})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize(("voice", "name"), [("short", "invalid_uid"), ("unknown0000000000000", "voice_not_found")])
def test_what_is_known_of_an_unknown_voice_is_400(speech_sandbox: SandboxThread, voice: str, name: str) -> None:
    """Not 404, as where it should speak: so seen at the vendor."""
    answer = httpx.get(f"{speech_sandbox.url}/v1/voices/{voice}", headers={"xi-api-key": "any"})
    refused(answer, 400, name)


def test_a_longer_text_than_documented_passes_up_to_a_tenth(speech_sandbox: SandboxThread) -> None:
    answer = speak(speech_sandbox, "x" * 44_001, model_id=FLASH)
    assert "exceeds the maximum text length of 40000" in refused(answer, 400, "max_character_limit_exceeded")["message"]
