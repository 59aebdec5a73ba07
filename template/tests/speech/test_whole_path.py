"""The whole path on real sockets: our client, the official SDK, and the sandbox as the vendor. Few tests, all of it."""

import asyncio
import base64
import inspect
import io
import json
import logging
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from speech import SpeechClient, SpeechError
from speech.client import QUERY
from speech.ledger import Usage
from speech.request import SpeechRequest
from speech.testing.plugin import SandboxThread

KEY = "sandbox-key-that-nobody-may-see-0001"
VOICE = "OZ0L6eISlOejga3XjDFt"
MODEL = "eleven_flash_v2_5"  # ten at once on the plan creator


@pytest.fixture
async def speech(speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SpeechClient]:
    monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)
    async with SpeechClient.from_env() as client:
        yield client


async def outcome(speech: SpeechClient, text: str, **wishes: Any) -> str:
    try:
        return "ok" if (await speech.synthesize(text, model_id=MODEL, **wishes)).data else "nothing"
    except SpeechError as error:
        return error.code


async def booked(speech: SpeechClient) -> Usage:
    return sum((await speech.policies.ledger.rows()).values(), Usage())


async def test_a_burst_keeps_to_the_limit_and_loses_nothing(
    speech: SpeechClient, speech_sandbox: SandboxThread
) -> None:
    speech_sandbox.set(latency_s=[0.03, 0.05])
    said = await asyncio.gather(*(outcome(speech, f"Sentence {n}.") for n in range(80)))
    state = speech_sandbox.state()
    assert (said, state["refused"], state["peak"]["flash"]) == (["ok"] * 80, 0, 10)


async def test_the_accounts_limit_changes_in_mid_load(speech: SpeechClient, speech_sandbox: SandboxThread) -> None:
    """Followed by the next answer's headers; refused is at most what was on its way to the slots that went, 10 to 6."""
    speech_sandbox.set(latency_s=[0.06, 0.1])
    load = asyncio.gather(*(outcome(speech, f"Sentence {n}.") for n in range(260)))
    for limit in (10, 6, 14):
        before = speech_sandbox.set(limits={"flash": limit})
        while speech_sandbox.state()["calls"] < before["calls"] + 45:
            await asyncio.sleep(0.02)
        assert speech.snapshot()["pools"]["flash"]["limit"] == limit
        assert speech_sandbox.state()["refused"] - before["refused"] <= 4
    assert set(await load) == {"ok"}


async def test_a_stream_abandoned_halfway_is_closed_upstream(
    speech: SpeechClient, speech_sandbox: SandboxThread
) -> None:
    speech_sandbox.set(latency_s=4)
    async with speech.stream("A sentence that takes its time.", model_id=MODEL) as chunks:
        await anext(chunks)
        assert speech_sandbox.state()["in_flight"]["flash"] == 1
    await asyncio.sleep(0.1)
    assert speech_sandbox.state()["in_flight"]["flash"] == 0


@pytest.mark.parametrize("shape", ["audio", "stream", "timestamps"])
async def test_the_ledger_is_the_bill_where_nothing_is_uncertain(
    speech: SpeechClient, speech_sandbox: SandboxThread, shape: str
) -> None:
    faults = [
        {"fault": "503", "share": 0.15},
        {"fault": "429;kind=busy", "share": 0.1},
        {"fault": "429", "share": 0.05},
    ]
    speech_sandbox.set(faults=faults, seed=7)

    async def one(n: int) -> str:
        if shape != "stream":
            return await outcome(speech, f"Sentence {n % 25}.", timestamps=shape == "timestamps")
        try:
            async with speech.stream(f"Sentence {n % 25}.", model_id=MODEL) as chunks:
                return "ok" if [chunk async for chunk in chunks] else "nothing"
        except SpeechError as error:
            return error.code

    await asyncio.gather(*(one(n) for n in range(60)))
    books, state = await booked(speech), speech_sandbox.state()
    assert books.credits == state["bill_credits"] > 0
    assert books.cost_usd == pytest.approx(state["bill_usd"])
    assert books.uncertain_credits == 0


async def test_what_is_uncertain_bounds_the_bill(speech: SpeechClient, speech_sandbox: SandboxThread) -> None:
    names = ("500", "502", "reset", "cut", "empty", "html")
    speech_sandbox.set(faults=[{"fault": name, "share": 0.06} for name in names], seed=11)
    await asyncio.gather(*(outcome(speech, f"Sentence number {n}.") for n in range(80)))
    books, bill = await booked(speech), speech_sandbox.state()["bill_credits"]
    assert books.credits <= bill <= books.credits + books.uncertain_credits
    assert books.uncertain_credits > 0


async def test_a_refused_upload_arrives_again_whole(speech: SpeechClient, speech_sandbox: SandboxThread) -> None:
    """The SDK's own retry would send the file without its form."""
    text = "These are the words that have to come back."
    audio = (await speech.synthesize(text, model_id=MODEL)).data
    before = speech_sandbox.set(faults=["429"])
    heard = await speech.transcribe(io.BytesIO(audio), diarize=True, keyterms=["words"], entity_detection="pii")
    after = speech_sandbox.state()
    assert (heard.text, after["calls"] - before["calls"]) == (text, 2)
    assert after["bill_usd"] - before["bill_usd"] == pytest.approx(heard.cost_usd, abs=1e-6)
    assert heard.seconds is not None
    assert heard.cost_usd == pytest.approx(heard.seconds / 3600 * (0.22 + 0.05 + 0.07), abs=1e-6)


