"""The limiter: never over the number, never out of order, never a slot or a waiter lost."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from speech.clock import now
from speech.errors import Overloaded
from speech.faults import Fault
from speech.limiter import Lease, Limiter, Ticket
from speech.request import Priority
from speech.testing.virtual_time import VirtualLoop

pytestmark = pytest.mark.virtual

INTERACTIVE, NORMAL, BATCH = Priority
NEVER = float("inf")


def ticket(priority: Priority = NORMAL, within: float = NEVER, *, whole: bool = True, weight: int = 1) -> Ticket:
    return Ticket(priority, now() + within, whole, guess_s=1.0, weight=weight)


async def call(limiter: Limiter, wanted: Ticket, seconds: float = 1.0) -> float:
    """Hold a slot for so long; the instant at which it was given."""
    async with limiter.admit(wanted):
        began = now()
        await asyncio.sleep(seconds)
    return began


def queue(limiter: Limiter, *wanted: Ticket, seconds: float = 1.0) -> list["asyncio.Task[float]"]:
    return [asyncio.create_task(call(limiter, each, seconds)) for each in wanted]


async def measured(limiter: Limiter, seconds: float) -> None:
    """Let it see how long calls take."""
    await call(limiter, ticket(), seconds)


async def started(*tasks: "asyncio.Task[float]") -> list[float]:
    return [round(began, 6) for began in await asyncio.gather(*tasks)]


# ---------------------------------------------------------------------------------------------------- the line


async def test_as_many_as_the_plan_allows_and_never_one_more() -> None:
    """200 calls on 10 slots: at most 10 at once, and 10 all the time."""
    limiter, peaks = Limiter("flash", 10), []

    async def watched() -> None:
        async with limiter.admit(ticket()):
            peaks.append(limiter.snapshot()["in_flight"])
            await asyncio.sleep(0.2)

    await asyncio.gather(*(watched() for _ in range(200)))

    assert (10, 4.0) == (max(peaks), round(now(), 6))


async def test_first_come_first_served() -> None:
    """Within one priority the order of arrival is the order of service."""
    tasks = queue(Limiter("flash", 1), *(ticket() for _ in range(5)))

    assert [0, 1, 2, 3, 4] == await started(*tasks)


async def test_interactive_goes_next_behind_any_queue() -> None:
    """Behind 200 batch calls an interactive one waits until the next slot is free, no longer."""
    limiter = Limiter("flash", 10)
    crowd = queue(limiter, *(ticket(BATCH) for _ in range(200)))
    await asyncio.sleep(0.5)

    assert [1.0] == await started(*queue(limiter, ticket(INTERACTIVE)))

    await asyncio.gather(*crowd)


@pytest.mark.parametrize(("head_start", "first"), [(59.0, "urgent"), (61.0, "patient")])
async def test_a_minute_of_waiting_outweighs_one_class(head_start: float, first: str) -> None:
    """Strict priority for 60 s, then whoever has waited that much longer goes first: nothing starves."""
    limiter = Limiter("flash", 1)
    blocker = queue(limiter, ticket(), seconds=100)
    await asyncio.sleep(0)
    patient = queue(limiter, ticket(BATCH))
    await asyncio.sleep(head_start)
    urgent = queue(limiter, ticket(NORMAL))

    begun = dict(zip(["blocker", "patient", "urgent"], await started(*blocker, *patient, *urgent), strict=True))

    assert first == min(["patient", "urgent"], key=begun.__getitem__)


async def test_a_retry_keeps_its_place() -> None:
    """Somebody who was refused upstream comes back to where he stood, before those who came meanwhile."""
    limiter, mine = Limiter("flash", 1), ticket()
    await call(limiter, mine)
    blocker = queue(limiter, ticket())
    await asyncio.sleep(0)
    others = queue(limiter, ticket(), ticket())
    await asyncio.sleep(0)
    again = queue(limiter, mine)

    assert [1, 2, 3, 4] == await started(*blocker, *again, *others)


async def test_waiting_is_summed_over_the_attempts_of_one_request() -> None:
    """``waited_s`` is the time in the line, not in the call."""
    limiter, mine = Limiter("flash", 1), ticket()
    for _ in range(2):
        blocker = queue(limiter, ticket(INTERACTIVE), seconds=3)
        await asyncio.sleep(1)
        await call(limiter, mine, 5)
        await asyncio.gather(*blocker)

    assert 4 == mine.waited_s


async def test_a_light_newcomer_does_not_pass_a_heavy_head() -> None:
    """The head of the line waits for all its slots; a free one is not given to somebody behind it."""
    limiter = Limiter("stt", 4)
    tasks = queue(limiter, ticket(weight=2), ticket(weight=4), ticket(weight=1))

    assert [0, 1, 2] == await started(*tasks)


async def test_a_call_heavier_than_the_pool_runs_alone() -> None:
    """Weight is capped at the limit, so that it can always run once."""
    limiter = Limiter("stt", 2)

    assert [0, 1, 2] == await started(*queue(limiter, ticket(weight=1), ticket(weight=4), ticket(weight=1)))


async def test_cancelled_in_the_instant_it_is_given_a_slot() -> None:
    """A waiter that leaves with its slot already in hand passes it on."""
    limiter = Limiter("flash", 1)
    admission = limiter.admit(ticket())
    await admission.__aenter__()
    gone, heir = queue(limiter, ticket(), ticket())
    await asyncio.sleep(0)

    await admission.__aexit__(None, None, None)  # the slot is gone's now, who has not run yet
    gone.cancel()

    assert [0] == await started(heir)
    assert "<Limiter flash 0/1 in flight, 0 waiting, 0 shed>" == repr(limiter)


async def test_a_slot_freed_after_a_waiter_was_cancelled_is_not_given_to_it() -> None:
    """The other way round: cancelled first, freed before it could leave the line."""
    limiter = Limiter("flash", 1)
    admission = limiter.admit(ticket())
    await admission.__aenter__()
    gone, heir = queue(limiter, ticket(), ticket())
    await asyncio.sleep(0)

    gone.cancel()
    await admission.__aexit__(None, None, None)

    assert [0] == await started(heir)
    assert 0 == limiter.snapshot()["in_flight"]


async def test_a_heavy_head_that_gives_up_lets_the_others_in() -> None:
    """A cancelled waiter stands in nobody's way."""
    limiter = Limiter("stt", 2)
    _long, heavy, light = queue(limiter, ticket(), ticket(weight=2), ticket(), seconds=9)
    await asyncio.sleep(1)
    heavy.cancel()

    assert [1] == await started(light)


