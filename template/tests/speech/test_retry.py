"""Retry: where it may help, is still free, and somebody is there to hear."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from speech.clock import now
from speech.errors import CircuitOpen
from speech.faults import TABLE, Fault
from speech.retry import Attempt, Retry

pytestmark = pytest.mark.virtual

PAUSES = [kind for kind, verdict in TABLE.items() if verdict.retry in ("backoff", "budget")]
NEVER_AGAIN = [kind for kind, verdict in TABLE.items() if verdict.retry == "no"]


@dataclass
class Trip:
    deadline: float = float("inf")
    billed: bool = False


def longest() -> float:
    """The chance that always gives the whole pause."""
    return 1.0


def retry(tries: int = 3) -> Retry:
    return Retry(tries, chance=longest)


async def fly(retry: Retry, *script: Exception | None, trip: Trip | None = None) -> list[float]:
    """Play one step an attempt; the instants of the attempts. The last fault comes out."""
    begun, steps = [], iter(script)
    for attempt in retry.attempts(trip or Trip()):
        async with attempt:
            begun.append(now())
            if error := next(steps):
                raise error
            return begun
    raise AssertionError("the last attempt raises")


async def test_a_good_answer_is_not_repeated() -> None:
    """One attempt, no pause."""
    assert [0] == await fly(retry(), None)


@pytest.mark.parametrize("kind", PAUSES)
async def test_it_backs_off_and_tries_again(kind: str) -> None:
    """Twice as long each time: 1 s, then 2 s at most."""
    if kind == "empty_audio":
        assert [0, 1] == await fly(retry(), Fault(kind), None)
    else:
        assert [0, 1, 3] == await fly(retry(), Fault(kind), Fault(kind), None)


async def test_the_pause_is_bounded() -> None:
    """1, 2, 4, 8, 8 s."""
    begun = await fly(retry(tries=6), *[Fault("busy")] * 5, None)

    assert [0, 1, 3, 7, 15, 23] == begun


async def test_the_pause_is_random_between_nothing_and_all() -> None:
    """Full jitter: those who failed together don't come back together."""
    chances = iter([0.0, 0.25])

    assert [0, 0, 0.5] == await fly(Retry(chance=lambda: next(chances)), Fault("busy"), Fault("busy"), None)


async def test_retry_after_is_the_least() -> None:
    """What upstream asks for is waited for, whatever chance says; more is fine."""
    assert [0, 7, 9] == await fly(retry(), Fault("busy", retry_after_s=7), Fault("busy", retry_after_s=0.1), None)


@pytest.mark.parametrize("kind", NEVER_AGAIN)
async def test_what_cannot_help_is_not_tried_again(kind: str) -> None:
    """The fault comes out as it is, at once."""
    fault = Fault(kind)
    with pytest.raises(Fault) as raised:
        await fly(retry(), fault, None)

    assert raised.value is fault and now() == 0


@pytest.mark.parametrize("error", [CircuitOpen("open"), ValueError("ours"), asyncio.CancelledError()])
async def test_only_faults_are_tried_again(error: Exception) -> None:
    """A refusal of our own is an answer, and an error of our own a bug."""
    with pytest.raises(type(error)):
        await fly(retry(), error, None)


async def test_the_last_attempt_raises_its_fault() -> None:
    """Three tries; the third fault is the caller's."""
    faults = [Fault("busy", code) for code in ("first", "second", "third")]
    with pytest.raises(Fault) as raised:
        await fly(retry(), *faults)

    assert ("third", 3.0) == (raised.value.code, now())


async def test_what_was_billed_is_never_tried_again() -> None:
    """Retry ends where money begins."""
    with pytest.raises(Fault):
        await fly(retry(), Fault("reset"), None, trip=Trip(billed=True))

    assert 0 == now()


async def test_silence_is_tried_again_once_even_if_it_was_billed() -> None:
    """Nobody can want an answer without audio; but nobody pays for a third one either."""
    assert [0, 1] == await fly(retry(), Fault("empty_audio"), None, trip=Trip(billed=True))
    with pytest.raises(Fault):
        await fly(retry(), Fault("empty_audio"), Fault("empty_audio"), None)


@pytest.mark.parametrize(("deadline", "again"), [(1.0, False), (1.01, True)])
async def test_no_attempt_starts_that_nobody_will_hear(deadline: float, again: bool) -> None:
    """The fault comes out at once if the pause would outlast the deadline; no token is spent on it."""
    policy = retry()
    if again:
        assert [0, 1] == await fly(policy, Fault("busy"), None, trip=Trip(deadline))
        return
    with pytest.raises(Fault):
        await fly(policy, Fault("busy"), None, trip=Trip(deadline))

    assert (0, 10) == (now(), policy.tokens // 1)


async def test_the_trip_is_asked_when_the_attempt_has_failed() -> None:
    """A flight that got a reader with more time meanwhile may go on."""
    trip = Trip(deadline=0.5)
    attempt: Attempt = next(iter(retry().attempts(trip)))
    async with attempt:
        trip.deadline = 9.0
        raise Fault("busy")

    assert 1.0 == now()


async def test_to_queue_again_is_quick_and_free() -> None:
    """A concurrency refusal waits half a second at most and takes no token: the limiter bounds it."""
    policy = retry()
    before = policy.tokens

    assert [0, 0.5, 1.0] == await fly(policy, Fault("concurrency"), Fault("concurrency"), None)
    assert before + 0.1 == policy.tokens


async def outcomes(policy: Retry, calls: int) -> int:
    """Attempts that so many calls make while upstream is dead."""
    attempts = 0
    for _ in range(calls):
        for attempt in policy.attempts(Trip()):
            try:
                async with attempt:
                    attempts += 1
                    raise Fault("unavailable")
            except Fault:
                break
    return attempts


async def test_an_outage_is_not_multiplied() -> None:
    """A thousand calls to a dead upstream: a tenth more attempts and the ten there were, not three thousand."""
    assert 1000 + 100 + 10 == pytest.approx(await outcomes(retry(), 1000), abs=1)


async def test_a_quiet_service_may_retry() -> None:
    """Its first calls have ten tokens, saved or not."""
    assert 5 * 3 == await outcomes(retry(), 5)


async def test_savings_are_bounded() -> None:
    """A quiet year doesn't pay for a storm."""
    policy = retry()
    for _ in range(10_000):
        await fly(policy, None)

    assert 100 == policy.tokens


async def test_retries_are_counted_by_reason() -> None:
    """For the metric."""
    reasons: list[str] = []
    counted: Callable[[str], None] = reasons.append
    policy = Retry(chance=longest, counted=counted)
    await fly(policy, Fault("concurrency"), Fault("busy"), None)

    assert ["concurrency", "busy"] == reasons


async def test_cancelled_while_it_pauses() -> None:
    """A caller who leaves in the pause is gone at once."""
    task = asyncio.create_task(fly(retry(), Fault("busy"), None))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert 0.5 == now()
