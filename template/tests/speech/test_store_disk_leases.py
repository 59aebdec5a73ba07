"""Slots of one host: several limiters on one folder, in this process and in others, that die, sleep and fork."""

import asyncio
import os
import random
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from backend_disk import Child, eventually, processes
from rooms import a_room

from speech.clock import now
from speech.errors import Overloaded
from speech.limiter import Limiter, Ticket
from speech.request import Priority
from speech.stores import disk, disk_wire
from speech.stores.disk_limiter import DiskLimiter
from speech.stores.disk_locks import Locks

INTERACTIVE, NORMAL, BATCH = Priority
NEVER = float("inf")

Make = Callable[..., DiskLimiter]
Start = Callable[[str], Child]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".speech"


@pytest.fixture
async def make(root: Path) -> AsyncIterator[Make]:
    """Limiters as processes would have them, one each; closed at the end."""
    made: list[DiskLimiter] = []

    def another(plan: int = 2, **terms: float) -> DiskLimiter:
        made.append(DiskLimiter("flash", plan, root=root, account="anna", **terms))  # type: ignore[arg-type]
        return made[-1]

    yield another
    for each in made:
        each.close()


@pytest.fixture
def children() -> Iterator[Start]:
    with processes() as start:
        yield start


def ticket(priority: Priority = NORMAL, within: float = NEVER, *, whole: bool = True, weight: int = 1) -> Ticket:
    return Ticket(priority, now() + within, whole, guess_s=1.0, weight=weight)


def folder(root: Path) -> Path:
    return root / "leases" / "anna" / "flash"


def broker(root: Path) -> int:
    """Who serves, as the lock file tells people; 0 while it is being written."""
    return int((folder(root) / "broker.lock").read_text() or 0)


def locked(root: Path) -> list[str]:
    """The slots that the kernel says are taken."""
    locks = Locks(root, "leases/anna/flash")
    try:
        return sorted(file.name for file in folder(root).glob("slot.*") if locks.busy(file.name))
    finally:
        locks.close()


class Queue:
    """Calls in the line, in the order they came, and the order in which they were served."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def join(self, name: str, limiter: DiskLimiter, wanted: Ticket | None = None) -> "asyncio.Task[None]":
        """Stands in the broker's line, or is served already, when this returns."""
        wanted = wanted or ticket()
        self._ends[name] = asyncio.Event()
        task = self._tasks[name] = asyncio.create_task(self._call(name, limiter, wanted))
        await asyncio.sleep(0)
        await settled(limiter)
        return task

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]

    async def _call(self, name: str, limiter: DiskLimiter, wanted: Ticket) -> None:
        async with limiter.admit(wanted):
            self.served.append(name)
            await self._ends[name].wait()


async def settled(limiter: DiskLimiter) -> None:
    """The broker, once there is one, has heard all that was said: it answers in the order it was asked."""
    before = limiter._told_at

    def told() -> bool:
        limiter._tell("ping")
        return limiter._told_at > before

    await eventually(told)


HOLD = """
from pathlib import Path
from {speech}.limiter import Ticket
from {speech}.request import Priority
from {speech}.stores.disk_limiter import DiskLimiter

limiter = DiskLimiter("flash", %(plan)d, root=Path(%(root)r), account="anna")

def ticket():
    return Ticket(Priority.NORMAL, float("inf"), True, 1.0)

async def call(name, seconds):
    async with limiter.admit(ticket()):
        print(name)
        await asyncio.sleep(seconds)
"""


def code(root: Path, does: str, plan: int = 2) -> str:
    return HOLD % {"root": str(root), "plan": plan} + does


# ------------------------------------------------------------------------------------------------------- one line


