"""The front door: what a caller may wish for, and what it is told. In virtual time."""

import asyncio
import json
from typing import Any

import pytest
from scripted import Scene, Script, Step, headers, outcome

from speech import Priority
from speech.client import CallerTerms
from speech.clock import now
from speech.errors import InvalidRequest
from speech.faults import Fault
from speech.request import SpeechRequest

pytestmark = pytest.mark.virtual

VOICE = "OZ0L6eISlOejga3XjDFt"
DEAD: list[Step] = [Fault("unavailable")]
QUICK: list[Step] = [0.1, b"x"]


@pytest.mark.parametrize(
    ("quality", "characters", "model"),
    [
        ("realtime", 10, "eleven_flash_v2_5"),
        ("balanced", 10, "eleven_multilingual_v2"),
        ("balanced", 20_000, "eleven_flash_v2_5"),
        ("quality", 10, "eleven_v4"),
        ("quality", 20_000, "eleven_v4"),
    ],
)
async def test_quality_chooses_the_model_by_length(quality: str, characters: int, model: str) -> None:
    assert Scene(Script()).client.choose(quality, characters, None, Priority.NORMAL) == model


async def test_quality_chooses_the_pool_that_has_room() -> None:
    scene = Scene(Script(default=(4, b"x")))
    await scene.client.synthesize("how long it takes", quality="quality")
    busy = [asyncio.create_task(scene.client.synthesize(str(n), quality="balanced")) for n in range(3)]
    await asyncio.sleep(0.1)
    audio = await scene.client.synthesize("hurry", quality="balanced", deadline=6)
    assert audio.model_id == "eleven_flash_v2_5"
    await asyncio.gather(*busy)


async def test_a_named_model_is_never_changed() -> None:
    scene = Scene(Script(default=DEAD), degrade="family")
    assert await outcome(scene.client.synthesize("hi", model_id="eleven_v4")) == "upstream_unavailable"
    assert {call.model.id for call in scene.upstream.sent} == {"eleven_v4"}


async def test_another_family_stands_in_for_a_model_that_we_chose() -> None:
    scene = Scene(Script(*[DEAD] * 3, default=QUICK), degrade="family")
    audio = await scene.client.synthesize("hi", quality="realtime")
    assert (audio.model_id, audio.degraded) == ("eleven_multilingual_v2", "family")
    again = await scene.client.synthesize("hi", quality="realtime")
    assert (again.model_id, again.cache) == ("eleven_flash_v2_5", "miss")  # the stand-in's audio is not taken for it
    assert await outcome(Scene(Script(default=DEAD)).client.synthesize("hi")) == "upstream_unavailable"


async def test_old_audio_stands_in_while_upstream_cannot_answer_and_no_longer() -> None:
    scene = Scene(Script(QUICK, *[DEAD] * 99))
    await scene.client.synthesize("hi")
    await asyncio.sleep(150)
    stale = await scene.client.synthesize("hi")
    assert (stale.data, stale.cache, stale.degraded, stale.credits) == (b"x", "stale", "stale", 0)
    await asyncio.sleep(100)
    assert await outcome(scene.client.synthesize("hi")) in ("upstream_unavailable", "circuit_open")


async def test_an_open_breaker_fails_at_once_and_cached_audio_still_plays() -> None:
    scene = Scene(Script(QUICK, default=DEAD))
    await scene.client.synthesize("kept")
    for n in range(5):
        await outcome(scene.client.synthesize(str(n)))
    calls, began = scene.upstream.calls, now()
    assert await outcome(scene.client.synthesize("new")) == "circuit_open"
    assert (await scene.client.synthesize("kept")).cache == "hit"
    assert (scene.upstream.calls, now()) == (calls, began)
    scene.upstream.default = QUICK
    await asyncio.sleep(61)
    assert (await scene.client.synthesize("new")).data == b"x"