async def test_reorder_moves_a_waiting_ticket() -> None:
    """A flight that got a better reader goes where that reader would stand."""
    limiter, mine = Limiter("flash", 1), ticket(BATCH)
    tasks = queue(limiter, ticket(), ticket(), mine)
    await asyncio.sleep(0.5)
    mine.priority = INTERACTIVE
    limiter.reorder(mine)

    assert [0, 2, 1] == await started(*tasks)


async def test_reorder_of_what_does_not_wait_does_nothing() -> None:
    """A ticket that holds a slot already, or was never seen, stays as it is."""
    limiter, mine = Limiter("flash", 1), ticket()
    tasks = queue(limiter, mine)
    await asyncio.sleep(0.5)
    limiter.reorder(mine)
    limiter.reorder(ticket())

    assert [0] == await started(*tasks)


# ---------------------------------------------------------------------------------------------------- kept slots


@pytest.mark.parametrize(
    ("reserved", "limit", "for_others"),
    [(0, 10, 10), (2, 10, 8), (0.25, 10, 8), (0.04, 10, 10), (99, 10, 1), (1, 1, 1)],
)
async def test_reserved_slots_are_for_interactive_alone(reserved: float, limit: int, for_others: int) -> None:
    """A number, or below 1 a share of the limit; the last slot is never reserved."""
    limiter = Limiter("flash", limit, reserved=reserved)
    others = queue(limiter, *(ticket() for _ in range(limit)))
    await asyncio.sleep(0)
    assert for_others == limiter.snapshot()["in_flight"]

    urgent = queue(limiter, *(ticket(INTERACTIVE) for _ in range(limit - for_others)))
    assert [0] * (limit - for_others) == await started(*urgent)
    await asyncio.gather(*others)


async def test_a_reserved_slot_is_open_to_interactive_past_an_older_line() -> None:
    """However long others have waited: what is kept for urgent calls serves them at once."""
    limiter = Limiter("flash", 2, reserved=1)
    others = queue(limiter, ticket(), ticket(), seconds=200)
    await asyncio.sleep(100)

    assert [100] == await started(*queue(limiter, ticket(INTERACTIVE)))
    await asyncio.gather(*others)


async def test_a_ticket_that_became_urgent_takes_a_reserved_slot_at_once() -> None:
    """An interactive reader joins what waits as batch: it doesn't wait for a release."""
    limiter, mine = Limiter("flash", 2, reserved=1), ticket(BATCH)
    tasks = queue(limiter, ticket(), mine)
    await asyncio.sleep(0.5)
    mine.priority = INTERACTIVE
    limiter.reorder(mine)

    assert [0, 0.5] == await started(*tasks)


async def test_reserved_slots_starve_nobody() -> None:
    """Urgent calls without end keep their slots, but an aged batch call gets its turn between them."""
    limiter = Limiter("flash", 4, reserved=1)

    served = asyncio.Event()

    async def hurry() -> None:
        while not served.is_set():
            await call(limiter, ticket(INTERACTIVE))

    crowd = [asyncio.create_task(hurry()) for _ in range(12)]
    await asyncio.sleep(0.5)
    began = await call(limiter, ticket(BATCH))
    served.set()

    assert 120 < began < 130
    await asyncio.gather(*crowd)