async def test_first_come_first_served_over_all(make: Make) -> None:
    """Whoever is the broker: the order of arrival is the order of service."""
    a, b, c = (make(1) for _ in range(3))
    line, names = Queue(), ["a1", "b1", "c1", "b2", "a2", "c2"]
    for name in names:
        await line.join(name, {"a": a, "b": b, "c": c}[name[0]])
    for number, name in enumerate(names, 1):
        await eventually(lambda number=number: len(line.served) == number)  # type: ignore[misc]
        await line.end(name)

    assert names == line.served
    assert 5 == sum(each.snapshot()["waited"] for each in (a, b, c))  # a1 found room


async def test_as_many_as_the_plan_allows_over_all(make: Make, root: Path) -> None:
    """The kernel holds as many locks as calls are under way, never more than the plan."""
    limiters, line = [make(2) for _ in range(3)], Queue()
    for number, limiter in enumerate(limiters * 2):
        await line.join(str(number), limiter)
    await eventually(lambda: len(line.served) == 2)

    assert ["slot.0", "slot.1"] == locked(root)
    assert 2 == sum(each.snapshot()["in_flight"] for each in limiters)
    assert 4 == sum(sum(each.snapshot()["queued"].values()) for each in limiters)


async def test_interactive_goes_next_whoever_waits_elsewhere(make: Make) -> None:
    """Priority is the host's, not the process's."""
    a, b, line = make(1), make(1), Queue()
    await line.join("first", a)
    for number in range(3):
        await line.join(f"batch {number}", a, ticket(BATCH))
    await line.join("urgent", b, ticket(INTERACTIVE))
    await line.end("first")
    await eventually(lambda: len(line.served) == 2)

    assert "urgent" == line.served[1]


async def test_reorder_reaches_the_broker(make: Make) -> None:
    """A flight that got a better reader goes where that reader would stand."""
    a, b, line, mine = make(1), make(1), Queue(), ticket(BATCH)
    await line.join("first", a)
    await line.join("normal", a)
    await line.join("mine", b, mine)
    mine.priority = INTERACTIVE
    b.reorder(mine)
    await settled(b)
    await line.end("first")
    await eventually(lambda: len(line.served) == 2)

    assert "mine" == line.served[1]


async def test_a_heavy_call_holds_as_many_slots(make: Make, root: Path) -> None:
    """A long recording weighs two: nobody else runs beside it, in no process."""
    a, b, line = make(2), make(2), Queue()
    await line.join("light", a)
    await line.join("heavy", b, ticket(weight=2))
    await line.join("behind", a)
    assert ["light"] == line.served  # the head of the line waits for all its slots
    await line.end("light")
    await eventually(lambda: len(line.served) == 2)

    assert (["light", "heavy"], 2, 2) == (line.served, b.snapshot()["in_flight"], len(locked(root)))
    await line.end("heavy")
    await eventually(lambda: len(line.served) == 3)


async def test_a_reserved_slot_is_for_interactive_of_any_process(make: Make) -> None:
    """One of two is kept, also from the other process's normal calls."""
    a, b, line = make(2, reserved=1), make(2, reserved=1), Queue()
    await line.join("normal a", a)
    await line.join("normal b", b)
    await line.join("urgent", b, ticket(INTERACTIVE))
    await eventually(lambda: len(line.served) == 2)

    assert ["normal a", "urgent"] == line.served


async def test_what_comes_too_late_is_refused_on_arrival(make: Make) -> None:
    """With the time after which it would get in, in the process that asked."""
    a, b, line = make(1), make(1), Queue()
    await line.join("first", a)
    await line.join("second", a)
    with pytest.raises(Overloaded) as refused:
        async with b.admit(ticket(within=0.5)):
            pass
    assert "deadline_unreachable" == refused.value.code
    assert refused.value.retry_after_s and 0.5 < refused.value.retry_after_s < 5
    assert (1, 0) == (b.snapshot()["shed"], a.snapshot()["shed"])