async def test_cache_modes() -> None:
    scene = Scene(Script(QUICK, [0.1, b"second"], [0.1, b"third"]))
    assert (await scene.client.synthesize("hi")).cache == "miss"
    assert (await scene.client.synthesize("hi", cache="refresh")).data == b"second"
    assert (await scene.client.synthesize("hi")).data == b"second"
    off = await scene.client.synthesize("hi", cache="off")
    assert (off.data, off.cache) == (b"third", "bypass")
    assert (await scene.client.synthesize("hi")).data == b"second"


async def test_what_may_not_be_kept_is_neither_kept_nor_joined() -> None:
    scene = Scene(Script(default=QUICK))
    for wish in (
        {"enable_logging": False},
        {"previous_request_ids": ["a"]},
        {"pronunciation_dictionary_locators": [{"pronunciation_dictionary_id": "d"}]},
    ):
        both = await asyncio.gather(*(scene.client.synthesize("hi", **wish) for _ in range(2)))
        assert [audio.cache for audio in both] == ["bypass"] * 2
    assert (scene.upstream.calls, scene.shelf.kept) == (6, {})


async def test_the_cache_can_be_each_callers_own() -> None:
    scene = Scene(Script(default=QUICK), cache_scope="caller")
    caches = [(await scene.client.synthesize("hi", caller=c)).cache for c in ("a", "b", "a")]
    assert caches == ["miss", "miss", "hit"]


async def test_a_caller_has_no_more_under_way_than_it_may() -> None:
    scene = Scene(Script(default=QUICK), limit=9, callers={"small": CallerTerms(concurrency=2)})
    wishes = [outcome(scene.client.synthesize(str(n), caller="small")) for n in range(3)]
    said = await asyncio.gather(*wishes)
    assert said[2] == "caller_limit" and scene.upstream.calls == 2
    assert (await scene.client.synthesize("4", caller="small")).data == b"x"


async def test_a_callers_priority_is_capped() -> None:
    scene = Scene(Script(default=(1, b"x")), callers={"crawler": CallerTerms(max_priority=Priority.BATCH)})
    order: list[str] = []

    async def ask(caller: str, priority: str) -> None:
        await scene.client.synthesize(f"{caller} {priority}", caller=caller, priority=priority, deadline=99)
        order.append(caller)

    asks = (("first", "normal"), ("crawler", "interactive"), ("other", "normal"))
    await asyncio.gather(*(ask(caller, priority) for caller, priority in asks))
    assert order == ["first", "other", "crawler"]


@pytest.mark.parametrize("deadline", [0, -1, True, "2", float("nan")])
async def test_a_deadline_is_a_positive_number(deadline: Any) -> None:
    with pytest.raises(InvalidRequest, match="above zero"):
        await Scene(Script()).client.synthesize("hi", deadline=deadline)


async def test_without_a_deadline_batch_has_ten_times_as_long() -> None:
    client = Scene(Script()).client
    assert (client.deadline_s(None, Priority.NORMAL), client.deadline_s(None, Priority.BATCH)) == (30, 300)
    assert client.deadline_s(9_999, Priority.BATCH) == 600
    assert client.deadline_s(None, Priority.NORMAL, floor_s=75) == 75


async def test_timestamps_give_audio_and_alignment() -> None:
    line = {"audio_base64": "YWI=", "alignment": {"characters": ["h"], "character_start_times_seconds": [0.0]}}
    more = line | {"alignment": {"characters": ["i"], "character_start_times_seconds": [0.1]}}
    said = [json.dumps(part).encode() for part in (line, more)]
    scene = Scene(Script([0.1, said[0]], [0.1, said[0] + b"\n", said[1] + b"\n"]))
    audio = await scene.client.synthesize("h", timestamps=True)
    assert (audio.data, audio.media_type) == (b"ab", "audio/mpeg")
    assert audio.alignment == line["alignment"]
    for cache in ("miss", "hit"):
        async with scene.client.stream("hi", timestamps=True) as chunks:
            assert b"".join([chunk async for chunk in chunks]) == b"abab"
        await asyncio.sleep(0.1)
        assert chunks.cache == cache
        assert chunks.alignment == {"characters": ["h", "i"], "character_start_times_seconds": [0.0, 0.1]}


