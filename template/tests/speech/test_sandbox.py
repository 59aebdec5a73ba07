"""The sandbox through the official SDK, sync and async: every route, every header, and how it is set from outside."""

import base64
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from elevenlabs.client import AsyncElevenLabs, ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.core.request_options import RequestOptions
from elevenlabs.errors import UnprocessableEntityError
from sandbox_calls import FLASH, TALIA, hear, speak

import speech
from speech.catalogue import CATALOGUE
from speech.testing.plugin import SandboxThread

OFFERED = [name for name, spec in CATALOGUE["formats"].items() if spec.get("offer", True)]


@pytest.fixture
def sdk(speech_sandbox: SandboxThread) -> Iterator[ElevenLabs]:
    with httpx.Client(timeout=10) as client:
        yield ElevenLabs(api_key="any", base_url=speech_sandbox.url, httpx_client=client)


@pytest.fixture
async def async_sdk(speech_sandbox: SandboxThread) -> AsyncIterator[AsyncElevenLabs]:
    async with httpx.AsyncClient(timeout=10) as client:
        yield AsyncElevenLabs(api_key="any", base_url=speech_sandbox.url, httpx_client=client)


def test_whole_and_streamed_audio_are_the_same(sdk: ElevenLabs) -> None:
    whole = b"".join(sdk.text_to_speech.convert(TALIA, text="hello there", model_id=FLASH))
    assert whole == b"".join(sdk.text_to_speech.stream(TALIA, text="hello there", model_id=FLASH))
    assert whole.startswith(b"ID3")


async def test_the_async_sdk_hears_what_the_sync_one_hears(sdk: ElevenLabs, async_sdk: AsyncElevenLabs) -> None:
    chunks = [chunk async for chunk in async_sdk.text_to_speech.stream(TALIA, text="hello", model_id=FLASH)]
    assert b"".join(chunks) == b"".join(sdk.text_to_speech.convert(TALIA, text="hello", model_id=FLASH))


def test_timestamps_name_every_character_within_the_audio(sdk: ElevenLabs) -> None:
    answer = sdk.text_to_speech.convert_with_timestamps(TALIA, text="héllo", model_id=FLASH)
    assert answer.alignment is not None
    assert answer.alignment.characters == list("héllo")
    assert answer.alignment.character_end_times_seconds[-1] == pytest.approx(5 / 15, abs=0.01)
    assert base64.b64decode(answer.audio_base_64).startswith(b"ID3")


async def test_streamed_timestamps_are_json_lines_that_add_up(async_sdk: AsyncElevenLabs) -> None:
    voice = async_sdk.text_to_speech
    lines = [line async for line in voice.stream_with_timestamps(TALIA, text="hello there")]
    whole = await voice.convert_with_timestamps(TALIA, text="hello there")
    assert b"".join(base64.b64decode(line.audio_base_64) for line in lines) == base64.b64decode(whole.audio_base_64)
    assert "".join("".join(line.alignment.characters) for line in lines if line.alignment) == "hello there"


def test_what_was_spoken_is_heard_again(sdk: ElevenLabs) -> None:
    """The SDK's own form, with its parts that say null, arrives whole; so do repeated parts."""
    said = b"".join(sdk.text_to_speech.convert(TALIA, text="hello there", model_id=FLASH))
    heard: Any = sdk.speech_to_text.convert(
        model_id="scribe_v2", file=("said.mp3", said, "audio/mpeg"), keyterms=["one", "two"], diarize=True
    )
    assert heard.text == "hello there"
    assert [(word.text, word.type) for word in heard.words] == [("hello", "word"), (" ", "spacing"), ("there", "word")]
    assert heard.language_code == "eng"
    assert heard.audio_duration_secs == pytest.approx(11 / 15, abs=0.03)