async def test_the_queue_is_bounded_over_all(make: Make) -> None:
    """Its worst place is refused, whoever stands there."""
    a, b, line = make(1, queue_size=1), make(1, queue_size=1), Queue()
    await line.join("first", a)
    worst = await line.join("worst", a, ticket(BATCH))
    await line.join("better", b)
    with pytest.raises(Overloaded) as refused:
        await worst

    assert "queue_full" == refused.value.code


async def test_whoever_asks_beforehand_hears_how_it_stands(make: Make) -> None:
    """``late`` is answered from what the broker told: for a newcomer, and for a reader of what waits already."""
    a, b, line, mine = make(1), make(1), Queue(), ticket()
    for limiter in (a, b):
        async with limiter.admit(ticket()):
            await asyncio.sleep(0.05)
    await line.join("first", a)
    for number in range(20):
        await line.join(str(number), a)
    await settled(b)
    await line.join("mine", b, mine)
    refusal = b.late(NORMAL, now() + 0.1, False)

    assert refusal is not None and 0.1 < (refusal.retry_after_s or 0) < 30
    assert b.late(NORMAL, now() + 60, False) is None
    assert b.late(INTERACTIVE, now() + 0.3, False) is None
    assert b.late(NORMAL, now() + 0.1, False, mine) is not None
    assert b.late(NORMAL, now() + 60, False, mine) is None
    assert b.late(NORMAL, now(), False, ticket()) is None  # on its way already


# ------------------------------------------------------------------------------------------------- the limit moves


async def test_what_one_hears_of_the_limit_counts_for_all(make: Make) -> None:
    """A lower number in the headers of one process's answer at once, in the snapshot of every other too."""
    a, b, line = make(4), make(4), Queue()
    await line.join("first", a)
    await line.join("second", b)
    b.heard(2, 2)
    await settled(b)
    await line.join("third", a)
    assert (2, 2) == (a.snapshot()["limit"], b.snapshot()["limit"])
    assert ["first", "second"] == line.served
    for _ in range(3):
        b.heard(6, 2)
    await eventually(lambda: len(line.served) == 3)

    assert (6, 6) == (a.snapshot()["limit"], b.snapshot()["ceiling"])


async def test_a_raised_limit_opens_more_slots(make: Make, root: Path) -> None:
    """Above the plan there are more files, up to what upstream says."""
    a, b, line = make(2), make(2), Queue()
    await line.join("0", b)
    for _ in range(3):
        b.heard(5, 1)
    for number in range(1, 7):
        await line.join(str(number), a)
    await eventually(lambda: len(line.served) == 5)

    assert [f"slot.{number}" for number in range(5)] == locked(root)


async def test_one_incident_cuts_once_for_all(make: Make) -> None:
    """Refused in two processes, let in before the first of them was judged: one cut."""
    a, b = make(10), make(10)
    async with a.admit(ticket()) as one, b.admit(ticket()) as two:
        one.refused(None)
        two.refused(None)
        await settled(a)
        await settled(b)

        assert [(8, 1), (8, 1)] == [(s["limit"], s["cuts"]) for s in (a.snapshot(), b.snapshot())]


async def test_what_was_learned_survives_the_broker(make: Make) -> None:
    """The next one begins where the last stopped, also if it has never served a call itself."""
    a, b, line = make(10), make(10), Queue()
    await line.join("a", a)
    await line.join("b", b)
    b.heard(3, 2)
    await eventually(lambda: b.snapshot()["limit"] == 3)
    await line.end("a")
    a.close()
    for number in range(5):
        await line.join(f"b{number}", b)
    await eventually(lambda: len(line.served) == 4)
    await settled(b)

    assert (3, 3) == (b.snapshot()["in_flight"], b.snapshot()["limit"])


# ------------------------------------------------------------------------------------------- who leaves, and when


