"""The path: who pays, who waits, who is heard, and what happens when somebody leaves. In virtual time."""

import asyncio

import pytest
from scripted import Scene, Script, headers, outcome

from speech import Priority
from speech.clock import now
from speech.faults import Fault
from speech.flight import AHEAD, KEPT_WHOLE, implausible
from speech.ledger import Budgets
from speech.request import SpeechRequest

pytestmark = pytest.mark.virtual

INTERACTIVE, BATCH = Priority.INTERACTIVE, Priority.BATCH


async def test_equal_requests_are_one_call_and_one_bill() -> None:
    scene = Scene(Script())
    spoken = await asyncio.gather(*(scene.client.synthesize("hello") for _ in range(9)))
    assert {a.data for a in spoken} == {b"abc"}
    assert sorted(a.cache for a in spoken) == ["coalesced"] * 8 + ["miss"]
    assert (scene.upstream.calls, scene.money.credits, scene.money.requests) == (1, 3, 9)
    assert sorted(a.credits for a in spoken) == [0] * 8 + [3]
    assert (await scene.client.synthesize("hello")).cache == "hit"


async def test_an_interactive_reader_raises_a_flight_that_waits_as_batch() -> None:
    scene = Scene(Script(default=(1, b"x")))
    wishes = {"priority": "batch", "deadline": 99}
    crowd = [asyncio.create_task(scene.client.synthesize(f"batch {n}", **wishes)) for n in range(19)]
    await asyncio.sleep(0.5)
    began = now()
    await scene.client.synthesize("batch 18", priority="interactive")
    assert now() - began == pytest.approx(1.5)
    for task in crowd:
        task.cancel()


async def test_a_hopeless_deadline_that_joins_is_refused_alone_and_at_once() -> None:
    scene = Scene(Script(default=(1, b"x")))
    crowd = [asyncio.create_task(scene.client.synthesize(f"batch {n}", deadline=99)) for n in range(9)]
    await asyncio.sleep(0.5)
    began = now()
    assert await outcome(scene.client.synthesize("batch 8", deadline=2)) == "deadline_unreachable"
    assert now() - began < 0.01
    assert len({(await task).data for task in crowd}) == 1


async def test_a_slow_player_holds_no_slot() -> None:
    scene = Scene(Script())
    async with scene.client.stream("slow") as chunks:
        async for _ in chunks:
            await asyncio.sleep(10)
            assert scene.held == 0


async def test_a_stream_abandoned_halfway_frees_its_slot_at_once_and_keeps_nothing() -> None:
    scene = Scene(Script())
    async with scene.client.stream("gone") as chunks:
        assert await anext(chunks) == b"a"
        assert (scene.upstream.busy, scene.held) == (1, 1)
    await asyncio.sleep(0)
    assert (scene.upstream.busy, scene.held, scene.shelf.kept) == (0, 0, {})
    assert scene.money.credits == 2  # upstream had begun to speak: it was billed


async def test_nobody_boards_a_dying_flight() -> None:
    """Who asks in the very moment in which the last reader leaves gets a call of its own."""
    scene = Scene(Script())
    chunks = await scene.client.stream("again").__aenter__()
    assert await anext(chunks) == b"a"
    leaving = asyncio.create_task(chunks.__aexit__(None, None, None))
    asking = asyncio.create_task(scene.client.synthesize("again"))
    await leaving
    assert (await asking).data == b"abc"
    assert scene.upstream.calls == 2


async def test_whole_audio_that_was_sent_runs_to_its_end_into_the_cache() -> None:
    scene = Scene(Script())
    task = asyncio.create_task(scene.client.synthesize("paid"))
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.sleep(2)
    assert [kept.data for kept, _ in scene.shelf.kept.values()] == [b"abc"]
    assert scene.money.credits == 2


