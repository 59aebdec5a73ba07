"""Faults on demand: what each looks like to a client, and what it costs."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from elevenlabs.client import ElevenLabs
from sandbox_calls import FLASH, TALIA, hear, speak

from speech.testing.faults import NAMES, parse
from speech.testing.plugin import SandboxThread

PCM = bytes([1, 2]) * 16000
FULL = 3  # credits of one hello


def arrived(sandbox: SandboxThread, fault: str, endpoint: str = "/stream") -> tuple[int, bytes, Exception | None]:
    """Status, what was heard, and how it broke off."""
    url = f"{sandbox.url}/v1/text-to-speech/{TALIA}{endpoint}"
    headers = {"xi-api-key": "any", "x-sandbox-fault": fault}
    heard = b""
    with httpx.stream("POST", url, json={"text": "hello", "model_id": FLASH}, headers=headers, timeout=5) as answer:
        try:
            for chunk in answer.iter_raw():
                heard += chunk
        except httpx.HTTPError as broken:
            return answer.status_code, heard, broken
        return answer.status_code, heard, None


@pytest.mark.parametrize("after", [0, 1, 3, 99])
@pytest.mark.parametrize("endpoint", ["", "/stream", "/with-timestamps", "/stream/with-timestamps"])
def test_a_cut_breaks_the_connection_and_is_never_a_clean_end(
    speech_sandbox: SandboxThread, endpoint: str, after: int
) -> None:
    status, heard, broken = arrived(speech_sandbox, f"cut;after={after}", endpoint)
    assert status == 200 and isinstance(broken, httpx.ReadError | httpx.RemoteProtocolError)
    assert bool(heard) is (after > 0)
    assert speech_sandbox.state()["bill_credits"] == FULL


def test_an_early_end_looks_whole(speech_sandbox: SandboxThread) -> None:
    whole = speak(speech_sandbox).content
    status, heard, broken = arrived(speech_sandbox, "early_end;after=2")
    assert (status, broken) == (200, None)
    assert whole.startswith(heard) and 0 < len(heard) < len(whole) / 2


def test_an_early_end_leaves_json_readable(speech_sandbox: SandboxThread) -> None:
    whole = speak(speech_sandbox, endpoint="/with-timestamps").json()["audio_base64"]
    short = speak(speech_sandbox, endpoint="/with-timestamps", fault="early_end;after=2").json()["audio_base64"]
    assert 0 < len(short) < len(whole) / 2


def test_a_stall_goes_quiet_in_the_middle(speech_sandbox: SandboxThread) -> None:
    url = f"{speech_sandbox.url}/v1/text-to-speech/{TALIA}/stream"
    headers = {"xi-api-key": "any", "x-sandbox-fault": "stall;after=2"}
    heard = b""
    with (
        pytest.raises(httpx.ReadTimeout),
        httpx.stream("POST", url, json={"text": "hi"}, headers=headers, timeout=0.3) as answer,
    ):
        for chunk in answer.iter_raw():
            heard += chunk
    assert heard


def test_a_short_stall_goes_on_to_the_end(speech_sandbox: SandboxThread) -> None:
    assert arrived(speech_sandbox, "stall;after=2;s=0.05")[1] == speak(speech_sandbox).content


def test_slow_keeps_the_headers_back(speech_sandbox: SandboxThread) -> None:
    began = time.monotonic()
    assert speak(speech_sandbox, fault="slow;s=0.3").status_code == 200
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("fault", ["reset", "timeout;s=0.05"])
def test_no_answer_at_all_is_a_broken_connection(speech_sandbox: SandboxThread, fault: str) -> None:
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        speak(speech_sandbox, fault=fault)
    assert speech_sandbox.state()["in_flight"]["flash"] == 0


def test_silence_is_whole_audio_without_a_sound(speech_sandbox: SandboxThread) -> None:
    loud = speak(speech_sandbox, query={"output_format": "pcm_16000"}).content
    quiet = speak(speech_sandbox, query={"output_format": "pcm_16000"}, fault="silence").content
    assert len(quiet) == len(loud) and not any(quiet)


def test_empty_is_success_with_no_audio(speech_sandbox: SandboxThread) -> None:
    answer = speak(speech_sandbox, fault="empty")
    assert (answer.status_code, answer.content, answer.headers["character-cost"]) == (200, b"", "3")
    assert speak(speech_sandbox, endpoint="/with-timestamps", fault="empty").json()["audio_base64"] == ""


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("401", 401, "quota_exceeded"),
        ("401;kind=key", 401, "unauthorized"),
        ("401;kind=permission", 401, "unauthorized"),
        ("402", 402, "insufficient_credits"),
        ("429", 429, "concurrent_limit_exceeded"),
        ("429;kind=busy", 429, "system_busy"),
        ("429;kind=rate", 429, "rate_limit_exceeded"),
        ("500", 500, "internal_error"),
        ("503", 503, "service_unavailable"),
    ],
)
@pytest.mark.parametrize("route", ["speak", "hear"])
def test_statuses_come_with_the_vendors_body(
    speech_sandbox: SandboxThread, fault: str, status: int, code: str, route: str
) -> None:
    answer = speak(speech_sandbox, fault=fault) if route == "speak" else _hear(speech_sandbox, fault)
    assert (answer.status_code, answer.json()["detail"]["code"]) == (status, code)
    assert "retry-after" not in answer.headers
    assert status == 500 or speech_sandbox.state()["bill_usd"] == 0


def _hear(sandbox: SandboxThread, fault: str) -> httpx.Response:
    return hear(sandbox, PCM, fault=fault, file_format="pcm_s16le_16")


@pytest.mark.parametrize(("fault", "status"), [("502", 502), ("504", 504), ("html", 200)])
def test_the_edge_speaks_no_json(speech_sandbox: SandboxThread, fault: str, status: int) -> None:
    for answer in (speak(speech_sandbox, fault=fault), _hear(speech_sandbox, fault)):
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html")
        assert "character-cost" not in answer.headers


def test_a_retry_after_is_sent_where_it_was_asked_for(speech_sandbox: SandboxThread) -> None:
    assert speak(speech_sandbox, fault="429;kind=rate;retry_after=2").headers["retry-after"] == "2"


@pytest.mark.parametrize("fault", ["silence", "empty", "early_end;after=1"])
def test_speech_to_text_hears_less(speech_sandbox: SandboxThread, fault: str) -> None:
    assert len(_hear(speech_sandbox, fault).json()["words"]) == (1 if "early" in fault else 0)


@pytest.mark.parametrize("fault", ["500", "502", "504", "reset", "timeout;s=0", "empty", "html"])
def test_what_nobody_knows_is_billed_by_a_seeded_toss(speech_sandbox: SandboxThread, fault: str) -> None:
    """In full or not at all, and the same again with the same seed."""

    def bill(seed: int) -> list[int]:
        speech_sandbox.set(seed=seed, faults=[fault] * 12)
        return [_bill_of_one(speech_sandbox) for _ in range(12)]

    first = bill(7)
    assert set(first) == {0, FULL}
    assert first == bill(7)


def _bill_of_one(sandbox: SandboxThread) -> int:
    before = int(sandbox.state()["bill_credits"])
    with contextlib.suppress(httpx.HTTPError):
        speak(sandbox)
    return int(sandbox.state()["bill_credits"]) - before


def test_ordered_faults_strike_in_order_and_then_end(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(faults=["503", "ok", "500"])
    assert [speak(speech_sandbox).status_code for _ in range(4)] == [503, 200, 500, 200]


def test_a_share_strikes_about_so_often(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(latency_s=0, seed=3, faults=[{"fault": "503", "share": 0.3}, {"fault": "429", "share": 0.2}])
    statuses = [speak(speech_sandbox).status_code for _ in range(100)]
    assert 15 <= statuses.count(503) <= 45 and 8 <= statuses.count(429) <= 35
    assert speech_sandbox.state()["refused"] == statuses.count(429)


def test_a_header_goes_before_the_plan_and_uses_none_of_it_up(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(faults=["503"])
    assert speak(speech_sandbox, fault="429").status_code == 429
    assert speak(speech_sandbox).status_code == 503


@pytest.mark.parametrize(
    "spec", ["explode", "", ";", "cut;after=", "cut;after=-1", "stall;s=nan", "429;kind=x", "cut;x=1"]
)
def test_a_wrong_fault_is_one_clear_line(spec: str) -> None:
    with pytest.raises(ValueError) as problem:
        parse(spec)
    assert str(problem.value) and "\n" not in str(problem.value)


def test_a_wrong_fault_in_the_header_is_refused(speech_sandbox: SandboxThread) -> None:
    answer = speak(speech_sandbox, fault="explode")
    assert answer.status_code == 400 and answer.json()["detail"].startswith("X-Sandbox-Fault: unknown fault")


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_gives_its_slot_back(speech_sandbox: SandboxThread, name: str) -> None:
    asks: list[Callable[..., httpx.Response]] = [speak, _hear]
    for ask in asks:
        with contextlib.suppress(httpx.HTTPError):
            ask(speech_sandbox, fault=f"{name};s=0.01")
    assert set(speech_sandbox.state()["in_flight"].values()) == {0}


def test_the_sdk_raises_when_it_is_cut_and_not_when_it_ends_early(speech_sandbox: SandboxThread) -> None:
    """Why a clean early end has to be found by listening."""
    speech_sandbox.set(faults=["cut", "early_end"])
    with httpx.Client() as client:
        voice: Any = ElevenLabs(api_key="any", base_url=speech_sandbox.url, httpx_client=client).text_to_speech
        with pytest.raises(httpx.HTTPError):
            b"".join(voice.convert(TALIA, text="hello"))
        assert b"".join(voice.convert(TALIA, text="hello"))
