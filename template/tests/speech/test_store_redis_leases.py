"""One limit for several processes over Redis: what ``test_limiter.py`` says of one, and what happens when Redis is ill.

Each client here is a process to Redis, though all live on one loop. ``test_store_redis_processes.py`` has real ones.
"""

import asyncio
import logging
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from backend_redis import RedisServer
from redis.asyncio import Redis
from rooms import a_room

from speech.clock import now
from speech.errors import Overloaded
from speech.limiter import Lease, Limiter, Ticket
from speech.request import Priority
from speech.stores import Stores, redis

INTERACTIVE, NORMAL, BATCH = Priority
POOL = "speech:{an-account}:leases:flash"


def ticket(priority: Priority = NORMAL, within: float = 60.0, *, whole: bool = True, weight: int = 1) -> Ticket:
    return Ticket(priority, now() + within, whole, guess_s=1.0, weight=weight)


class Processes:
    """Clients of one account. ``peak`` is the most that were let in at once."""

    def __init__(self, root: Path, url: str) -> None:
        self._room, self.stores = a_room(root, redis_url=url), list[Stores]()
        self.busy = self.peak = 0
        self.order = list[str]()

    def start(self, plan: int = 10, *, pool: str = "flash", url: str = "", **terms: Any) -> Limiter:
        usual = {"processes": 1, "queue_size": 1000, "reserved": 0.0, "fixed": False}
        self.stores.append(redis.open(a_room(self._room.folder, redis_url=url or self._room.redis_url)))
        return self.stores[-1].limiter(pool, plan, **usual | terms)

    async def joined(self, number: int, plan: int = 10, **terms: Any) -> list[Limiter]:
        """So many that have spoken to Redis already, and have their shares."""
        limiters = [self.start(plan, **terms) for _ in range(number)]
        for limiter in limiters:
            async with limiter.admit(ticket()):
                pass
        await shared_again(limiters)
        await limits(*limiters)
        return limiters

    async def call(self, limiter: Limiter, wanted: Ticket, seconds: float = 0.05, name: str = "") -> None:
        async with limiter.admit(wanted):
            self.busy += wanted.weight
            self.peak = max(self.peak, self.busy)
            self.order.append(name)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.busy -= wanted.weight

    def calls(self, limiter: Limiter, *wanted: Ticket, seconds: float = 0.05, name: str = "") -> "list[Task]":
        return [asyncio.create_task(self.call(limiter, each, seconds, name)) for each in wanted]


Task = asyncio.Task[None]


@pytest.fixture
async def processes(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Processes]:
    them = Processes(tmp_path, redis_server.url)
    yield them
    for stores in them.stores:
        await stores.close()


@pytest.fixture
async def raw(redis_server: RedisServer) -> AsyncIterator[Any]:
    client: Any = Redis.from_url(redis_server.url, decode_responses=True)
    yield client
    await client.aclose()


async def eventually(holds: Callable[[], Any], within: float = 8.0) -> None:
    until = now() + within
    while not holds():
        assert now() < until, "it never came true"
        await asyncio.sleep(0.01)


def told(limiter: Limiter, name: str) -> Any:
    return limiter.snapshot()[name]


def queued(limiter: Limiter) -> int:
    return sum(told(limiter, "queued").values())


async def in_line(raw: Any, number: int, pool: str = POOL) -> None:
    """So many wait, of all processes, as Redis knows."""
    until = now() + 5
    while await raw.zcard(f"{pool}:line") != number:
        assert now() < until, await raw.zrange(f"{pool}:line", 0, -1)
        await asyncio.sleep(0.005)


@asynccontextmanager
async def holding(limiter: Limiter, number: int = 1, priority: Priority = NORMAL) -> AsyncIterator[list[Lease]]:
    leases = [await limiter.admit(ticket(priority)).__aenter__() for _ in range(number)]
    try:
        yield leases
    finally:
        for lease in leases:
            await lease.__aexit__(None, None, None)


# ---------------------------------------------------------------------------------------------------- the line


async def test_all_together_never_more_than_the_limit_and_never_less(processes: Processes) -> None:
    """200 calls in four processes on ten slots: ten at once, all the time."""
    limiters = await processes.joined(4)
    began = now()
    await asyncio.gather(*(processes.call(limiters[n % 4], ticket()) for n in range(200)))
    assert processes.peak == 10 and 0.95 < now() - began < 3
    assert [told(limiter, "in_flight") for limiter in limiters] == [0] * 4
    assert 190 <= sum(told(limiter, "waited") for limiter in limiters) <= 194  # and perhaps for the first contact