async def test_the_async_sdk_is_heard_too(async_sdk: AsyncElevenLabs) -> None:
    heard: Any = await async_sdk.speech_to_text.convert(
        model_id="scribe_v2", file=bytes([1, 2] * 32000), file_format="pcm_s16le_16"
    )
    assert heard.audio_duration_secs == 2.0
    assert len(heard.text.split()) == 5


def test_a_retry_by_the_sdk_arrives_without_its_form(sdk: ElevenLabs, speech_sandbox: SandboxThread) -> None:
    """Why nothing here lets the SDK retry: its second try drops every field but the file, and the vendor says 422."""
    said = speak(speech_sandbox).content
    speech_sandbox.set(faults=["503"], reset=True)
    with pytest.raises(UnprocessableEntityError, match="model_id"):
        sdk.speech_to_text.convert(model_id="scribe_v2", file=said)
    assert speech_sandbox.state()["calls"] == 2


def test_a_second_call_after_a_refusal_is_heard_whole(sdk: ElevenLabs, speech_sandbox: SandboxThread) -> None:
    said = speak(speech_sandbox, "hello there").content
    speech_sandbox.set(faults=["429"])
    once = RequestOptions(max_retries=0)
    with pytest.raises(ApiError) as refused:
        sdk.speech_to_text.convert(model_id="scribe_v2", file=said, request_options=once)
    heard: Any = sdk.speech_to_text.convert(model_id="scribe_v2", file=said, request_options=once)
    assert (refused.value.status_code, heard.text) == (429, "hello there")


def test_the_first_byte_of_a_stream_comes_early(speech_sandbox: SandboxThread) -> None:
    """At 30 % of the latency; the rest is spread over what remains of it."""
    speech_sandbox.set(latency_s=0.5)
    url = f"{speech_sandbox.url}/v1/text-to-speech/{TALIA}/stream"
    with httpx.stream("POST", url, json={"text": "hello"}, headers={"xi-api-key": "any"}) as answer:
        arrivals = [time.monotonic() for _ in answer.iter_raw()]
    assert arrivals[-1] - arrivals[0] >= 0.15


def test_lists_and_account_are_what_the_sdk_reads(sdk: ElevenLabs) -> None:
    assert {model.model_id for model in sdk.models.list()} >= {"eleven_v4", "eleven_multilingual_v2", FLASH}
    assert TALIA in {voice.voice_id for voice in sdk.voices.get_all().voices}
    assert sdk.voices.get(TALIA).name == "Talia"
    assert sdk.user.get().subscription.tier == sdk.user.subscription.get().tier == "creator"


def test_voices_come_by_pages(sdk: ElevenLabs) -> None:
    first = sdk.voices.search(page_size=20)
    rest = sdk.voices.search(page_size=100, next_page_token=first.next_page_token)
    assert (len(first.voices), first.has_more, rest.has_more) == (20, True, False)
    assert first.total_count == len(first.voices) + len(rest.voices)
    assert [voice.name for voice in sdk.voices.search(search="tali").voices] == ["Talia"]


def test_voices_are_listed_without_a_key(speech_sandbox: SandboxThread) -> None:
    assert httpx.get(f"{speech_sandbox.url}/v1/voices").status_code == 200
    assert httpx.get(f"{speech_sandbox.url}/v2/voices").status_code == 401


@pytest.mark.parametrize("name", OFFERED)
def test_every_format_comes_with_its_media_type(name: str) -> None:
    with SandboxThread("pro") as sandbox:
        answer = speak(sandbox, query={"output_format": name})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == CATALOGUE["formats"][name]["mime"]


@pytest.mark.parametrize("endpoint", ["", "/stream", "/with-timestamps", "/stream/with-timestamps"])
def test_headers_are_those_seen_live(speech_sandbox: SandboxThread, endpoint: str) -> None:
    headers = speak(speech_sandbox, endpoint=endpoint).headers
    assert headers["character-cost"] == "3"
    assert headers["current-concurrent-requests"] == headers["workspace-concurrent-requests"] == "1"
    assert headers["maximum-concurrent-requests"] == "10"
    assert len(headers["request-id"]) == len(headers["history-item-id"]) == 20
    assert int(headers["tts-latency-ms"]) == 10
    assert len(headers["x-trace-id"]) == 32 and "x-region" in headers