async def peak(reserved: float) -> tuple[list[float], list[float], int]:
    """20 minutes at 97 % of 10 slots, a third of it batch: waits of both, shortest first, and how many were served."""
    limiter, chance, served = Limiter("flash", 10, reserved=reserved), random.Random(0), []
    waits: dict[Priority, list[float]] = {INTERACTIVE: [], BATCH: []}

    async def one(priority: Priority, came: float, seconds: float) -> None:
        waits[priority].append(await call(limiter, ticket(priority), seconds) - came)
        served.append(now())

    async with asyncio.TaskGroup() as group:
        for _ in range(2000):
            await asyncio.sleep(chance.expovariate(1.75))
            priority = INTERACTIVE if chance.random() < 0.7 else BATCH
            group.create_task(one(priority, now(), 5.57 * chance.expovariate(1)))
        last = now()
    return sorted(waits[INTERACTIVE]), sorted(waits[BATCH]), sum(ended <= last for ended in served)


async def test_kept_slots_do_not_turn_against_those_they_are_kept_for() -> None:
    """Though batch calls age past interactive ones, these wait as with nothing kept at most, and as many are served."""
    interactive, batch, served = await peak(3)
    usual, _, usually_served = await peak(0)

    assert batch[-1] > 120, "nothing was on trial"
    for share in (0.5, 0.95, 0.99):
        assert interactive[int(share * len(interactive))] < 1.05 * usual[int(share * len(usual))]
    assert served > 0.99 * usually_served


async def test_a_kept_slot_in_use_is_nobodys_loss() -> None:
    """A crowd that has aged keeps the other three slots busy while interactive calls pass it, each at once."""
    limiter, passed = Limiter("flash", 4, reserved=1), []
    crowd = queue(limiter, *(ticket(BATCH) for _ in range(600)))
    await asyncio.sleep(150)
    for _ in range(50):
        passed += queue(limiter, ticket(INTERACTIVE))
        await asyncio.sleep(1)

    assert [150 + n for n in range(50)] == await started(*passed)
    assert 199 == max(await started(*crowd))


async def test_who_ran_as_interactive_counts_so_to_its_end() -> None:
    """A flight whose interactive reader left holds its slot on; what others may hold is still theirs."""
    limiter, mine = Limiter("flash", 2, reserved=1), ticket(INTERACTIVE)
    tasks = queue(limiter, mine)
    await asyncio.sleep(0.5)
    mine.priority = BATCH
    limiter.reorder(mine)

    assert [0, 0.5] == await started(*tasks, *queue(limiter, ticket()))


async def test_a_heavy_head_that_waits_for_its_quota_leaves_the_kept_slots_open() -> None:
    """It needs all slots that others may hold; an interactive call on a kept one is not in its way."""
    limiter = Limiter("stt", 4, reserved=1)
    running, heavy = queue(limiter, ticket(), ticket(weight=9), seconds=2)
    await asyncio.sleep(1)
    passing = queue(limiter, ticket(INTERACTIVE), seconds=2)

    assert [0, 1, 2] == await started(running, *passing, heavy)


# ---------------------------------------------------------------------------------------------------- shedding


async def test_the_line_is_bounded() -> None:
    """When it is full a newcomer is refused at once, and told when a place is free."""
    limiter = Limiter("flash", 1, queue_size=2)
    await measured(limiter, 1.0)
    tasks = queue(limiter, *(ticket() for _ in range(3)))
    await asyncio.sleep(0.25)

    with pytest.raises(Overloaded) as refused:
        await call(limiter, ticket())

    assert ("queue_full", 0.75, 429) == (refused.value.code, refused.value.retry_after_s, refused.value.status)
    assert [1, 2, 3] == await started(*tasks)


async def test_in_a_full_line_the_worst_place_is_refused() -> None:
    """A newcomer who outranks somebody takes his place; it is the worst who hears queue_full."""
    limiter = Limiter("flash", 1, queue_size=2)
    first, second, worst = queue(limiter, ticket(), ticket(BATCH), ticket(BATCH))
    await asyncio.sleep(0)
    urgent = queue(limiter, ticket(INTERACTIVE))

    with pytest.raises(Overloaded, match="full"):
        await worst
    assert [0, 1, 2] == await started(first, *urgent, second)


async def test_the_worst_place_may_be_on_its_way_out() -> None:
    """A waiter cancelled in the instant it is displaced just leaves."""
    limiter = Limiter("flash", 1, queue_size=1)
    first, worst = queue(limiter, ticket(), ticket(BATCH))
    await asyncio.sleep(0)
    worst.cancel()

    assert 1 == await call(limiter, ticket(INTERACTIVE))  # worst has not run since
    assert worst.cancelled() and first.done()


async def test_without_a_line_only_free_slots_are_given() -> None:
    """``queue_size=0``: served at once or refused."""
    limiter = Limiter("flash", 1, queue_size=0)
    served = queue(limiter, ticket())
    await asyncio.sleep(0)

    with pytest.raises(Overloaded) as refused:
        await call(limiter, ticket())

    assert ("queue_full", 1.0) == (refused.value.code, refused.value.retry_after_s)
    await asyncio.gather(*served)


async def shed(limiter: Limiter, within: float, *, whole: bool = True) -> float | None:
    """The Retry-After of somebody with that much time; None if he was let into the line."""
    before = now()
    try:
        async with asyncio.timeout(0):
            await call(limiter, ticket(within=within, whole=whole))
    except Overloaded as refused:
        assert ("deadline_unreachable", before) == (refused.code, now())
        return refused.retry_after_s
    except TimeoutError:
        return None
    return None