@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_in_the_instant_it_is_given_a_slot(make: Make, root: Path, steps: int) -> None:
    """It passes it on, whatever step of the loop it is in: the turn is promised, on its way, or taken."""
    a, b, line = make(1), make(1), Queue()
    await line.join("first", a)
    gone = await line.join("gone", b)
    await line.join("heir", b)
    ending = asyncio.create_task(line.end("first"))
    for _ in range(steps):
        await asyncio.sleep(0)
    gone.cancel()
    await ending
    await eventually(lambda: "heir" in line.served)

    assert 1 == len(locked(root)) == b.snapshot()["in_flight"]


async def test_what_comes_to_light_counts_before_what_was_just_given(make: Make, root: Path) -> None:
    """A turn is given; before it goes out a process says that it runs there already: it stands where it stood."""
    a, b, line = make(1), make(1), Queue()
    await line.join("first", a)
    await line.join("b", b)
    assert a._broker
    other = a._broker.join(lambda *_: None)
    ending = asyncio.create_task(line.end("first"))
    while locked(root):
        await asyncio.sleep(0)
    a._broker.hear(other, "hold", 1, [0], NORMAL, now(), 0)
    await ending
    await settled(b)
    assert (["first"], []) == (line.served, locked(root))
    a._broker.hear(other, "free", 1, True)
    await eventually(lambda: line.served == ["first", "b"])

    assert ["slot.0"] == locked(root)


async def test_who_gives_up_stands_in_nobodys_way(make: Make) -> None:
    """A heavy one waits for both slots, and leaves."""
    a, b, line = make(2), make(2), Queue()
    await line.join("first", a)
    heavy = await line.join("heavy", b, ticket(weight=2))
    await line.join("light", a)
    heavy.cancel()
    await eventually(lambda: line.served == ["first", "light"])


async def test_a_broker_that_closes_hands_on(make: Make, root: Path) -> None:
    """Those who wait keep their order, those who run their slots; a newcomer stands behind them."""
    a, b, c, line = make(1), make(1), make(1), Queue()
    first = broker_of(a, b, c)
    await line.join("runs", b)
    assert first() is b
    await line.join("c1", c)
    await line.join("a1", a)
    b_ends = asyncio.create_task(line.end("runs"))
    await b_ends
    await eventually(lambda: line.served == ["runs", "c1"])
    b.close()
    await line.join("b2", make(1))
    await line.end("c1")
    await eventually(lambda: len(line.served) == 3)
    await line.end("a1")
    await eventually(lambda: len(line.served) == 4)

    assert ["runs", "c1", "a1", "b2"] == line.served
    assert first() is not b


def broker_of(*limiters: DiskLimiter) -> Callable[[], DiskLimiter | None]:
    return lambda: next((each for each in limiters if each._broker), None)


async def test_nothing_is_left_behind(make: Make, root: Path) -> None:
    """After the last one closed no lock is held and no socket lies about; and it can begin anew."""
    a, b, line = make(), make(), Queue()
    await line.join("a", a)
    await line.join("b", b)
    for each in (a, b):
        each.close()

    assert [] == locked(root) and not list(root.rglob("*.sock"))
    async with b.admit(ticket()):
        assert ["slot.0"] == locked(root)
    b.close()


async def test_whatever_happens_no_slot_is_lost(make: Make, root: Path) -> None:
    """Random priorities, weights, ends, errors and cancellations in three limiters: never over, and all comes back."""
    limiters, chance, level, peak = [make(4) for _ in range(3)], random.Random(11), 0, 0

    async def call(limiter: DiskLimiter, wanted: Ticket) -> None:
        nonlocal level, peak
        await asyncio.sleep(chance.uniform(0, 0.5))
        async with limiter.admit(wanted) as lease:
            level += lease.weight
            peak = max(peak, level)
            try:
                await asyncio.sleep(chance.uniform(0, 0.03))
                assert chance.random() < 0.9, "some fail"
            finally:
                level -= lease.weight

    wanted = [ticket(chance.choice(list(Priority)), weight=chance.choice([1, 1, 1, 2, 4])) for _ in range(300)]
    tasks = [asyncio.create_task(call(chance.choice(limiters), each)) for each in wanted]
    for task in chance.sample(tasks, 100):
        await asyncio.sleep(0.005)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert (4, 0, []) == (peak, level, locked(root))
    assert all("0 waiting" in repr(each) and "flash 0/" in repr(each) for each in limiters)
    async with limiters[0].admit(ticket(weight=4)):  # the broker thinks so too
        assert 4 == len(locked(root))