async def test_a_late_listener_hears_it_from_the_start_and_outlives_the_first() -> None:
    scene = Scene(Script())
    first = scene.client.stream("late")
    await first.__aenter__()
    await asyncio.sleep(0.3)
    async with scene.client.stream("late") as second:
        began = now()
        assert await anext(second) == b"a"
        assert now() == began
        await first.__aexit__(None, None, None)
        assert [chunk async for chunk in second] == [b"b", b"c"]
    assert scene.upstream.calls == 1


async def test_one_deadline_does_not_end_the_flight_of_another() -> None:
    scene = Scene(Script((3, b"x")))
    short, long = await asyncio.gather(
        outcome(scene.client.synthesize("t", deadline=2)), scene.client.synthesize("t", deadline=9)
    )
    assert (short, long.data, scene.upstream.calls) == ("deadline_exceeded", b"x", 1)


async def test_a_stream_has_its_deadline_at_the_first_byte() -> None:
    scene = Scene(Script((0.5, b"a", 4, b"b"), (1.5, b"a")))
    async with scene.client.stream("in time", deadline=1) as chunks:
        assert [chunk async for chunk in chunks] == [b"a", b"b"]
    assert await outcome(scene.client.stream("late", deadline=1).__aenter__()) == "deadline_exceeded"


async def test_a_budget_refuses_its_caller_alone() -> None:
    scene = Scene(Script(), budgets=Budgets(callers={"poor": 0.0001}))
    poor, rich = await asyncio.gather(
        outcome(scene.client.synthesize("hello", caller="poor")), scene.client.synthesize("hello", caller="rich")
    )
    assert (poor, rich.data, rich.credits, scene.upstream.calls) == ("budget_exceeded", b"abc", 3, 1)
    assert {row.caller: usage.credits for row, usage in scene.till.booked.items()} == {"rich": 3}


async def test_backing_off_holds_neither_slot_nor_money() -> None:
    scene = Scene(Script((Fault("busy"),)))
    task = asyncio.create_task(scene.client.synthesize("again"))
    await asyncio.sleep(0.5)
    assert (scene.held, scene.till.open) == (0, {})
    assert (await task).data == b"abc"


async def test_what_was_billed_is_never_tried_again() -> None:
    """At the first byte, or at headers that name a price."""
    scene = Scene(Script((0.1, b"half", Fault("reset")), (headers(cost=2), Fault("reset"))))
    assert await outcome(scene.client.synthesize("cut!")) == "upstream_unavailable"
    assert await outcome(scene.client.synthesize("told")) == "upstream_unavailable"
    assert (scene.upstream.calls, scene.money.credits, scene.shelf.kept) == (2, 4, {})


async def test_a_stream_that_breaks_after_its_start_breaks_visibly() -> None:
    scene = Scene(Script((0.1, b"half", 0.1, Fault("reset"))))
    async with scene.client.stream("cut") as chunks:
        assert await anext(chunks) == b"half"
        assert await outcome(anext(chunks)) == "upstream_unavailable"


async def test_sent_and_never_answered_is_uncertain_and_counts_against_upstream() -> None:
    scene = Scene(Script(*[(99,)] * 3))
    assert await outcome(scene.client.synthesize("hang", deadline=60)) == "upstream_unavailable"
    assert (scene.upstream.calls, scene.money.credits, scene.money.uncertain_credits) == (3, 0, 6)
    assert scene.policies.breakers["flash"].snapshot()["failures"] == 3


async def test_an_answered_retry_does_not_make_the_first_try_free() -> None:
    scene = Scene(Script((99,)))
    assert (await scene.client.synthesize("once", deadline=60)).data == b"abc"
    assert (scene.money.credits, scene.money.uncertain_credits) == (2, 2)


async def test_a_refusal_is_free() -> None:
    scene = Scene(Script((Fault("caller", status=422),), (Fault("concurrency"),), (Fault("unavailable"),)))
    assert await outcome(scene.client.synthesize("no")) == "invalid_request"
    assert (await scene.client.synthesize("yes")).data == b"abc"
    assert (scene.money.credits, scene.money.uncertain_credits) == (2, 0)