async def test_first_come_first_served_whoever_asks(processes: Processes, raw: Any) -> None:
    """A slot goes to who has waited longest, not to the process that gives it back."""
    first, second, third = await processes.joined(3, plan=1)
    tasks = []
    async with holding(first):
        for number, limiter in enumerate((second, third, first), 1):
            tasks += processes.calls(limiter, ticket(), name=str(number))
            await in_line(raw, number)
    await asyncio.gather(*tasks)
    assert processes.order == ["1", "2", "3"]


async def test_interactive_goes_next_wherever_the_others_wait(processes: Processes, raw: Any) -> None:
    """Behind a line of another process too; and batch after normal."""
    first, second = await processes.joined(2, plan=1)
    async with holding(first):
        tasks = processes.calls(first, *(ticket(BATCH) for _ in range(20)), name="batch")
        await in_line(raw, 20)
        tasks += processes.calls(second, ticket(), name="normal")
        await in_line(raw, 21)
        tasks += processes.calls(second, ticket(INTERACTIVE), name="interactive")
        await in_line(raw, 22)
    await asyncio.gather(*tasks)
    assert processes.order == ["interactive", "normal"] + ["batch"] * 20


async def test_a_minute_of_waiting_outweighs_one_class(processes: Processes, raw: Any) -> None:
    """A retry that came first 61 s ago goes before a newer and more urgent one; after 59 s it doesn't."""
    first, second = await processes.joined(2, plan=1)
    async with holding(first):
        for waited_s, name in ((61.0, "patient"), (59.0, "less so"), (0.0, "normal")):
            wanted = ticket(BATCH if waited_s else NORMAL)
            wanted.arrived = now() - waited_s if waited_s else None
            processes.calls(second, wanted, name=name)
        await in_line(raw, 3)
    await eventually(lambda: len(processes.order) == 3)
    assert processes.order == ["patient", "normal", "less so"]


async def test_nobody_passes_a_heavy_head(processes: Processes, raw: Any) -> None:
    """A long recording waits for all its slots; a free one is not given to a light call of another process."""
    first, second = await processes.joined(2, plan=4, pool="stt")
    pool = POOL.replace("flash", "stt")
    async with holding(first, 2):
        tasks = processes.calls(first, ticket(weight=4), name="heavy")
        await in_line(raw, 1, pool)
        tasks += processes.calls(second, ticket(), name="light")
        await in_line(raw, 2, pool)
        assert processes.busy == 0
    await asyncio.gather(*tasks)
    assert processes.order == ["heavy", "light"] and processes.peak == 4


async def test_a_call_heavier_than_the_pool_runs_alone(processes: Processes) -> None:
    """Its weight is capped at the limit, in Redis and here."""
    first, second = await processes.joined(2, plan=2, pool="stt")
    async with first.admit(ticket(weight=4)):
        assert told(first, "in_flight") == 2
        tasks = processes.calls(second, ticket())
        await eventually(lambda: queued(second) == 1)
        await asyncio.sleep(0.1)
        assert processes.busy == 0
    await asyncio.gather(*tasks)


async def test_reserved_slots_are_for_interactive_alone(processes: Processes, raw: Any) -> None:
    """Two of ten stay free for urgent calls, over all processes; those pass whoever waits for the other eight."""
    first, second = await processes.joined(2, reserved=2.0)
    others = processes.calls(first, *(ticket() for _ in range(12)), seconds=0.5)
    await in_line(raw, 4)
    assert processes.busy == 8
    urgent = processes.calls(second, *(ticket(INTERACTIVE) for _ in range(2)), seconds=0.1)
    await eventually(lambda: processes.busy == 10, 0.4)
    await asyncio.gather(*others, *urgent)


async def test_reorder_moves_a_waiter_that_keeps_its_arrival(processes: Processes, raw: Any) -> None:
    """Upwards, and back behind those that came before it."""
    first, second = await processes.joined(2, plan=1)
    mine, other = ticket(BATCH), ticket(BATCH)
    async with holding(first):
        for number, (wanted, name) in enumerate(((ticket(), "normal"), (mine, "mine"), (other, "other")), 1):
            processes.calls(second, wanted, name=name)
            await in_line(raw, number)
        for wanted, priority in ((mine, INTERACTIVE), (other, NORMAL), (other, BATCH)):
            wanted.priority = priority
            second.reorder(wanted)
        await eventually(lambda: not told(second, "queued")["normal"] - 1)
        await asyncio.sleep(0.1)
    await eventually(lambda: len(processes.order) == 3)
    assert processes.order == ["mine", "normal", "other"]


