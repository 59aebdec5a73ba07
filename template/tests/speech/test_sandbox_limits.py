"""Slots: counted by model family from arrival to just before the last bytes, given back by whoever leaves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from sandbox_calls import FLASH, TALIA, hear, speak, speak_at_once

from speech.testing.plugin import SandboxThread

STANDARD = "eleven_multilingual_v2"
ANY_KEY = {"xi-api-key": "any"}
HELLO = {"text": "hello", "model_id": FLASH}


async def until(holds: Callable[[], bool]) -> None:
    """Ask again and again, for twenty seconds at most."""
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came to be")


@contextlib.asynccontextmanager
async def calls_under_way(sandbox: SandboxThread, count: int, model: str = FLASH) -> AsyncIterator[None]:
    """So many calls hold a slot while the block runs; then they are cancelled, as by a client that leaves."""
    running = asyncio.create_task(speak_at_once(sandbox, count, model))
    pool = "flash" if model == FLASH else "standard"
    await until(lambda: sandbox.state()["in_flight"][pool] == min(count, sandbox.state()["limits"][pool]))
    yield
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_above_the_limit_the_rest_is_refused(speech_sandbox: SandboxThread) -> None:
    """With the number in the text, and neither concurrency headers nor Retry-After."""
    speech_sandbox.set(limits={"flash": 4}, latency_s=30)
    async with calls_under_way(speech_sandbox, 4):
        speech_sandbox.set(latency_s=0)
        over = speak(speech_sandbox)
    assert over.status_code == 429
    assert over.json()["detail"]["status"] == "too_many_concurrent_requests"
    assert over.json()["detail"]["code"] == "concurrent_limit_exceeded"
    assert "maximum of 4 concurrent requests (running in parallel)" in over.json()["detail"]["message"]
    assert not {"retry-after", "current-concurrent-requests", "maximum-concurrent-requests"} & set(over.headers)
    state = speech_sandbox.state()
    assert (state["calls"], state["refused"], state["peak"]["flash"]) == (5, 1, 4)


async def test_two_hundred_connections_are_served_together(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(limits={"flash": 200}, latency_s=30)
    async with calls_under_way(speech_sandbox, 200):
        assert speech_sandbox.state()["peak"]["flash"] == 200


async def test_in_queue_mode_all_are_served_and_none_passes_the_limit(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(limits={"flash": 4}, mode="queue", latency_s=0.03)
    answers = await speak_at_once(speech_sandbox, 24)
    assert {answer.status_code for answer in answers} == {200}
    state = speech_sandbox.state()
    assert (state["refused"], state["peak"]["flash"], state["bill_credits"]) == (0, 4, 10 * 4 + 14 * 5)


async def test_families_do_not_share_slots(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(limits={"flash": 1, "standard": 1, "stt": 1}, latency_s=30)
    async with calls_under_way(speech_sandbox, 1):
        speech_sandbox.set(latency_s=0)
        assert speak(speech_sandbox).status_code == 429
        assert speak(speech_sandbox, model_id=STANDARD).status_code == 200
        assert hear(speech_sandbox, bytes([1, 2]) * 16000, file_format="pcm_s16le_16").status_code == 200


async def test_clients_that_leave_give_their_slots_back_and_have_paid(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(limits={"flash": 3}, latency_s=30)
    async with calls_under_way(speech_sandbox, 3):
        pass
    await until(lambda: speech_sandbox.state()["in_flight"]["flash"] == 0)
    assert speech_sandbox.state()["bill_credits"] == 3 * 4


async def test_one_that_leaves_the_queue_has_not_paid(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(limits={"flash": 1}, mode="queue", latency_s=30)
    async with calls_under_way(speech_sandbox, 1):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{speech_sandbox.url}/v1/text-to-speech/{TALIA}", json=HELLO, headers=ANY_KEY, timeout=0.1)
        assert speech_sandbox.state()["calls"] == 2
    await until(lambda: speech_sandbox.state()["in_flight"]["flash"] == 0)
    assert speech_sandbox.state()["bill_credits"] == 4


async def test_a_lower_limit_lets_those_running_end(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(latency_s=30)
    async with calls_under_way(speech_sandbox, 5):
        speech_sandbox.set(limits={"flash": 2}, latency_s=0)
        assert speech_sandbox.state()["in_flight"]["flash"] == 5
        assert speak(speech_sandbox).status_code == 429


async def test_the_header_tells_the_limit_of_the_moment_it_is_sent(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(latency_s=1.0)
    running = asyncio.create_task(speak_at_once(speech_sandbox, 2))
    await until(lambda: speech_sandbox.state()["in_flight"]["flash"] == 2)
    speech_sandbox.set(limits={"flash": 6})
    answers = await running
    assert {answer.headers["maximum-concurrent-requests"] for answer in answers} == {"6"}
    assert {answer.headers["current-concurrent-requests"] for answer in answers} <= {"1", "2"}


async def test_the_slot_is_free_when_the_last_byte_arrives(speech_sandbox: SandboxThread) -> None:
    """So a client that waits for its answer never meets a limit of one."""
    speech_sandbox.set(limits={"flash": 1}, latency_s=0)
    url = f"{speech_sandbox.url}/v1/text-to-speech/{TALIA}/stream"
    async with httpx.AsyncClient(headers=ANY_KEY) as client:
        answers = [await client.post(url, json=HELLO) for _ in range(40)]
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(("minutes", "weight"), [(1, 1), (8, 1), (9, 2), (17, 3), (25, 4), (60, 4)])
async def test_a_long_file_weighs_more(speech_sandbox: SandboxThread, minutes: int, weight: int) -> None:
    """One slot for each eight minutes begun, at most four."""
    frame = b"\xff\xf3\x14\xc4" + bytes([1]) * 20  # MPEG 2, 24 kHz, 8 kbit/s: 24 ms in 24 bytes
    answer = hear(speech_sandbox, frame * round(minutes * 60 / 0.024))
    assert answer.status_code == 200
    assert speech_sandbox.state()["peak"]["stt"] == weight