async def test_whoever_cannot_be_in_time_hears_so_on_arrival() -> None:
    """Whole audio needs its turn and its own time before the deadline; a stream only its turn."""
    limiter = Limiter("flash", 2)
    await measured(limiter, 1.0)
    tasks = queue(limiter, *(ticket() for _ in range(6)))
    await asyncio.sleep(0.5)  # two in flight until 1.0, then two more until 2.0, two more until 3.0

    assert [True, False] == [await shed(limiter, 3.4) is not None, await shed(limiter, 3.6) is not None]
    assert [True, False] == [
        await shed(limiter, 2.4, whole=False) is not None,
        await shed(limiter, 2.6, whole=False) is not None,
    ]
    await asyncio.gather(*tasks)


async def test_whoever_can_begin_at_once_is_never_shed() -> None:
    """A mean measured in a bad hour can't shut the pool for good: the next call mends it."""
    limiter = Limiter("flash", 1)
    await measured(limiter, 60.0)

    assert [60.0] == await started(*queue(limiter, ticket(within=2.0), seconds=0.2))
    assert limiter.snapshot()["service_s"] < 60


async def test_only_good_ends_are_measured() -> None:
    """An open breaker's refusals end in no time and a hang at its timeout: neither is how long a call takes."""
    limiter = Limiter("flash", 1)
    await measured(limiter, 1.0)
    for fault in (Fault("concurrency"), Fault("timeout")):
        with pytest.raises(Fault):
            async with limiter.admit(ticket()):
                raise fault

    assert 1.0 == limiter.snapshot()["service_s"]


async def test_before_anything_was_measured_the_ticket_guesses() -> None:
    """``guess_s`` stands in for the mean."""
    limiter = Limiter("flash", 1)
    tasks = queue(limiter, ticket())
    await asyncio.sleep(0)

    assert [True, False] == [await shed(limiter, 1.9) is not None, await shed(limiter, 2.1) is not None]
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("waiting", [10, 50, 200])
@pytest.mark.parametrize("within", [0.02, 0.3])
@pytest.mark.parametrize("burst", [True, False])
async def test_retry_after_is_true(waiting: int, within: float, burst: bool) -> None:
    """Coming back then gets in, coming back at half of it mostly doesn't; in bursts (convoys) as in steady traffic."""
    chance = random.Random(f"{waiting} {within} {burst}")
    got_in = {1.0: 0, 0.5: 0}

    async def crowd(limiter: Limiter, number: int, spread: float) -> list["asyncio.Task[float]"]:
        tasks = []
        for _ in range(number):
            tasks += queue(limiter, ticket(), seconds=0.2 * chance.uniform(0.75, 1.25))
            await asyncio.sleep(chance.uniform(0, spread))
        return tasks

    for share in [1.0] * 20 + [0.5] * 10:
        limiter = Limiter("flash", 10)
        await asyncio.gather(*await crowd(limiter, 60, 0.0))
        tasks = await crowd(limiter, 10, 0.0 if burst else 0.04) + await crowd(limiter, waiting, 0.0)
        retry_after_s = await shed(limiter, within)
        assert retry_after_s is not None
        await asyncio.sleep(share * retry_after_s)
        got_in[share] += await shed(limiter, within) is None
        for task in tasks:
            task.cancel()

    assert got_in[1.0] >= 19 and got_in[0.5] <= 2


async def test_slots_above_a_lowered_limit_are_nobodys_turn() -> None:
    """Four run where two are allowed now: the first two ends let nobody in."""
    limiter, tasks = Limiter("flash", 4), []
    await measured(limiter, 1.0)
    for _ in range(4):
        tasks += queue(limiter, ticket())
        await asyncio.sleep(0.1)
    hear(limiter, 2)

    assert [True, False] == [limiter.late(NORMAL, 1.0 + turn, False) is not None for turn in (1.15, 1.25)]
    await asyncio.gather(*tasks)


async def told(limiter: Limiter, *wanted: Ticket) -> list[float]:
    """What each hears of its turn on arrival, behind those before it."""
    turns = []
    for each in wanted:
        each.arrived = now()
        turns.append(round(limiter.turn_in_s(each), 6))
        queue(limiter, each)
        await asyncio.sleep(0)
    return turns


async def test_the_turn_of_others_is_told_by_what_they_may_hold() -> None:
    """Three of four slots for them and their like, once the interactive calls ahead of them leave room."""
    limiter = Limiter("flash", 4, reserved=1)
    await measured(limiter, 1.0)

    assert [0, 0, 0, 1, 1, 1, 2] == await told(limiter, *(ticket() for _ in range(7)))
    await asyncio.sleep(10)
    assert [0] * 4 == await told(limiter, *(ticket(INTERACTIVE) for _ in range(4)))
    assert [1, 1, 1, 2] == await told(limiter, *(ticket() for _ in range(4)))
    await asyncio.sleep(10)