async def test_a_waiter_that_leaves_in_the_instant_it_is_given_a_slot_passes_it_on(processes: Processes) -> None:
    """Whether the slot is still on its way, or was put into its hand before it could run."""
    first, second = await processes.joined(2, plan=1)
    for ticks in range(40):
        async with holding(first):
            gone, heir = processes.calls(second, ticket(), seconds=0) + processes.calls(first, ticket(), seconds=0)
            await eventually(lambda: (queued(first), queued(second)) == (1, 1))
        await asyncio.sleep(ticks * 0.0001)
        gone.cancel()
        await asyncio.wait_for(heir, 2)
    await eventually(lambda: (told(first, "in_flight"), told(second, "in_flight")) == (0, 0))
    await asyncio.wait_for(processes.call(second, ticket()), 2)


async def test_nothing_leaks_from_waiters_that_give_up(processes: Processes, raw: Any) -> None:
    """150 of 200 are cancelled at some moment: the rest are served, and in the end nothing is held or waits."""
    limiters = await processes.joined(4)
    tasks = [task for n in range(200) for task in processes.calls(limiters[n % 4], ticket())]
    for number, task in enumerate(tasks):
        if number % 4:
            asyncio.get_running_loop().call_later(number * 0.004, task.cancel)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert Counter(task.cancelled() for task in tasks[::4]) == {False: 50}
    await in_line(raw, 0)
    await asyncio.sleep(0.1)
    assert await raw.hlen(f"{POOL}:held") == 0 and processes.peak == 10


# ---------------------------------------------------------------------------------------------------- shedding


async def test_whoever_cannot_be_in_time_hears_so_on_arrival(processes: Processes, raw: Any) -> None:
    """By the calls and waiters of other processes too; and coming back after Retry-After he is let in."""
    first, second = await processes.joined(2, plan=2)
    await asyncio.gather(*(processes.call(first, ticket(), 0.2) for _ in range(8)))
    crowd = processes.calls(first, *(ticket() for _ in range(10)), seconds=0.2)  # five rounds of 0.2 s
    await in_line(raw, 8)
    began = now()
    with pytest.raises(Overloaded, match="deadline") as refused:
        await processes.call(second, ticket(within=0.7))
    assert refused.value.code == "deadline_unreachable" and now() - began < 0.15
    retry_after_s = refused.value.retry_after_s
    assert retry_after_s is not None and 0.3 < retry_after_s < 1.2
    await asyncio.sleep(retry_after_s)
    await processes.call(second, ticket(within=0.7))
    assert (told(first, "shed"), told(second, "shed")) == (0, 1)
    await asyncio.gather(*crowd)


async def test_late_knows_the_line_of_the_others(processes: Processes, raw: Any) -> None:
    """It answers without asking, by what was last told; for who joins a waiter, by that one's place."""
    first, second = await processes.joined(2, plan=1)
    await asyncio.gather(*(processes.call(first, ticket(), 0.2) for _ in range(4)))
    mine = ticket(BATCH)
    async with holding(first):
        tasks = processes.calls(first, *(ticket() for _ in range(4)), seconds=0.2)
        await in_line(raw, 4)
        tasks += processes.calls(second, mine)
        await in_line(raw, 5)
        assert second.late(NORMAL, now() + 0.3, False) and not second.late(NORMAL, now() + 3, False)
        assert second.late(BATCH, now() + 0.3, False, mine)
        assert not second.late(INTERACTIVE, now() + 0.3, False, mine)
        assert not second.late(INTERACTIVE, now() + 0.3, False, ticket())  # it does not wait: nobody is late for it
    await asyncio.gather(*tasks)