async def test_silence_is_a_fault_tried_once_more_and_never_kept() -> None:
    scene = Scene(Script((0.1,), (0.1,), (0.1,)))
    assert await outcome(scene.client.synthesize("mute")) == "upstream_unavailable"
    assert (scene.upstream.calls, scene.shelf.kept, scene.money.uncertain_credits) == (2, {}, 4)


async def test_no_attempt_starts_that_nobody_will_hear() -> None:
    scene = Scene(Script((Fault("busy"),)))
    assert await outcome(scene.client.synthesize("late", deadline=0.9)) == "upstream_unavailable"
    assert (scene.upstream.calls, now()) == (1, 0.0)


async def test_a_waiter_who_leaves_costs_nothing() -> None:
    scene = Scene(Script())
    tasks = [asyncio.create_task(scene.client.synthesize(text)) for text in ("one", "two", "three")]
    await asyncio.sleep(0.1)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (scene.upstream.texts, scene.held, scene.till.open) == (["one", "three"], 0, {})


async def test_a_concurrency_refusal_shrinks_the_pool_and_the_call_is_answered() -> None:
    scene = Scene(Script((Fault("concurrency", limit=3),)), limit=8)
    assert (await scene.client.synthesize("again")).data == b"abc"
    assert scene.limiter.snapshot()["limit"] == 3


async def test_audio_far_too_short_is_served_counted_and_not_kept() -> None:
    text = "This sentence is long enough to be judged by its length."
    scene = Scene(Script((0.1, b"x" * 100), (0.1, b"x" * 60_000)))
    assert (await scene.client.synthesize(text)).data == b"x" * 100
    assert scene.shelf.kept == {}
    assert scene.meter.totals()["suspicious_audio"] == 1
    assert (await scene.client.synthesize(text)).cache == "miss"
    assert len(scene.shelf.kept) == 1


def test_implausible_knows_formats_and_speed() -> None:
    text = "a" * 150  # ten seconds
    voice = "OZ0L6eISlOejga3XjDFt"
    slow, fast = (
        SpeechRequest(text, voice, "eleven_flash_v2_5", "pcm_16000", {"voice_settings": {"speed": s}}) for s in (1, 1.2)
    )
    assert implausible(slow, 31_000) and not implausible(slow, 33_000)
    assert not implausible(fast, 31_000)
    assert not implausible(SpeechRequest("short", voice, "eleven_flash_v2_5"), 1)


async def test_a_huge_stream_is_read_one_mebibyte_ahead_of_its_slowest_reader() -> None:
    piece = b"x" * 2**18
    scene = Scene(Script([piece] * 64))
    async with scene.client.stream("huge") as chunks:
        await asyncio.sleep(1)
        flight = next(iter(scene.client._flying))
        assert KEPT_WHOLE < flight.received <= KEPT_WHOLE + AHEAD + len(piece)
        assert sum([len(chunk) async for chunk in chunks]) == 64 * len(piece)
    assert sum(map(len, flight.chunks)) <= AHEAD + len(piece)
    assert scene.shelf.kept == {}


async def test_a_reader_of_a_huge_stream_who_stops_reading_gives_the_slot_back() -> None:
    scene = Scene(Script([b"x" * 2**18] * 64))
    async with scene.client.stream("huge") as chunks:
        await asyncio.sleep(60)
        assert scene.held == 0
        with pytest.raises(Exception, match="not read for too long"):
            _ = [chunk async for chunk in chunks]


async def test_closing_waits_for_what_is_in_flight_and_answers_what_is_not() -> None:
    scene = Scene(Script(default=(1, b"x")))
    tasks = [asyncio.create_task(outcome(scene.client.synthesize(text))) for text in ("first", "second", "third")]
    await asyncio.sleep(0.5)
    await scene.client.aclose(grace_s=1)
    first, *rest = await asyncio.gather(*tasks)
    assert (first.data, rest) == (b"x", ["draining", "draining"])
    assert await outcome(scene.client.synthesize("new")) == "draining"
    assert (scene.held, scene.till.open) == (0, {})