# --------------------------------------------------------------------------------------------- other processes


async def test_a_killed_broker_is_replaced_at_once(make: Make, root: Path, children: Start) -> None:
    """Its slots are free at that instant, and whoever waits elsewhere is served, in order."""
    child = children(code(root, "await asyncio.gather(call('one', 60), call('two', 60))"))
    assert {"one", "two"} == {await child.said(), await child.said()}
    assert child.process.pid == broker(root)
    a, b, line = make(), make(), Queue()
    await line.join("urgent", b, ticket(INTERACTIVE))
    for name, limiter in (("1", a), ("2", b), ("3", a)):
        await line.join(name, limiter)
    child.kill()
    await eventually(lambda: len(line.served) == 2, within_s=3)

    assert ["1", "urgent"] == sorted(line.served)
    await line.end("urgent")
    await eventually(lambda: len(line.served) == 3)
    await line.end("1")
    await eventually(lambda: len(line.served) == 4)
    assert ["2", "3"] == line.served[2:]


async def test_the_next_broker_knows_what_runs(make: Make, root: Path, children: Start) -> None:
    """A call of a third process outlives the broker: its slot is not given away, and comes back when it ends."""
    first = children(code(root, "await call('first', 60)"))
    await first.said()
    second = children(code(root, "await call('second', 60)"))
    await second.said()
    a, line = make(), Queue()
    await line.join("a1", a)
    await line.join("a2", a)
    first.kill()
    await eventually(lambda: line.served == ["a1"], within_s=3)
    assert ["slot.0", "slot.1"] == locked(root)
    second.kill()
    await eventually(lambda: line.served == ["a1", "a2"], within_s=3)


async def test_the_next_broker_counts_what_nobody_speaks_for(make: Make, root: Path, children: Start) -> None:
    """A sleeper holds a slot above the plan, from when the limit was higher: the kernel tells, so it is counted."""
    a, line = make(2), Queue()
    await line.join("a1", a)
    for _ in range(3):
        a.heard(3, 1)
    await line.join("a2", a)
    child = children(code(root, "await call('child', 60)"))
    await child.said()
    child.pause()
    for name in ("a1", "a2"):
        await line.end(name)
    a.close()
    b = make(2)
    tasks = [asyncio.create_task(line.join(name, b)) for name in ("b1", "b2")]
    await asyncio.gather(*tasks)
    await eventually(lambda: len(line.served) > 2)
    await settled(b)

    assert (["b1"], ["slot.0", "slot.2"]) == (line.served[2:], locked(root))


async def test_a_killed_clients_slots_are_free_at_once(make: Make, root: Path, children: Start) -> None:
    """And nobody waits for a turn of its waiters."""
    a, line = make(), Queue()
    await line.join("a1", a)
    child = children(code(root, "await asyncio.gather(call('one', 60), call('two', 60), call('three', 60))"))
    await child.said()
    await line.join("a2", a)
    await asyncio.sleep(0.3)  # longer than a turn may go untaken
    child.kill()
    await eventually(lambda: line.served == ["a1", "a2"], within_s=3)
    await line.join("a3", a)
    await line.end("a1")
    await eventually(lambda: "a3" in line.served, within_s=3)