async def test_one_line_is_bounded_for_all_and_its_worst_place_refused(processes: Processes, raw: Any) -> None:
    """A newcomer is, or he displaces who waits in another process."""
    first, second = await processes.joined(2, plan=1, queue_size=2)
    async with holding(first):
        kept = processes.calls(first, ticket())
        await in_line(raw, 1)
        worst = processes.calls(first, ticket(BATCH))
        await in_line(raw, 2)
        with pytest.raises(Overloaded, match="full") as refused:
            await processes.call(second, ticket(BATCH))
        assert refused.value.code == "queue_full" and refused.value.retry_after_s is not None
        urgent = processes.calls(second, ticket(INTERACTIVE))
        with pytest.raises(Overloaded, match="full"):
            await worst[0]
    await asyncio.gather(*kept, *urgent)


# ---------------------------------------------------------------------------------------------------- the number


def _heard_since(limiters: Iterable[Any], instant: float) -> bool:
    return all(limiter._heard_at > instant for limiter in limiters)


async def limits(*limiters: Any) -> list[int]:
    """As each has it once all have told what they know."""
    for _ in range(2):
        before = now()
        for limiter in limiters:
            limiter.steps._beat_at = before
            limiter.steps.wake()
        await eventually(partial(_heard_since, limiters, before))
    return [told(limiter, "limit") for limiter in limiters]


@pytest.mark.parametrize(
    ("said", "then"),
    [([6], 6), ([14, 14], 10), ([14, 16, 15], 14), ([14, 14, 10, 14, 14], 10), ([0, 41, 41, 41], 10), ([6, 10, 10], 6)],
)
async def test_headers_of_any_process_move_the_limit_of_all(processes: Processes, said: list[int], then: int) -> None:
    """Down at once, up after three in a row; believed from 1 to four times the plan."""
    first, second = await processes.joined(2)
    for number, maximum in enumerate(said):
        (first, second)[number % 2].heard(maximum, None)
        await limits(first, second)
    assert await limits(first, second) == [then, then]


async def test_the_peak_follows_the_headers_in_mid_load(processes: Processes) -> None:
    """10, then 6, then 14: what is in flight over all processes follows."""
    limiters = await processes.joined(3)
    crowd = [t for n in range(300) for t in processes.calls(limiters[n % 3], ticket(), seconds=0.1)]
    for maximum in (10, 6, 14):
        for _ in range(3):
            limiters[0].heard(maximum, None)
        await asyncio.sleep(0.4)
        processes.peak = 0
        await asyncio.sleep(0.3)
        assert processes.peak == maximum
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


async def test_an_operators_number_is_not_moved_by_headers(processes: Processes) -> None:
    """``SPEECH_LIMITS`` stands above them; a refusal still cuts."""
    first, second = await processes.joined(2, fixed=True)
    for _ in range(3):
        first.heard(20, None)
        second.heard(4, None)
    assert await limits(first, second) == [10, 10]
    async with holding(first) as (lease,):
        lease.refused(6)
    assert await limits(first, second) == [6, 6] and told(second, "ceiling") == 10


@pytest.mark.parametrize(("said", "then"), [(6, 6), (None, 8), (12, 8), (1, 1)])
async def test_one_incident_cuts_once_for_all(processes: Processes, said: int | None, then: int) -> None:
    """Ten refusals of calls that were let in before, in two processes, are one; a later call's is another."""
    first, second = await processes.joined(2)
    async with holding(first, 5) as mine, holding(second, 5) as yours:
        for lease in (*mine, *yours):
            lease.refused(said)
    assert await limits(first, second) == [then, then] and told(second, "cuts") == 1
    async with holding(second) as (lease,):
        lease.refused(None)
    assert (await limits(first, second))[0] == max(1, int(0.8 * then)) and told(first, "cuts") == 2


async def test_it_grows_back_one_in_ten_seconds_while_somebody_waits(processes: Processes, raw: Any) -> None:
    """Ten seconds are had by moving the last change into the past."""
    first, second = await processes.joined(2, plan=4)
    async with holding(first) as (lease,):
        lease.refused(2)
    assert await limits(first, second) == [2, 2]
    await raw.hset(POOL, mapping={"ceiling": 4, "said": "4 4 4", "moved": 1})
    assert await limits(first, second) == [2, 2]  # nobody waits
    async with holding(first, 2):
        tasks = processes.calls(second, ticket(), ticket(), seconds=9)
        assert await limits(first, second) == [3, 3]
        assert await limits(first, second) == [3, 3]  # the next one takes as long
        await raw.hset(POOL, "moved", 1)
        assert await limits(first, second) == [4, 4]
    for task in tasks:
        task.cancel()


