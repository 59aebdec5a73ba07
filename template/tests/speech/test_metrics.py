"""Every metric is emitted, with the labels that ``metrics.json`` promises and values that can be counted."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from load import BOOKS, CALLER, OBSERVED, SECRET, everything, outcome

from speech import SpeechClient
from speech.answers import CACHE_BACKEND
from speech.catalogue import HTTP_POOLS, models
from speech.errors import STATUS
from speech.exporters import series
from speech.faults import _BY_WORD, TABLE
from speech.meter import METRICS
from speech.request import Priority
from speech.testing.plugin import SandboxThread

KEY = "a-key-that-no-metric-may-hold"
VALUES = {
    "kind": {"tts", "stt"},
    "outcome": {"ok", "left", *STATUS},
    "code": {*STATUS, *TABLE, *map(str, _BY_WORD), *(f"http_{status}" for status in range(100, 1000))},
    "result": {"hit", "miss", "coalesced", "stale", "bypass"},
    "reason": set(TABLE),
    "how": {"stale", "family"},
    "model": set(models()),
    "pool": set(HTTP_POOLS),
    "priority": {each.name.lower() for each in Priority},
    "state": {"closed", "half_open", "open"},
    "why": {"key", "quota"},
    "part": {"slots", "money", "audio"},
    "what": {"queued", "hit", *STATUS},
    "budget": {"daily", "monthly"},
}


@pytest.fixture
async def speech(speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SpeechClient]:
    monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)
    async with SpeechClient.from_env() as client:
        yield client


async def test_every_metric_moves_and_is_labelled_as_promised(
    speech: SpeechClient, speech_sandbox: SandboxThread
) -> None:
    """Under a load that makes everything happen once."""
    await everything(speech, speech_sandbox)
    moved = {name: labels for name, labels, value in _series(speech) if value}
    never = {"latch"} | ({"store"} if CACHE_BACKEND == "memory" else set())  # nothing is shared there
    at_rest = {"queued", "in_flight", "flights"}
    assert set(METRICS) - set(moved) == never | at_rest | BOOKS | OBSERVED
    for name, labels, _ in _series(speech):
        assert list(labels) == METRICS[name][3:], name
        assert all(value in VALUES[label] for label, value in labels.items()), (name, labels)


async def test_no_metric_tells_a_text_a_key_a_caller_or_a_voice(
    speech: SpeechClient, speech_sandbox: SandboxThread
) -> None:
    """Neither for what went well nor for what was wrong from the start."""
    await everything(speech, speech_sandbox)
    await outcome(speech, SECRET, model_id=SECRET)
    await outcome(speech, SECRET, voice_id="a voice with a name")
    told = str(speech.snapshot()["meter"])
    for secret in (SECRET, KEY, CALLER, "a voice", speech.settings.voice_id):
        assert secret not in told


def test_what_is_told_is_described() -> None:
    """A kind, a sentence, a unit, and labels with known values."""
    for kind, text, unit, *labels in METRICS.values():
        assert kind in ("counter", "gauge", "histogram") and text.endswith(".")
        assert unit in ("s", "By") or (unit[0], unit[-1]) == ("{", "}")
        assert set(labels) <= set(VALUES)


def _series(speech: SpeechClient) -> list[tuple[str, dict[str, str], Any]]:
    """Of the meter, and of what the pools, the breakers and the store say of themselves."""
    return list(series(speech.snapshot()))