async def test_a_dead_upstream_is_asked_little_and_answers_come_at_once(
    speech: SpeechClient, speech_sandbox: SandboxThread
) -> None:
    await outcome(speech, "Heard before.")
    before = speech_sandbox.set(faults=[{"fault": "503", "share": 1}])
    await asyncio.gather(*(outcome(speech, f"Sentence {n}.", deadline=0.4) for n in range(12)))
    asked = speech_sandbox.state()["calls"] - before["calls"]
    assert {await outcome(speech, f"More {n}.") for n in range(50)} == {"circuit_open"}
    assert await outcome(speech, "Heard before.") == "ok"
    assert speech_sandbox.state()["calls"] - before["calls"] == asked <= 14


@pytest.mark.parametrize(
    ("spec", "code", "asked"), [("401;kind=key", "upstream_refused", 3), ("402", "insufficient_credits", 1)]
)
async def test_a_refused_key_or_an_empty_account_close_the_latch(
    speech: SpeechClient, speech_sandbox: SandboxThread, spec: str, code: str, asked: int
) -> None:
    speech_sandbox.set(faults=[{"fault": spec, "share": 1}])
    assert [await outcome(speech, f"Sentence {n}.") for n in range(20)] == [code] * 20
    assert speech_sandbox.state()["calls"] == asked
    assert speech.snapshot()["latch"]["state"] == "latched"


def altered(name: str) -> list[Any]:
    """Other values than none at all, for a parameter of the SDK's."""
    known: dict[str, list[Any]] = {
        "text": ["Hello!", "hello"],
        "voice_id": ["6WwXjDDEMyNmFG95zycZ"],
        "model_id": ["eleven_flash_v2"],
        "output_format": ["pcm_16000"],
        "enable_logging": [True, False],
        "optimize_streaming_latency": [0, 1],
        "language_code": ["en", "de"],
        "voice_settings": [{"stability": 0.4}, {"stability": 0.5}, {"speed": 1.1}],
        "seed": [1, 2],
        "apply_text_normalization": ["on", "off"],
        "pronunciation_dictionary_locators": [[{"pronunciation_dictionary_id": "d", "version_id": v}] for v in "ab"],
    }
    return known.get(name, ["one", "two"])


def test_every_parameter_of_the_sdk_is_in_the_key_or_forbids_keeping() -> None:
    from elevenlabs.text_to_speech.client import AsyncTextToSpeechClient

    parameters = set(inspect.signature(AsyncTextToSpeechClient.convert).parameters) - {"self", "request_options"}
    base = {"text": "Hello", "voice_id": VOICE, "model_id": MODEL}
    keys = [_key(dict(base))]
    for name in sorted(parameters):
        keys += [key for value in altered(name) if (key := _key(base | {name: value}))]
    assert len(set(keys)) == len(keys) > 25
    for name in ("previous_request_ids", "next_request_ids"):
        assert _key(base | {name: ["r"]}) is None
    assert _key(base | {"enable_logging": False}) is None


def _key(given: dict[str, Any]) -> str | None:
    named = {name: given.pop(name) for name in ("text", "voice_id", "model_id", "output_format") if name in given}
    query: dict[str, Any] = {name: given.pop(name) for name in QUERY if name in given}
    request = SpeechRequest(**named, fields=given, query=query)
    return request.key() if request.cacheable else None


def spellings(secret: str) -> set[str]:
    """As it may stand in a log: raw, in JSON, as Python shows it, in a URL, in base64."""
    raw = secret.encode()
    return {
        secret,
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        urllib.parse.quote(secret),
        urllib.parse.quote_plus(secret),
        base64.b64encode(raw).decode().rstrip("=")[:-1],
        base64.urlsafe_b64encode(raw).decode().rstrip("=")[:-1],
    }


async def test_neither_key_nor_text_is_in_any_log_metric_or_error(
    speech: SpeechClient, speech_sandbox: SandboxThread, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """At the lowest level of every logger, through good answers and every fault."""
    texts = ['Said "Grüße" to ünïcode 🎉 friends.', "Plain words nobody else may read."]
    for name in ("", *logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(1)
    errors = []
    for fault in ("ok", "500", "429", "cut", "reset", "html", "401;kind=key", "402", "empty", "503"):
        speech_sandbox.set(faults=[fault] * 3)
        for text in texts:
            try:
                audio = await speech.synthesize(text + fault, model_id=MODEL, deadline=0.5)
                await speech.transcribe(audio.data, deadline=0.5)
            except SpeechError as error:
                errors.append(f"{error} {error.body()} {error.headers()}")
    said = " ".join([caplog.text, *errors, json.dumps(speech.snapshot()), str(await speech.policies.ledger.rows())])
    said += " ".join(str(record.__dict__) for record in caplog.records)
    said += " ".join(path.name for path in tmp_path.rglob("*"))
    assert "request" in said and errors
    for secret in (KEY, *texts):
        assert not [spelling for spelling in spellings(secret) if spelling in said]