async def test_others_on_the_account_are_given_room(processes: Processes) -> None:
    """Five answers in a row saw calls that are of none of us; our own, in whichever process, are not taken for such."""
    first, second = await processes.joined(2)
    async with holding(first, 2), holding(second, 2):
        for _ in range(5):
            first.heard(10, 4)
        assert await limits(first, second) == [10, 10]
        for _ in range(5):
            second.heard(10, 7)
        assert await limits(first, second) == [7, 7] and told(first, "others") == 3
        first.heard(10, 5)
        assert await limits(first, second) == [9, 9]


async def test_of_two_tiers_that_of_the_process_that_came_last_counts(processes: Processes, raw: Any) -> None:
    """While a deployment rolls the old ones don't set it back, not even when Redis was emptied and they come first."""
    (old,) = await processes.joined(1, plan=5)
    (new,) = await processes.joined(1, plan=8)
    assert await limits(old, new) == [8, 8]
    await raw.flushall()
    await eventually(lambda: told(old, "shared") != "joined" and told(new, "shared") != "joined")
    await eventually(lambda: told(old, "shared") == told(new, "shared") == "joined")
    assert await limits(old, new) == [8, 8]


async def test_what_nobody_remembers_is_forgotten(processes: Processes) -> None:
    """Without a process left, the next one begins with its plan."""
    (first,) = await processes.joined(1)
    first.heard(6, None)
    assert await limits(first) == [6]
    await processes.stores[0].close()
    (second,) = await processes.joined(1)
    assert told(second, "limit") == 10


# ------------------------------------------------------------------------------------------------ processes come and go


async def test_nothing_is_opened_before_the_first_call(processes: Processes, raw: Any) -> None:
    """So that a fork may follow."""
    before = (await raw.info("clients"))["connected_clients"]
    limiter = processes.start()
    assert limiter.late(NORMAL, now() + 1, True) is None
    await asyncio.sleep(0.05)
    assert (await raw.info("clients"))["connected_clients"] == before and await raw.dbsize() == 0


async def test_slots_of_who_says_goodbye_are_anothers_at_once(processes: Processes, raw: Any) -> None:
    """A client closed with calls in flight keeps nobody waiting, and leaves nothing of itself."""
    first, second = await processes.joined(2, plan=1)
    abandoned = first.admit(ticket())
    await abandoned.__aenter__()
    tasks = processes.calls(second, ticket())
    await in_line(raw, 1)
    began = now()
    await processes.stores[0].close()
    await asyncio.gather(*tasks)
    assert now() - began < 0.9
    await abandoned.__aexit__(None, None, None)
    assert await raw.zcard(f"{POOL.removesuffix(':flash')}:processes") == 1


async def test_an_idle_process_says_one_word_a_second(processes: Processes, raw: Any) -> None:
    """Over all its pools."""
    await processes.joined(2)
    await asyncio.sleep(0.3)
    await raw.config_resetstat()
    await asyncio.sleep(2.5)
    assert 4 <= (await raw.info("commandstats"))["cmdstat_evalsha"]["calls"] <= 6


async def test_the_shares_of_all_are_the_limit_at_most(processes: Processes, raw: Any) -> None:
    """Also while a third one comes and the limit falls."""
    limiters = await processes.joined(2) + await processes.joined(1)
    for limit in (10, 6):
        limiters[0].heard(limit, None)
        await limits(*limiters)
        known = await raw.hgetall(POOL)
        shares = [int(value) for name, value in known.items() if name.startswith("share:")]
        assert (len(shares), sum(shares), max(shares) - min(shares) < 2) == (3, limit, True)


async def test_a_lost_letter_is_found_out(processes: Processes, raw: Any) -> None:
    """The inbox is cut in the instant a slot is on its way to it: nobody waits for ever, no slot is lost."""
    first, second = await processes.joined(2, plan=1)
    pubsub = [each["id"] for each in await raw.client_list("pubsub")]
    async with holding(first):
        tasks = processes.calls(second, ticket())
        await in_line(raw, 1)
    for number in pubsub:
        await raw.client_kill_filter(_id=number)
    await asyncio.wait_for(asyncio.gather(*tasks), 6)
    await asyncio.wait_for(processes.call(first, ticket()), 2)