async def test_the_turn_of_interactive_calls_is_told_by_what_is_kept_for_them() -> None:
    """However many have aged past them; unless they are heavier than what is kept, or behind such."""
    limiter = Limiter("flash", 4, reserved=1)
    await measured(limiter, 1.0)
    crowd = queue(limiter, *(ticket(BATCH) for _ in range(600)))
    await asyncio.sleep(150.25)  # 453 have begun, three of them a quarter of a second ago; 147 wait

    assert [0, 1, 2] == await told(limiter, *(ticket(INTERACTIVE) for _ in range(3)))
    assert [37.75, 38.0] == await told(limiter, ticket(INTERACTIVE, weight=2), ticket(INTERACTIVE))
    await asyncio.gather(*crowd)


async def test_the_turn_on_kept_slots_waits_for_those_above_a_lowered_limit() -> None:
    """Four others run where one may: the kept slots are theirs until they end."""
    limiter, tasks = Limiter("flash", 6, reserved=2), []
    await measured(limiter, 1.0)
    for _ in range(4):
        tasks += queue(limiter, ticket())
        await asyncio.sleep(0.1)
    hear(limiter, 3)

    assert [0.7, 0.8] == await told(limiter, ticket(INTERACTIVE), ticket(INTERACTIVE))
    assert [0.9] == await told(limiter, ticket())
    await asyncio.gather(*tasks)


async def test_late_answers_for_somebody_who_joins_a_waiting_ticket() -> None:
    """At the place it has, or that his priority would give it; and nobody is late for what is on its way."""
    limiter, mine = Limiter("flash", 1), ticket(BATCH)
    await measured(limiter, 1.0)
    running, *waiting = (ticket(), ticket(), ticket(), mine)
    tasks = queue(limiter, running, *waiting)
    await asyncio.sleep(0)

    def late(priority: Priority, within: float, joined: Ticket | None, whole: bool = False) -> bool:
        return limiter.late(priority, now() + within, whole, joined) is not None

    assert (True, False) == (late(BATCH, 2.9, mine), late(BATCH, 3.1, mine))
    assert (True, False) == (late(INTERACTIVE, 0.9, mine), late(INTERACTIVE, 1.1, mine))
    assert (True, False) == (late(NORMAL, 3.1, mine, True), late(NORMAL, 4.1, mine, True))
    assert (True, False) == (late(BATCH, 3.9, None), late(BATCH, 4.1, None))
    assert not late(BATCH, 0.0, running)
    await asyncio.gather(*tasks)


# ---------------------------------------------------------------------------------------------------- the number


async def holding(limiter: Limiter, number: int = 1) -> list[Lease]:
    """Leases that nobody gives back."""
    return [await limiter.admit(ticket()).__aenter__() for _ in range(number)]


def limit(limiter: Limiter) -> int:
    number: int = limiter.snapshot()["limit"]
    return number


def hear(limiter: Limiter, *maxima: int) -> int:
    for maximum in maxima:
        limiter.heard(maximum, None)
    return limit(limiter)


async def test_the_limit_starts_at_the_plan() -> None:
    """Shared out to processes without a remainder, so that all together stay within it."""
    assert [10, 3, 1] == [limit(Limiter("flash", 10, processes=n)) for n in (1, 3, 10)]


def test_a_share_of_nothing_is_refused() -> None:
    """More processes than slots: one line that says so."""
    with pytest.raises(ValueError, match="flash: 2 calls at once can't be shared out to 3 processes"):
        Limiter("flash", 2, processes=3)


@pytest.mark.parametrize(
    ("said", "then"),
    [
        ([6], 6),
        ([14], 10),
        ([14, 14], 10),
        ([14, 14, 14], 14),
        ([14, 16, 15], 14),
        ([14, 14, 10, 14, 14], 10),
        ([0], 10),
        ([41, 41, 41], 10),
        ([40, 40, 40], 40),
        ([6, 10, 10], 6),
        ([6, 10, 10, 10], 10),
    ],
)
async def test_headers_move_the_limit(said: list[int], then: int) -> None:
    """Down at once; up after three in a row, in one jump; believed from 1 to four times the plan."""
    assert then == hear(Limiter("flash", 10), *said)


async def test_headers_tell_the_accounts_number_not_ours() -> None:
    """With several processes each takes its share of it, and never less than 1."""
    limiter = Limiter("flash", 10, processes=3)

    assert [3, 2, 1] == [hear(limiter, 10), hear(limiter, 7), hear(limiter, 2)]


async def test_an_operators_number_is_not_moved_by_headers() -> None:
    """``SPEECH_LIMITS`` stands above them; a refusal still cuts, and it grows back."""
    limiter = Limiter("flash", 10, fixed=True)
    (lease,) = await holding(limiter)
    assert 10 == hear(limiter, 4, 20, 20, 20)

    lease.refused(6)

    assert {"limit": 6, "ceiling": 10} == {name: limiter.snapshot()[name] for name in ("limit", "ceiling")}


@pytest.mark.parametrize(("said", "then"), [(6, 6), (None, 8), (10, 8), (12, 8), (1, 1), (0, 1)])
async def test_a_refusal_cuts(said: int | None, then: int) -> None:
    """To the number in its text; where that is no news others use the account, and a fifth less is taken."""
    limiter = Limiter("flash", 10)
    (lease,) = await holding(limiter)
    lease.refused(said)

    assert then == limit(limiter)