async def test_while_the_broker_sleeps_others_help_themselves(make: Make, root: Path, children: Start) -> None:
    """To what is free: it keeps the slot it had, so there are never too many."""
    child = children(code(root, "await call('one', 4); await call('again', 60)"))
    await child.said()
    child.pause()
    a, line = make(), Queue()
    tasks = [asyncio.create_task(line.join(name, a)) for name in ("a1", "a2")]
    await eventually(lambda: line.served)
    await asyncio.sleep(0.2)
    assert (["a1"], 2) == (line.served, len(locked(root)))
    await line.end("a1")
    await eventually(lambda: len(line.served) == 2)
    child.resume()
    await asyncio.gather(*tasks)
    await settled(a)  # it serves again, and knows what was taken meanwhile
    await line.join("a3", a)
    assert 2 == len(locked(root))
    await line.end("a2")
    await eventually(lambda: "a3" in line.served)
    assert "again" == await child.said()


async def test_a_client_that_sleeps_is_passed_over(make: Make, root: Path, children: Start) -> None:
    """Its turn is void after 100 ms; it keeps what it holds; when it wakes it waits where it stood."""
    a, line = make(1), Queue()
    await line.join("a1", a)
    child = children(code(root, "await call('child', 60)"))
    await eventually(lambda: a._broker and a._broker._host.snapshot()["queued"]["normal"] == 1)
    await line.join("a2", a)
    await line.join("a3", a)
    child.pause()
    await line.end("a1")
    await eventually(lambda: line.served == ["a1", "a2"])
    child.resume()
    await settled(a)
    await eventually(lambda: a._broker and a._broker._host.snapshot()["queued"]["normal"] == 2)
    await line.end("a2")
    assert "child" == await child.said()
    assert ["a1", "a2"] == line.served


RUN = """
async def one(name):
    while True:
        async with limiter.admit(ticket()):
            reader, writer = await asyncio.open_unix_connection(%(judge)r)
            await reader.read()
            writer.close()

await asyncio.gather(*(one(n) for n in range(3)))
"""


async def test_never_over_the_limit_whoever_dies_or_sleeps(root: Path, children: Start) -> None:
    """Counted by a server of ours, while the broker and others are killed and stopped: at most 4, and often 4."""
    level, seen = 0, list[int]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal level
        level += 1
        seen.append(level)
        try:
            await asyncio.wait_for(reader.read(), 0.02)
        except TimeoutError:
            pass
        level -= 1
        writer.close()

    judge = str(root.parent / "judge.sock")
    async with await asyncio.start_unix_server(serve, judge):
        started = [children(code(root, RUN % {"judge": judge}, plan=4)) for _ in range(4)]
        crowd = {child.process.pid: child for child in started}
        await eventually(lambda: len(seen) > 20)
        crowd.pop(broker(root)).kill()
        await eventually(lambda: broker(root) in crowd)
        await more(seen)
        (sleeper := crowd[broker(root)]).pause()
        await more(seen)
        sleeper.resume()
        await more(seen)
        (sleeper := next(child for pid, child in crowd.items() if pid != broker(root))).pause()
        await more(seen)
        sleeper.resume()
        sleeper.kill()
        await more(seen)
        for child in crowd.values():
            child.kill()

    assert 4 == max(seen) and seen.count(4) > len(seen) / 4


async def more(seen: list[int]) -> None:
    enough = len(seen) + 20
    await eventually(lambda: len(seen) > enough)


# -------------------------------------------------------------------------------------------------------- forks


FORK = """
both = Ticket(Priority.NORMAL, float("inf"), True, 1.0, weight=2)
async with limiter.admit(both):
    print("held")
    await asyncio.to_thread(os.read, 0, 1)
    os.fork() or os._exit(len(os.read(0, 1)))  # it lives for as long as this test has a hand on its parent's input
    print("forked")
    await asyncio.sleep(60)
"""