async def test_who_only_observes_asks_nobody(processes: Processes, raw: Any) -> None:
    """``SPEECH_MODE=observe``: each process counts for itself, and Redis hears nothing of it."""
    limiter = processes.start(4, observed=lambda _: None, processes=2)
    async with holding(limiter, 3):
        pass
    assert (told(limiter, "limit"), told(limiter, "waited")) == (2, 1) and await raw.dbsize() == 0


# ---------------------------------------------------------------------------------------------------- Redis is ill


class Load:
    """Closed loops in several processes, for as long as it lasts. ``failed`` are refusals and errors."""

    def __init__(self, processes: Processes, limiters: list[Limiter], callers: int = 8, seconds: float = 0.1) -> None:
        self._processes, self.served, self.failed = processes, Counter[int](), list[BaseException]()
        self._tasks = [
            asyncio.create_task(self._loop(limiter, number, seconds))
            for number, limiter in enumerate(limiters)
            for _ in range(callers)
        ]

    async def _loop(self, limiter: Limiter, number: int, seconds: float) -> None:
        while True:
            try:
                await self._processes.call(limiter, ticket(within=30), seconds)
                self.served[number] += 1
            except Overloaded as error:
                self.failed.append(error)

    async def during(self, seconds: float) -> Counter[int]:
        """How many calls were served, by process."""
        self.served.clear()
        await asyncio.sleep(seconds)
        return Counter(self.served)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def shared_again(limiters: list[Limiter], within: float = 5.0) -> None:
    await eventually(lambda: {told(limiter, "shared") for limiter in limiters} == {"joined"}, within)


@pytest.fixture
def started(redis_server: RedisServer) -> Iterator[RedisServer]:
    """The server, which a test may stop: afterwards it runs again."""
    yield redis_server
    redis_server.process.send_signal(signal.SIGCONT)
    if redis_server.process.poll() is not None:
        redis_server.start()


async def test_an_emptied_redis_costs_no_call(processes: Processes, raw: Any) -> None:
    """FLUSHALL in mid-load: each goes on with its share, never more than the limit in all, and shares again."""
    limiters = await processes.joined(2)
    load = Load(processes, limiters)
    await load.during(0.5)
    await raw.flushall()
    await eventually(lambda: told(limiters[0], "shared") != "joined")
    await shared_again(limiters)
    assert min((await load.during(0.5)).values()) > 10
    await load.stop()
    assert (processes.peak, load.failed) == (10, [])