async def test_one_incident_cuts_once() -> None:
    """Ten refusals of calls that were let in before the cut say nothing new; one let in later does."""
    limiter = Limiter("flash", 10)
    for lease in await holding(limiter, 8):
        lease.refused(None)
    assert (8, 1) == (limit(limiter), limiter.snapshot()["cuts"])

    limiter = Limiter("flash", 10)
    (old,) = await holding(limiter)
    old.refused(None)
    (new,) = await holding(limiter)
    new.refused(None)

    assert (6, 2) == (limit(limiter), limiter.snapshot()["cuts"])


async def test_after_a_header_lowered_the_limit_older_refusals_are_no_news() -> None:
    """A refusal on its way back while the headers told the same cuts no second time."""
    limiter = Limiter("flash", 10)
    (lease,) = await holding(limiter)
    hear(limiter, 6)
    lease.refused(6)

    assert 6 == limit(limiter)


@pytest.mark.parametrize(("plan", "then"), [(2, 1), (1, 1), (3, 2), (4, 3), (60, 48)])
async def test_a_cut_takes_at_least_one_and_leaves_at_least_one(plan: int, then: int) -> None:
    """A fifth, at least one, and never the last."""
    limiter = Limiter("flash", plan)
    (lease,) = await holding(limiter)
    lease.refused(None)

    assert then == limit(limiter)


async def test_it_grows_back_while_somebody_waits() -> None:
    """One every 10 s up to the ceiling, and not in an idle hour."""
    limiter = Limiter("flash", 4)
    async with limiter.admit(ticket()) as lease:
        lease.refused(None)
        lease.refused(None)
    assert 3 == limit(limiter)
    await asyncio.sleep(3600)
    await asyncio.gather(*queue(limiter, *(ticket() for _ in range(3))))
    assert 3 == limit(limiter)

    crowd = queue(limiter, *(ticket() for _ in range(400)))
    await asyncio.sleep(0)
    assert 4 == limit(limiter)
    await asyncio.sleep(30)
    assert 4 == limit(limiter)
    await asyncio.gather(*crowd)


async def test_growth_takes_ten_seconds_a_step() -> None:
    """From 5 of 10: 6 after 10 s, 7 after 20."""
    limiter = Limiter("flash", 10)
    for _ in range(3):
        async with limiter.admit(ticket()) as lease:
            lease.refused(None)
    seen = []
    crowd = queue(limiter, *(ticket() for _ in range(200)), seconds=0.5)
    for _ in range(3):
        seen.append(limit(limiter))
        await asyncio.sleep(10.1)

    assert [4, 5, 6] == seen
    await asyncio.gather(*crowd)


async def test_when_the_ceiling_rises_the_limit_jumps_with_it() -> None:
    """A bigger plan ends the penance for an old refusal."""
    limiter = Limiter("flash", 10)
    (lease,) = await holding(limiter)
    lease.refused(None)

    assert [8, 14] == [limit(limiter), hear(limiter, 14, 14, 14)]


async def test_a_higher_limit_lets_waiters_in_at_once() -> None:
    """Not only at the next release."""
    limiter = Limiter("flash", 1)
    tasks = queue(limiter, *(ticket() for _ in range(3)))
    await asyncio.sleep(0.5)
    hear(limiter, 3, 3, 3)

    assert [0, 0.5, 0.5] == await started(*tasks)


async def test_a_header_that_tells_nothing_new_does_not_undo_a_cut() -> None:
    """The account still allows 10, but somebody else uses it: growing back is slow."""
    limiter = Limiter("flash", 10)
    (lease,) = await holding(limiter)
    lease.refused(None)

    assert 8 == hear(limiter, 10, 10, 10, 10)


async def test_a_lower_limit_takes_no_slot_back() -> None:
    """What runs goes on; nothing is given until fewer are held than allowed."""
    limiter = Limiter("flash", 4)
    tasks = [task for seconds in (1.0, 2.0, 3.0, 4.0, 1.0) for task in queue(limiter, ticket(), seconds=seconds)]
    await asyncio.sleep(0.5)
    hear(limiter, 2)

    assert [0, 0, 0, 0, 3] == await started(*tasks)


async def test_others_on_the_account_are_given_room() -> None:
    """When five answers in a row saw calls that are not ours, we take so many less; as soon as one saw fewer, more."""
    limiter = Limiter("flash", 10)
    await holding(limiter, 4)
    for _ in range(4):
        limiter.heard(10, 7)
    assert 10 == limit(limiter)

    limiter.heard(10, 8)
    assert (7, 3) == (limit(limiter), limiter.snapshot()["others"])

    limiter.heard(10, 5)
    assert (9, 1) == (limit(limiter), limiter.snapshot()["others"])


async def test_our_own_burst_is_not_taken_for_others() -> None:
    """``current`` may count calls of ours that have ended since: those that ran beside this one are ours."""
    limiter, account = Limiter("flash", 10), Account(10)
    await asyncio.gather(*(account.serve(limiter, ticket(), 0.2 + 0.01 * n) for n in range(10)))

    assert (10, 0) == (limit(limiter), limiter.snapshot()["others"])