def test_speech_to_text_tells_no_cost_and_no_concurrency(speech_sandbox: SandboxThread) -> None:
    headers = hear(speech_sandbox, bytes([1, 2]) * 16000, file_format="pcm_s16le_16").headers
    assert len(headers["request-id"]) == 20
    assert "character-cost" not in headers and "maximum-concurrent-requests" not in headers


@pytest.mark.parametrize(("tier", "stored"), [("creator", True), ("enterprise", False)])
def test_only_enterprise_keeps_nothing(tier: str, stored: bool) -> None:
    with SandboxThread(tier) as sandbox:
        headers = speak(sandbox, query={"enable_logging": "false"}).headers
    assert (headers["history-item-id"] != "not_stored") is stored


@pytest.mark.parametrize(
    ("model", "text", "credits", "usd"),
    [
        ("eleven_multilingual_v2", "hello", 5, 0.0004),
        (FLASH, "x" * 55, 28, 0.0022),
        ("eleven_multilingual_v2", "héllo 世界 🎉 ab", 13, 0.00104),
        ("eleven_multilingual_v2", "", 1, 0.0),
        (FLASH, "", 0, 0.0),
    ],
)
def test_the_bill_counts_code_points(
    speech_sandbox: SandboxThread, model: str, text: str, credits: int, usd: float
) -> None:
    """Halves are rounded up; dollars follow the list price of the characters."""
    answer = speak(speech_sandbox, text, model_id=model)
    state = speech_sandbox.state()
    assert int(answer.headers["character-cost"]) == state["bill_credits"] == credits
    assert state["bill_usd"] == pytest.approx(usd)


@pytest.mark.parametrize(
    ("fields", "hourly"),
    [
        ({}, 0.22),
        ({"entity_detection": "all"}, 0.29),
        ({"keyterms": ["one", "two"]}, 0.27),
        ({"diarize": "true", "detect_speaker_roles": "true"}, 0.242),
        ({"transcript_edit": "shorter"}, 0.286),
        ({"keyterms": [f"term {number}" for number in range(101)]}, 0.27 * 20 / 10),
    ],
)
def test_speech_to_text_is_billed_in_dollars_by_the_second(
    speech_sandbox: SandboxThread, fields: dict[str, Any], hourly: float
) -> None:
    ten_seconds = bytes([1, 2]) * 160_000
    hear(speech_sandbox, ten_seconds, file_format="pcm_s16le_16", **fields)
    state = speech_sandbox.state()
    assert state["bill_credits"] == 0
    assert state["bill_usd"] == pytest.approx(hourly * 10 / 3600)


def test_what_is_silent_is_heard_as_nothing_and_tells_no_length(speech_sandbox: SandboxThread) -> None:
    answer = hear(speech_sandbox, bytes(64000), file_format="pcm_s16le_16")
    assert answer.status_code == 200
    assert answer.json()["text"] == "" and "audio_duration_secs" not in answer.json()
    assert speech_sandbox.state()["bill_usd"] == 0


@pytest.mark.parametrize("name", ["mp3_44100_128", "mp3_22050_32", "wav_16000", "opus_48000_64"])
def test_lengths_are_read_from_the_file(speech_sandbox: SandboxThread, name: str) -> None:
    said = speak(speech_sandbox, "x" * 150, query={"output_format": name}).content
    assert hear(speech_sandbox, said).json()["audio_duration_secs"] == pytest.approx(10.0, abs=0.03)