async def test_redis_killed_and_back_empty_costs_no_call(
    processes: Processes, started: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Away for a moment: own slots at once. It says so once, without the address, and once that it is over."""
    caplog.set_level(logging.INFO)
    limiters = await processes.joined(2)
    load = Load(processes, limiters)
    await load.during(0.5)
    started.kill()
    assert len(await load.during(1.0)) == 2  # each goes on
    started.start()
    await shared_again(limiters)
    assert sum((await load.during(0.5)).values()) > 25
    await load.stop()
    assert (processes.peak, load.failed) == (10, [])
    said = [record for record in caplog.records if record.name.endswith("redis_steps")]
    assert [record.levelname for record in said] == ["WARNING"] * 2 + ["INFO"] * 2
    assert not any(str(started.port) in record.getMessage() for record in said)


async def test_while_redis_is_away_each_uses_its_share(processes: Processes, started: RedisServer) -> None:
    """When what others run beyond theirs must have ended, the whole of it; never the limit of all."""
    limiters = await processes.joined(2, plan=4)
    busy = Load(processes, limiters[:1])
    await busy.during(0.5)
    started.kill()
    await eventually(lambda: told(limiters[0], "shared") == "alone")
    processes.peak = 0
    await busy.during(0.5)
    assert processes.peak == 2  # it had four
    processes.peak = 0
    idle = Load(processes, limiters[1:])
    assert (await idle.during(1.0))[0] == 0  # it had none, and the other may still run more than its share
    await eventually(lambda: idle.served[0] > 0, 5)
    await idle.during(0.3)
    assert processes.peak == 4
    await busy.stop()
    await idle.stop()
    assert busy.failed == idle.failed == []


async def test_a_hung_redis_holds_nobody_up_for_long(processes: Processes, started: RedisServer) -> None:
    """Half a second, then as if it were away; when it wakes it is asked again."""
    limiters = await processes.joined(2)
    load = Load(processes, limiters)
    await load.during(0.3)
    started.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1.2)
    assert sum((await load.during(0.5)).values()) > 10
    started.process.send_signal(signal.SIGCONT)
    await shared_again(limiters)
    await load.stop()
    assert (processes.peak, load.failed) == (10, [])


@pytest.mark.parametrize(
    ("ill", "well"),
    [
        (b"REPLICAOF 127.0.0.1 1", b"REPLICAOF NO ONE"),
        (b"CONFIG SET maxmemory 1", b"CONFIG SET maxmemory 0"),
        (b"CLIENT PAUSE 1500 ALL", b"PING"),
    ],
    ids=["read-only", "out of memory", "paused"],
)
async def test_a_redis_that_refuses_is_a_redis_away(
    processes: Processes, redis_server: RedisServer, ill: bytes, well: bytes
) -> None:
    """An error is an absence: what it had goes on, and when it is over the limit is shared again."""
    limiters = await processes.joined(2)
    load = Load(processes, limiters)
    await load.during(0.3)
    redis_server.say(ill)
    await eventually(lambda: {told(limiter, "shared") for limiter in limiters} == {"alone"})
    served = await load.during(0.5)
    redis_server.say(well)
    assert len(served) == 2
    await shared_again(limiters)
    await load.stop()
    assert (processes.peak, load.failed) == (10, [])


class SlowProxy(asyncio.Protocol):
    """Passes everything on, so much later."""

    delay_s = 0.0

    def __init__(self, port: int) -> None:
        self._port, self._out = port, socket.socket()

    def connection_made(self, transport: Any) -> None:
        self._transport, self._loop = transport, asyncio.get_running_loop()
        self._out.setblocking(False)
        self._task = asyncio.create_task(self._back())

    async def _back(self) -> None:
        await self._loop.sock_connect(self._out, ("127.0.0.1", self._port))
        while data := await self._loop.sock_recv(self._out, 65536):
            self._loop.call_later(self.delay_s, self._transport.write, data)
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._loop.call_later(0.01, lambda: asyncio.ensure_future(self._loop.sock_sendall(self._out, data)))

    def connection_lost(self, _error: Exception | None) -> None:
        self._task.cancel()
        self._out.close()


async def test_a_slow_way_to_redis_changes_nothing_but_the_time(
    processes: Processes, redis_server: RedisServer
) -> None:
    """60 ms there and back: the limit holds, everybody is served. Beyond half a second it is a Redis away."""
    SlowProxy.delay_s = 0.05
    server = await asyncio.get_running_loop().create_server(lambda: SlowProxy(redis_server.port), "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    limiters = await processes.joined(2, url=url)
    load = Load(processes, limiters)
    assert sum((await load.during(1.0)).values()) > 20
    SlowProxy.delay_s = 0.8
    await eventually(lambda: {told(limiter, "shared") for limiter in limiters} == {"alone"})
    SlowProxy.delay_s = 0.0
    await shared_again(limiters)
    await load.stop()
    assert (processes.peak, load.failed) == (10, [])
    for stores in processes.stores:
        await stores.close()
    server.close()


async def test_who_is_cut_off_goes_on_with_its_share(processes: Processes, redis_server: RedisServer) -> None:
    """Nobody can tell it from a dead one: its slots are others' after 4 s, and all may be its share over the limit."""
    SlowProxy.delay_s = 0.0
    server = await asyncio.get_running_loop().create_server(lambda: SlowProxy(redis_server.port), "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    limiters = [*await processes.joined(1, url=url), *await processes.joined(1)]
    load = Load(processes, limiters)
    await load.during(1.5)  # each has heard of its share
    SlowProxy.delay_s = 600.0
    await eventually(lambda: told(limiters[0], "shared") == "alone")
    assert min((await load.during(6.0)).values()) > 10
    assert 10 < processes.peak <= 15
    SlowProxy.delay_s = 0.0
    await shared_again(limiters)
    await load.during(0.5)
    processes.peak = 0
    await load.during(0.5)
    await load.stop()
    assert (processes.peak, load.failed) == (10, [])
    for stores in processes.stores:
        await stores.close()
    server.close()


async def test_a_process_that_never_reached_redis_serves_one_at_a_time(
    processes: Processes, started: RedisServer
) -> None:
    """After a while, and nobody is refused until then; more would be a guess."""
    started.kill()
    load = Load(processes, [processes.start()])
    assert not await load.during(1.0)
    await eventually(lambda: load.served[0] > 2, 6)
    await load.stop()
    assert (processes.peak, load.failed) == (1, [])