async def test_others_leave_us_one() -> None:
    """However busy they are; and among several processes nobody can tell who is who."""
    alone, one_of_two = Limiter("flash", 10), Limiter("flash", 10, processes=2)
    for limiter in (alone, one_of_two):
        await holding(limiter)
        for _ in range(5):
            limiter.heard(None, 30)

    assert [1, 5] == [limit(alone), limit(one_of_two)]


class Account:
    """ElevenLabs' side: counts for itself, refuses after 0.24 s, and tells its limit in the headers of good answers."""

    def __init__(self, allows: int, *, names_it: bool = True) -> None:
        self.allows, self.names_it = allows, names_it
        self.busy = self.calls = self.refusals = 0
        self.busy_at: list[int] = []

    async def speak(self, seconds: float) -> tuple[int, int]:
        self.calls += 1
        if self.busy >= self.allows:
            self.refusals += 1
            said = self.allows if self.names_it else None
            await asyncio.sleep(0.24)
            raise Fault("concurrency", limit=said)
        self.busy += 1
        self.busy_at.append(self.busy)
        current = self.busy
        await asyncio.sleep(seconds)
        self.busy -= 1
        return self.allows, current

    async def serve(self, limiter: Limiter, wanted: Ticket, seconds: float) -> None:
        while True:
            async with limiter.admit(wanted) as lease:
                try:
                    limiter.heard(*await self.speak(seconds))
                    return
                except Fault as fault:
                    lease.refused(fault.limit)
            await asyncio.sleep(0.25)


@pytest.mark.parametrize("names_it", [True, False])
@pytest.mark.parametrize("quiet", [True, False])
async def test_the_peak_follows_the_account(names_it: bool, quiet: bool) -> None:
    """10, 6, 14 under load: within 30 calls each, at most 2 refusals each, none of 400 calls lost."""
    limiter, account, chance = Limiter("flash", 10), Account(10, names_it=names_it), random.Random(7)
    calls = [account.serve(limiter, ticket(), 0.2 * chance.uniform(0.75, 1.25)) for _ in range(400)]
    crowd = [asyncio.create_task(each) for each in calls[: 12 if quiet else None]]
    if quiet:  # the change comes while the pool is not full
        await asyncio.sleep(0.35)
        crowd += [asyncio.create_task(each) for each in calls[12:]]

    for allows in (10, 6, 14):
        account.allows, account.refusals = allows, 0
        settled = account.calls + 30
        while account.calls < settled:
            await asyncio.sleep(0.01)
        account.busy_at.clear()
        while account.calls < settled + 60:
            await asyncio.sleep(0.01)
        assert (allows, True) == (max(account.busy_at), account.refusals <= 2)

    await asyncio.gather(*crowd)


# ---------------------------------------------------------------------------------------------------- seen from outside


async def test_observing_counts_and_never_refuses() -> None:
    """``observed``: everybody goes through at once; what would have waited or been refused is counted."""
    observed: list[str] = []
    limiter = Limiter("flash", 2, queue_size=3, observed=observed.append)
    await measured(limiter, 1.0)
    await call(limiter, ticket(within=0.5))  # enforcing would let it try: a slot is free
    tasks = queue(limiter, *(ticket() for _ in range(6)), ticket(within=1.5))
    await asyncio.sleep(0)

    counted = limiter.snapshot()
    assert limiter.late(NORMAL, now(), True) is None
    assert [2.0] * 7 == await started(*tasks)
    assert (7, 3, 2) == (counted["in_flight"], counted["waited"], counted["shed"])
    assert ["queued"] * 3 + ["queue_full", "deadline_unreachable"] == observed


async def test_observing_takes_the_calls_above_the_limit_for_the_line() -> None:
    """A burst that enforcing would serve two by two: whoever could not have been in time is counted."""
    limiter = Limiter("flash", 2, observed=lambda _: None)
    await measured(limiter, 1.0)
    await asyncio.gather(*queue(limiter, *(ticket(within=3.5) for _ in range(10))))

    assert (4, 4) == (limiter.snapshot()["waited"], limiter.snapshot()["shed"])


async def test_its_repr_tells_how_it_stands() -> None:
    """One line for a log or a debugger."""
    limiter = Limiter("flash", 2)
    await measured(limiter, 1.0)
    tasks = queue(limiter, *(ticket(p) for p in (NORMAL, NORMAL, NORMAL, INTERACTIVE, NORMAL)))
    await asyncio.sleep(0)
    assert await shed(limiter, 0.1) is not None

    assert "<Limiter flash 2/2 in flight, 3 waiting (interactive 1, normal 2), 1 shed>" == repr(limiter)
    assert {"interactive": 1, "normal": 2, "batch": 0} == limiter.snapshot()["queued"]
    await asyncio.gather(*tasks)


# ---------------------------------------------------------------------------------------------------- whatever happens


