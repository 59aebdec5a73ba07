"""The diary: what was counted, in whichever store was rendered; and what observing counts instead of doing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rooms import settings
from scripted import outcome

from speech.answers import CACHE_BACKEND
from speech.client import CallerTerms
from speech.diary import Shelf, day_of
from speech.ledger import Usage
from speech.testing.plugin import SandboxThread
from speech.wiring import SpeechClient

FLASH: dict[str, Any] = {"quality": "realtime"}
KEEPS = pytest.mark.skipif(CACHE_BACKEND == "memory", reason="it ends with the process, as all does there")


@asynccontextmanager
async def speaking(sandbox: SandboxThread, folder: Path, **values: Any) -> AsyncIterator[SpeechClient]:
    ours = settings(api_key="sandbox-takes-any", base_url=sandbox.url, env="development", cache_dir=folder, **values)
    async with SpeechClient(ours) as speech:
        yield speech


async def counts(speech: SpeechClient) -> Counter[str]:
    """Of all days, waits by pool: whatever the minute is."""
    sums = Counter[str]()
    for names in (await speech.diary.days()).values():
        for name, number in names.items():
            sums[name.rpartition("/")[0] if name.startswith("waited") else name] += number
    return sums


async def test_waits_and_refusals_are_counted_by_what_would_have_been_enough(
    speech_sandbox: SandboxThread, tmp_path: Path
) -> None:
    """One slot. Four have time for the calls before them, four more only for some."""
    speech_sandbox.set(latency_s=0.4)
    async with speaking(speech_sandbox, tmp_path, limits={"flash": 1}) as speech:
        await speech.warm_up()
        await speech.synthesize("measured", **FLASH)
        patient = [asyncio.create_task(speech.synthesize(f"patient {n}", deadline=20, **FLASH)) for n in range(4)]
        while not speech.snapshot()["flights"] == 4:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        late = await asyncio.gather(*(outcome(speech.synthesize(f"late {n}", deadline=1.5, **FLASH)) for n in range(4)))
        await asyncio.gather(*patient)
        said = await counts(speech)
    assert late == ["deadline_unreachable"] * 4
    assert said["waited/flash"] in (3, 4)  # the first may wait for the slot that is on its way back
    refused = {name: number for name, number in said.items() if name.startswith("refused/")}
    assert sum(refused.values()) == 4
    assert all(name.startswith("refused/flash/") and int(name.rpartition("/")[2]) > 1 for name in refused)


async def test_a_full_line_is_told_apart(speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """Who had the time to wait was not refused for want of slots."""
    speech_sandbox.set(latency_s=0.5)
    async with speaking(speech_sandbox, tmp_path, limits={"flash": 1}, queue_size=1) as speech:
        ends = await asyncio.gather(*(outcome(speech.synthesize(f"text {n}", **FLASH)) for n in range(4)))
        assert ends.count("queue_full") == 2 == (await counts(speech))["refused/flash/line"]


async def test_a_phrase_that_is_paid_again_is_counted_by_its_hash(
    speech_sandbox: SandboxThread, tmp_path: Path
) -> None:
    """Not what it says, and not one that was paid once or can't be cached."""
    async with speaking(speech_sandbox, tmp_path) as speech:
        for _ in range(3):
            await speech.synthesize("again and again", cache="off", **FLASH)
            await speech.synthesize("as it should be", **FLASH)
            await speech.synthesize("stitched", previous_request_ids=["x" * 20], **FLASH)
        said = {name: number for name, number in (await counts(speech)).items() if name.startswith("paid/")}
    assert sorted(said.values()) == ([1, 3] if CACHE_BACKEND == "memory" else [3])
    assert all(len(name) == len("paid/") + 12 + len("/15") and name.endswith("/15") for name in said)