async def test_a_transcript_costs_what_upstream_counted() -> None:
    said = json.dumps({"text": "Hi", "language_code": "eng", "words": [], "audio_duration_secs": 36.0}).encode()
    scene = Scene(Script([headers(seconds=36.0), 0.5, said]))
    transcript = await scene.client.transcribe(b"\xff\xfb" * 4000, language_code="en")
    assert (transcript.text, transcript.seconds, transcript.cost_usd) == ("Hi", 36.0, 0.0022)
    assert (scene.money.cost_usd, scene.money.stt_seconds) == (0.0022, 36.0)
    assert scene.upstream.sent[0].request.fields == {"language_code": "en"}


async def test_silence_transcribed_is_booked_as_uncertain() -> None:
    scene = Scene(Script([headers(), 0.5, b'{"text": "", "words": []}']))
    assert (await scene.client.transcribe(b"\xff\xfb" * 4000)).cost_usd == 0
    assert scene.money.cost_usd == 0 and scene.money.uncertain_usd > 0


async def test_a_stopped_transcription_frees_its_slot() -> None:
    scene = Scene(Script([60, b"{}"]))
    task = asyncio.create_task(scene.client.transcribe(b"\xff\xfb" * 4000))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert scene.upstream.busy == 0


async def test_observing_refuses_nothing_and_counts_what_it_would_have() -> None:
    scene = Scene(Script(default=QUICK), callers={"small": CallerTerms(concurrency=1)}, enforce=False)
    both = await asyncio.gather(*(outcome(scene.client.synthesize(str(n), caller="small")) for n in range(2)))
    assert [audio.data for audio in both] == [b"x", b"x"]


async def test_a_snapshot_is_plain_data() -> None:
    scene = Scene(Script(default=QUICK))
    await scene.client.synthesize("secret")
    snapshot = json.loads(json.dumps(scene.client.snapshot()))
    assert snapshot["pools"]["flash"]["limit"] == 1
    assert snapshot["usage"]["credits"] == 3
    assert "secret" not in json.dumps(snapshot)


async def test_a_fault_of_one_request_is_not_told_to_another_with_its_id() -> None:
    scene = Scene(Script([0.1, Fault("caller", status=422)]))
    said = await asyncio.gather(*(scene.client.synthesize("no") for _ in range(2)), return_exceptions=True)
    ids = [error.request_id for error in said if isinstance(error, InvalidRequest)]
    assert len(set(ids)) == 2 and None not in ids


async def test_equal_requests_have_one_key_and_every_field_counts() -> None:
    base = SpeechRequest("hi", VOICE, "eleven_flash_v2_5", fields={"voice_settings": {"speed": 1.0}, "seed": 1})
    same = SpeechRequest(
        "hi", VOICE, "eleven_flash_v2_5", fields={"seed": 1.0, "voice_settings": {"speed": 1}, "x": None}
    )
    assert base.key() == same.key()
    others = [
        SpeechRequest("hi ", VOICE, "eleven_flash_v2_5", fields=base.fields),
        SpeechRequest("hi", VOICE[::-1], "eleven_flash_v2_5", fields=base.fields),
        SpeechRequest("hi", VOICE, "eleven_flash_v2", fields=base.fields),
        SpeechRequest("hi", VOICE, "eleven_flash_v2_5", "pcm_16000", base.fields),
        SpeechRequest("hi", VOICE, "eleven_flash_v2_5", fields={**base.fields, "unknown": 1}),
        SpeechRequest("hi", VOICE, "eleven_flash_v2_5", fields={**base.fields, "unknown": True}),
        SpeechRequest("hi", VOICE, "eleven_flash_v2_5", fields=base.fields, query={"optimize_streaming_latency": 1}),
        SpeechRequest("hi", VOICE, "eleven_flash_v2_5", fields=base.fields, shape="timestamps"),
    ]
    assert len({request.key() for request in (base, *others)}) == len(others) + 1
    assert base.key("tenant") != base.key()