class Anything(RuleBasedStateMachine):
    """Random arrivals, ends, cancellations, changes of mind and of limits, at any step of the loop."""

    @initialize(reserved=st.sampled_from([0, 1, 0.5]), queue_size=st.sampled_from([2, 1000]))
    def begin(self, reserved: float, queue_size: int) -> None:
        self.loop = VirtualLoop()
        self.limiter = Limiter("stt", 4, reserved=reserved, queue_size=queue_size)
        self.tickets: dict[asyncio.Task[None], Ticket] = {}
        self.holds: dict[asyncio.Task[None], tuple[asyncio.Event, Lease]] = {}
        self.allowed = 4  # or what is in flight, where the limit was lowered below it

    def do(self, act: Callable[[], object]) -> None:
        async def inside() -> None:
            act()

        self.loop.run_until_complete(inside())

    async def client(self, wanted: Ticket) -> None:
        me = asyncio.current_task()
        assert me is not None
        async with self.limiter.admit(wanted) as lease:
            self.holds[me] = asyncio.Event(), lease
            try:
                await self.holds[me][0].wait()
            finally:
                del self.holds[me]

    def pick(self, data: st.DataObject, tasks: list["asyncio.Task[None]"]) -> "asyncio.Task[None] | None":
        return data.draw(st.sampled_from(tasks)) if tasks else None

    @rule(priority=st.sampled_from(list(Priority)), weight=st.sampled_from([1, 1, 1, 2, 4, 9]))
    def arrive(self, priority: Priority, weight: int) -> None:
        wanted = Ticket(priority, NEVER, True, 1.0, weight)
        self.tickets[self.loop.create_task(self.client(wanted))] = wanted

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if task := self.pick(data, list(self.holds)):
            self.holds[task][0].set()

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if task := self.pick(data, [task for task in self.tickets if not task.done()]):
            task.cancel()

    @rule(data=st.data(), priority=st.sampled_from(list(Priority)))
    def reorder(self, data: st.DataObject, priority: Priority) -> None:
        if task := self.pick(data, [task for task in self.tickets if not task.done()]):
            self.tickets[task].priority = priority
            self.do(lambda: self.limiter.reorder(self.tickets[task]))

    @rule(maximum=st.integers(1, 8), times=st.integers(1, 3))
    def hear(self, maximum: int, times: int) -> None:
        self.do(lambda: hear(self.limiter, *[maximum] * times))

    @rule(data=st.data(), said=st.none() | st.integers(1, 4))
    def refuse(self, data: st.DataObject, said: int | None) -> None:
        if task := self.pick(data, list(self.holds)):
            lease = self.holds[task][1]
            self.do(lambda: lease.refused(said))

    @rule(seconds=st.sampled_from([0.0, 0.0, 0.0, 1.0, 11.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @invariant()
    def never_over_the_limit(self) -> None:
        """But for what ran already when it was lowered."""
        if hasattr(self, "limiter"):
            seen = self.limiter.snapshot()
            assert seen["in_flight"] <= max(seen["limit"], self.allowed)
            self.allowed = max(seen["limit"], min(self.allowed, seen["in_flight"]))

    @precondition(lambda self: hasattr(self, "limiter"))
    @rule()
    def settle(self) -> None:
        """When all have run: nobody is lost, and nobody waits who could be served."""
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))
        waiting = [task for task in self.tickets if not task.done() and task not in self.holds]
        seen = self.limiter.snapshot()
        assert len(waiting) == sum(seen["queued"].values())
        assert sum(lease.weight for _, lease in self.holds.values()) == seen["in_flight"]
        if waiting:
            line = sorted((self.tickets[task] for task in waiting), key=self.rank)
            assert not self.fits(line[0], seen)
            urgent = next((each for each in line if each.priority is INTERACTIVE), None)
            if urgent and self.others + self.weight(line[0], seen) > seen["limit"] - self.kept(seen["limit"]):
                assert not self.fits(urgent, seen)

    @property
    def others(self) -> int:
        """Slots of those that are not interactive."""
        return sum(lease.weight for _, lease in self.holds.values() if lease.priority is not INTERACTIVE)

    def weight(self, wanted: Ticket, seen: dict[str, Any]) -> int:
        limit: int = seen["limit"]
        return min(wanted.weight, limit if wanted.priority is INTERACTIVE else limit - self.kept(limit))

    def fits(self, wanted: Ticket, seen: dict[str, Any]) -> bool:
        weight, limit = self.weight(wanted, seen), seen["limit"]
        of_its_like = wanted.priority is INTERACTIVE or self.others + weight <= limit - self.kept(limit)
        return seen["in_flight"] + weight <= limit and of_its_like

    def rank(self, waiting: Ticket) -> tuple[float, int]:
        assert waiting.arrived is not None
        return waiting.arrived + 60 * waiting.priority, list(self.tickets.values()).index(waiting)

    def kept(self, limit: int) -> int:
        reserved = self.limiter.reserved
        return min(limit - 1, int(reserved if reserved >= 1 else reserved * limit))

    def teardown(self) -> None:
        """At the end everybody has been served, refused or has left, and every slot is back."""
        if not hasattr(self, "limiter"):
            return
        for _ in range(2 * len(self.tickets) + 2):
            for event, _ in list(self.holds.values()):
                event.set()
            self.settle()
        assert "stt 0/" in repr(self.limiter) and "0 waiting" in repr(self.limiter)
        for task in self.tickets:
            assert task.done() and (task.cancelled() or isinstance(task.exception(), Overloaded | None))
        self.loop.close()


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