@KEEPS
async def test_it_is_there_after_a_restart(speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """At an orderly end nothing is lost, and two processes count together."""
    for _ in range(2):
        async with speaking(speech_sandbox, tmp_path) as speech:
            for _ in range(2):
                await speech.synthesize("again", cache="off", **FLASH)
    async with speaking(speech_sandbox, tmp_path) as speech:
        assert [number for name, number in (await counts(speech)).items() if name.startswith("paid/")] == [4]


async def test_notes_add_up_and_keep_texts(speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """From a day on; a text is what it was set to last."""
    async with speaking(speech_sandbox, tmp_path) as speech:
        notes = speech.diary.notes
        for number in (1, 2.5):
            await notes.add({day_of(-1): {"a": number}, day_of(): {"b": 1}})
        assert {day: dict(names) for day, names in (await notes.since(day_of())).items()} == {day_of(): {"b": 2}}
        assert (await notes.since(day_of(-1)))[day_of(-1)]["a"] == 3.5
        assert await notes.get("x") is None
        for text in ("1", "2"):
            await notes.put("x", text)
        assert await notes.get("x") == "2"


async def test_a_store_that_fails_is_told_later(
    speech_sandbox: SandboxThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No request notices, one line is logged, and nothing is lost meanwhile."""
    async with speaking(speech_sandbox, tmp_path) as speech:

        async def fails(_: object) -> None:
            raise OSError("full")

        with monkeypatch.context() as broken:
            broken.setattr(speech.diary.notes, "add", fails)
            for _ in range(3):
                await speech.synthesize("again", cache="off", **FLASH)
                await speech.diary.flush()
        assert (await counts(speech)).total() == 3
    assert [record.message for record in caplog.records].count(
        "the diary can't be written for now: OSError('full')"
    ) == 1


# ----------------------------------------------------------------------------------------------------------- observing


async def test_observing_lets_everything_through_and_says_what_would_have_been(
    speech_sandbox: SandboxThread, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Eight at once where one is allowed, two of them equal, over budget: all are upstream at once, all are paid."""
    speech_sandbox.set(latency_s=0.4, limits={"flash": 50})
    observing = {"mode": "observe", "limits": {"flash": 1}, "queue_size": 4, "daily_budget_usd": 0.0001}
    async with speaking(speech_sandbox, tmp_path, **observing) as speech:
        texts = ["equal texts", "equal texts", *(f"other text {n}" for n in range(6))]
        await asyncio.gather(*(speech.synthesize(text, **FLASH) for text in texts))
        state = speech_sandbox.state()
        assert (state["calls"], state["refused"], state["peak"]["flash"]) == (8, 0, 8)
        money = sum((await speech.policies.ledger.rows()).values(), Usage())
        assert (money.credits, money.saved_credits) == (state["bill_credits"], 0)
        said = await counts(speech)
        assert (said["observed/queued"], said["observed/queue_full"], said["observed/hit"]) == (4, 3, 1)
        assert said["observed/budget_exceeded"] >= 7 and said["observed/credits"] == 6
        audio = await speech.synthesize("equal texts", **FLASH)
        assert (audio.cache, speech_sandbox.state()["calls"]) == ("bypass", 9)
    (line,) = [record.message for record in caplog.records if record.message.startswith("observed in all: ")]
    assert line.startswith("observed in all: 12 credits saved") and '"queue_full": 3' in line


async def test_observing_a_caller_has_as_many_seats_as_it_takes(speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """What its number would have refused is counted."""
    terms = {"small": CallerTerms(concurrency=1)}
    async with speaking(speech_sandbox, tmp_path, mode="observe", callers=terms) as speech:
        await asyncio.gather(*(speech.synthesize(f"text {n}", caller="small", **FLASH) for n in range(3)))
        assert (await counts(speech))["observed/caller_limit"] == 2


async def test_observing_serves_nothing_stale_and_no_other_model(speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """An outage is heard as it is."""
    async with speaking(speech_sandbox, tmp_path, mode="observe", cache_ttl_s=0.0, degrade="family") as speech:
        await speech.synthesize("text", **FLASH)
        speech_sandbox.set(faults=["503"] * 9)
        assert await outcome(speech.synthesize("text", **FLASH)) == "upstream_unavailable"


@pytest.mark.virtual
async def test_the_shelf_forgets_as_the_cache_does() -> None:
    """By age, and the least recently heard where there is no more room."""
    shelf = Shelf(bytes_max=300, ttl_s=10)
    assert [shelf.has(key, 100) for key in "abcab"] == [False, False, False, True, True]
    assert not shelf.has("d", 100) and not shelf.has("c", 100) and shelf.has("b", 100)
    await asyncio.sleep(11)
    assert not shelf.has("b", 100)