def test_the_state_has_the_fields_that_others_stand_on(speech_sandbox: SandboxThread) -> None:
    speak(speech_sandbox)
    state = speech_sandbox.state()
    assert (state["calls"], state["refused"]) == (1, 0)
    assert state["peak"] == {"standard": 0, "flash": 1, "stt": 0, "stt_realtime": 0}
    assert set(state["in_flight"].values()) == {0}
    assert (state["bill_credits"], state["bill_usd"]) == (3, 0.0002)


def test_reset_zeroes_the_counters_and_keeps_the_settings(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(limits={"flash": 3})
    speak(speech_sandbox)
    state = speech_sandbox.set(reset=True)
    assert state["calls"] == state["bill_credits"] == state["peak"]["flash"] == 0
    assert state["limits"]["flash"] == 3


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("limits", {"flash": -1}),
        ("limits", {"music": 1}),
        ("mode", "wait"),
        ("latency_s", [2, 1]),
        ("latency_s", True),
        ("key", ""),
        ("credits", -1),
        ("faults", ["explode"]),
        ("faults", ["cut;after=x"]),
        ("faults", ["cut;kind=busy"]),
        ("faults", [{"fault": "500", "share": 2}]),
        ("faults", [{"fault": "500", "share": 0.6}, {"fault": "503", "share": 0.6}]),
        ("seed", "one"),
        ("reset", False),
        ("colour", "red"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_set(speech_sandbox: SandboxThread, field: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}: ") as problem:
        speech_sandbox.set(**{"limits": {"stt": 1}, field: wrong} if field != "limits" else {field: wrong})
    assert "\n" not in str(problem.value)
    assert speech_sandbox.state()["limits"]["stt"] == 20


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"[" * 5000, b"\xff"])
def test_a_control_body_that_is_no_object_is_refused(speech_sandbox: SandboxThread, body: bytes) -> None:
    assert httpx.post(f"{speech_sandbox.url}/__sandbox/set", content=body).status_code == 400


def test_the_same_seed_repeats_latencies_and_faults(speech_sandbox: SandboxThread) -> None:
    def run(seed: int) -> list[tuple[int, str]]:
        speech_sandbox.set(seed=seed)
        answers = [speak(speech_sandbox) for _ in range(12)]
        return [(answer.status_code, answer.headers.get("tts-latency-ms", "")) for answer in answers]

    speech_sandbox.set(latency_s=[0, 0.02], faults=[{"fault": "503", "share": 0.4}])
    first = run(1)
    assert first == run(1)
    assert first != run(2)


def run_sandbox(*options: str, **environment: str) -> subprocess.Popen[str]:
    source = Path(speech.__file__).parents[2]
    command = [sys.executable, "-m", f"{speech.__name__}.testing", *options]
    settings = {**os.environ, "PYTHONPATH": str(source), **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings)


def test_as_a_process_it_says_where_it_is_and_ends_quietly() -> None:
    with run_sandbox("--tier", "free", "--latency", "0", SPEECH_ENV="development") as process:
        assert process.stdout and process.stderr
        url = process.stdout.readline().strip()
        state = httpx.get(f"{url}/__sandbox/state").json()
        process.terminate()
        assert process.wait(timeout=10) == 0
        assert url.startswith("http://127.0.0.1:")
        assert state["limits"]["flash"] == 4
        assert process.stdout.read() == process.stderr.read() == ""


def test_a_port_that_is_taken_is_one_clear_line(speech_sandbox: SandboxThread) -> None:
    port = speech_sandbox.url.rpartition(":")[2]
    with run_sandbox("--port", port, SPEECH_ENV="development") as process:
        assert process.wait(timeout=10) == 2
        assert process.stderr and process.stderr.read().count("\n") == 1


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_it_does_not_start_where_real_voices_are_meant(environment: str) -> None:
    with run_sandbox(SPEECH_ENV=environment) as process:
        assert process.wait(timeout=10) == 2
        assert process.stderr and f"SPEECH_ENV={environment}" in process.stderr.read()