async def test_a_fork_keeps_neither_slot_nor_broker_alive(make: Make, root: Path, children: Start) -> None:
    """The parent is killed, its child lives on: the slots are free, and the others see that the broker is gone."""
    parent = children(code(root, FORK))
    await parent.said()
    a, line = make(), Queue()
    await line.join("a1", a)
    assert parent.process.stdin
    parent.process.stdin.write("x")
    parent.process.stdin.flush()
    await parent.said()
    assert [] == line.served
    parent.process.kill()
    parent.process.wait()
    await eventually(lambda: line.served == ["a1"], within_s=3)
    assert os.getpid() == broker(root)


async def test_a_forked_child_is_a_process_of_its_own(make: Make, root: Path) -> None:
    """It may use what it inherited, and its parent's calls go on undisturbed."""
    a, line = make(2), Queue()
    await line.join("parent", a)
    child = await asyncio.to_thread(_forked, a)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        await asyncio.sleep(0.01)
    assert 0 == ended[1]
    await line.join("again", a)

    assert (["parent", "again"], 2) == (line.served, len(locked(root)))


def _forked(limiter: DiskLimiter) -> int:
    if child := os.fork():
        return child
    try:
        asyncio.run(_one(limiter))
        os._exit(0)
    finally:
        os._exit(1)


async def _one(limiter: DiskLimiter) -> None:
    async with asyncio.timeout(10), limiter.admit(ticket()):
        assert "flash 1/2" in repr(limiter)


# ----------------------------------------------------------------------------------------------------- the folder


async def test_nothing_is_touched_before_the_first_use(make: Make, root: Path) -> None:
    """So it is safe to build before a fork."""
    limiter = make()
    assert limiter.late(NORMAL, now() + 60, True) is None and 2 == limiter.snapshot()["limit"]
    limiter.heard(2, 1)
    limiter.close()
    assert not root.exists()


async def test_the_folder_is_ours_alone(make: Make, root: Path) -> None:
    """Whatever the umask; and its names tell nothing."""
    before = os.umask(0)
    try:
        async with make().admit(ticket()):
            for path in (root, *root.rglob("*")):
                if path.name != ".gitignore":
                    assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    finally:
        os.umask(before)
    assert {"broker.lock", "broker.sock", "slot.0"} == {path.name for path in folder(root).iterdir()}


@pytest.mark.parametrize("proc", [True, False])
async def test_a_long_path_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proc: bool) -> None:
    """The kernel takes 107 bytes for a socket's name; here are 300, also where there is no /proc."""
    monkeypatch.setattr(disk_wire, "PROC", disk_wire.PROC if proc else "/nowhere")
    deep, line = tmp_path / ("x" * 200) / ("y" * 100), Queue()
    a, b = (DiskLimiter("flash", 1, root=deep, account="anna") for _ in range(2))
    await line.join("a", a)
    await line.join("b", b)
    await line.end("a")
    await eventually(lambda: line.served == ["a", "b"])
    for each in (a, b):
        each.close()
    assert not list(deep.rglob("*.sock"))


async def test_each_account_and_pool_has_its_own(root: Path) -> None:
    """As ``disk.open`` makes them: the whole plan for all processes; observing, each watches its share by itself."""
    stores = disk.open(a_room(root, account="anna"))
    terms = {"queue_size": 9, "reserved": 0.0, "fixed": False}
    watching = stores.limiter("flash", 2, processes=2, observed=lambda _: None, **terms)
    assert stores.state() == {}, "nothing is shared by who only observes"
    flash = stores.limiter("flash", 2, processes=2, **terms)
    other = stores.limiter("standard", 2, processes=2, **terms)
    assert stores.state() == {"slots": "joined"}
    async with flash.admit(ticket(weight=2)), other.admit(ticket(weight=2)), watching.admit(ticket()):
        assert 2 == len(locked(root))
    assert (2, 1, type(watching)) == (flash.snapshot()["limit"], watching.snapshot()["limit"], Limiter)
    await stores.close()
    assert [] == locked(root)
