"""What the ledger in Redis alone can say: it is that of all processes of all hosts, and Redis may go at any time."""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Literal, get_args

import pytest
from backend_redis import RedisServer
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

import speech
from speech.errors import BudgetExceeded, SpeechError
from speech.ledger import Bill, Budgets, Charge, Ledger, Row, Usage
from speech.stores.redis_connection import Connection
from speech.stores.redis_ledger import ROWS_MAX, RedisLedger

DAY = "2026-11-24"
ROW = Row(DAY, "anna", "flash")
CALL = Charge("anna", "flash", credits=7, usd=0.01, characters=14)
ONE, UNSURE = CALL.booked("billed"), CALL.booked("uncertain")
ROOT = "speech:{an-account}:ledger"


class Process:
    """One of several, as far as Redis can tell: it has a connection and a ledger of its own."""

    def __init__(self, url: str, account: str = "an-account", daily_usd: float | None = None) -> None:
        self.connection = Connection(url, account)
        self.store = RedisLedger(self.connection)
        self.ledger = Ledger(self.store, Budgets(daily_usd), today=lambda: DAY)

    async def call(self, charge: Charge = CALL) -> None:
        async with await self.ledger.reserve(charge) as bill:
            await bill.send()
            await asyncio.sleep(0)
            bill.billed()

    async def rows(self) -> Usage | None:
        return (await self.ledger.rows()).get(ROW)

    def die(self) -> None:
        """It is never heard of again."""
        self.store._teller.stop()

    async def close(self) -> None:
        await self.store.close()
        await self.connection.aclose()


@pytest.fixture
async def start(backend: RedisServer) -> AsyncIterator[Callable[..., Process]]:
    started = []

    def one(url: str = backend.url, daily_usd: float | None = None) -> Process:
        started.append(Process(url, daily_usd=daily_usd))
        return started[-1]

    yield one
    for each in started:
        await each.close()


@pytest.fixture
def redis(backend: RedisServer) -> Iterator[Any]:
    """To look at, and to harm. In the end each account is what its rows and reservations are."""
    client: Any = Redis.from_url(backend.url, decode_responses=True)
    yield client
    client.config_set("maxmemory", 0)
    assert accounts(client) == sums(client)
    client.close()


def accounts(redis: Any, root: str = ROOT) -> Counter[str]:
    """Nano-dollars."""
    every = (redis.hgetall(key).items() for key in redis.scan_iter(f"{root}:spent:*"))
    return Counter({account: int(usd) for items in every for account, usd in items if usd != "0"})


def sums(redis: Any, root: str = ROOT) -> Counter[str]:
    """The same, from what they are made of."""
    spent: Counter[str] = Counter()
    usage = [redis.hgetall(key) for key in redis.scan_iter(f"{root}:usage:*")]
    for row, booked in (item for rows in usage for item in rows.items()):
        spent.update(dict.fromkeys(Row(*json.loads(row)).accounts, sum(json.loads(booked)[2:4])))
    for process in (redis.hgetall(key) for key in redis.scan_iter(f"{root}:of:*")):
        for held in (json.loads(value) for field, value in process.items() if field.startswith("held:")):
            spent.update(dict.fromkeys(Row(*json.loads(held[0])).accounts, held[2]))
    return Counter({account: usd for account, usd in spent.items() if usd})


async def given_up(redis: Any, process: Process, by: Process) -> Usage | None:
    """What *by* sees once *process* has not been heard of for an hour."""
    await by.rows()
    redis.zincrby(f"{by.connection.prefix}:ledger:alive", -3_600_000, process.store._name)
    return await by.rows()


async def eventually(holds: Callable[[], Any], within_s: float = 15.0) -> None:
    until = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < until, "not in time"
        await asyncio.sleep(0.05)


class Proxy:
    """Between a process and Redis: it keeps what passes, and may lose answers to what was done, or hold them back."""

    def __init__(self, port: int) -> None:
        self.port, self.lose, self.delay_s = port, 0, 0.0
        self.asked: list[bytes] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, redis = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(self._there(reader, redis), self._back(answers, writer), return_exceptions=True)

    async def _there(self, reader: asyncio.StreamReader, redis: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**20):
            self.asked.append(data)
            redis.write(data)
        redis.close()

    async def _back(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await answers.read(2**20):
            await asyncio.sleep(self.delay_s)
            if self.lose and b"EVALSHA" in self.asked[-1]:
                self.lose -= 1
                break
            writer.write(data)
        writer.close()


class Child:
    """A process indeed. It prints a line for each thing that was done, and goes on when it is told."""

    def __init__(self, url: str, does: str) -> None:
        source = os.path.dirname(os.path.dirname(os.path.dirname(speech.__file__)))
        code = _CHILD.format(package=speech.__name__, url=url, day=DAY, does=does)
        environ, pipe = os.environ | {"PYTHONPATH": source}, subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-uc", code], stdin=pipe, stdout=pipe, env=environ, text=True)

    async def says(self) -> str:
        assert self.process.stdout
        return (await asyncio.to_thread(self.process.stdout.readline)).strip()

    def go_on(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


_CHILD = """
import asyncio
from {package}.errors import BudgetExceeded, SpeechError
from {package}.ledger import Budgets, Charge, Ledger
from {package}.stores.redis_connection import Connection
from {package}.stores.redis_ledger import ROWS_MAX, RedisLedger

CALL = Charge("anna", "flash", credits=7, usd=0.01, characters=14)

async def main():
    connection = Connection({url!r}, "an-account")
    store = RedisLedger(connection)
    ledger = Ledger(store, Budgets(daily_usd=2.0), today=lambda: {day!r})
    try:
{does}
    finally:
        await store.close()
        await connection.aclose()

asyncio.run(main())
"""
SPEND = """
        await store.rows()
        print("ready")
        await asyncio.to_thread(input)
        spent = 0
        try:
            while True:
                async with await ledger.reserve(CALL) as bill:
                    await bill.send()
                    await asyncio.sleep(0)
                    bill.billed()
                spent += 1
        except BudgetExceeded:
            print(spent)
"""
HOLD = """
        ledger.budgets = Budgets(daily_usd=0.02)
        queued, sent = await ledger.reserve(CALL), await ledger.reserve(CALL)
        await sent.send()
        while store._held[queued._reservation.id].sent:  # until others are told that it waits
            await asyncio.sleep(0.05)
        await store.rows()
        print("held")
        await asyncio.to_thread(input)
        try:
            await queued.send()
            print("sent")
        except SpeechError as refused:
            print(refused.code)
        sent.billed()
        await sent.__aexit__()
        await queued.__aexit__()
"""


# ------------------------------------------------------------------------------------------------- several processes


@pytest.mark.parametrize("processes", [2, 4])
async def test_processes_share_a_budget_to_the_cent(
    backend: RedisServer, start: Callable[..., Process], redis: Any, processes: int
) -> None:
    """What is for all they spend at once: together exactly that."""
    children = [Child(backend.url, SPEND) for _ in range(processes)]
    assert [await child.says() for child in children] == ["ready"] * processes
    for child in children:
        child.go_on()
    spent = [int(await child.says()) for child in children]
    assert sum(spent) == 200 and all(spent)
    assert await start().rows() == Usage(credits=1400, cost_usd=2.0, characters=2800)
    for child in children:
        assert child.process.wait() == 0
    assert redis.zcard(f"{ROOT}:alive") == 1  # they have left


async def test_a_killed_process_frees_what_it_never_sent(
    backend: RedisServer, start: Callable[..., Process], redis: Any
) -> None:
    """While it lives nobody touches it; then, within seconds, what it sent is uncertain and the rest is free."""
    child, other = Child(backend.url, HOLD), start(daily_usd=0.02)
    assert await child.says() == "held"
    with pytest.raises(BudgetExceeded):
        await other.ledger.reserve(CALL)
    child.signal(signal.SIGKILL)

    async def freed() -> bool:
        try:
            async with await other.ledger.reserve(CALL):
                return True
        except BudgetExceeded:
            return False

    await eventually(freed)
    assert await other.rows() == UNSURE


async def test_a_paused_process_comes_back_and_books_what_became_of_it(
    backend: RedisServer, start: Callable[..., Process], redis: Any
) -> None:
    """Given up meanwhile: what it had sent turns from uncertain into billed, what others got it may not spend."""
    child, other = Child(backend.url, HOLD), start(daily_usd=0.02)
    assert await child.says() == "held"
    child.signal(signal.SIGSTOP)

    async def silent() -> bool:
        return await other.rows() == UNSURE

    await eventually(silent)
    bill = await other.ledger.reserve(CALL)
    child.signal(signal.SIGCONT)
    child.go_on()
    assert await child.says() == "internal_error"  # the ledger's own "nothing is spent"
    assert child.process.wait() == 0
    bill.billed()
    await bill.__aexit__()
    assert await other.rows() == ONE + ONE


async def test_who_dies_right_after_reserving_leaves_it_uncertain(start: Callable[..., Process], redis: Any) -> None:
    """It may just have sent it: billed money is never called free. What falls under no budget was told as unsent."""
    dying, other = start(daily_usd=1.0), start()
    await dying.ledger.reserve(CALL)
    dying.ledger.budgets = Budgets()
    await dying.ledger.reserve(CALL)
    await dying.rows()
    dying.die()
    assert await given_up(redis, dying, by=other) == UNSURE


async def test_a_late_settlement_corrects_what_others_took_for_uncertain(
    start: Callable[..., Process], redis: Any
) -> None:
    """Free, billed at another price, or in a row that nothing else was booked in: as if it had never been away."""
    paused, other = start(daily_usd=1.0), start()
    free, cheap, foreign = [await paused.ledger.reserve(CALL._replace(caller=name)) for name in ("anna", "ben", "eve")]
    for bill in (free, cheap, foreign):
        await bill.send()
    await given_up(redis, paused, by=other)
    assert redis.ttl(f"{ROOT}:of:{paused.store._name}") > 600_000  # remembered for a week
    assert sum((await other.ledger.rows()).values(), Usage()) == UNSURE + UNSURE + UNSURE
    free.judged("free")
    cheap.billed(credits=3, usd=0.004)
    for bill in (free, cheap):
        await bill.__aexit__()
    await paused.rows()
    assert redis.ttl(f"{ROOT}:of:{paused.store._name}") == -1
    assert await other.ledger.rows() == {Row(DAY, "ben", "flash"): Usage(credits=3, cost_usd=0.004, characters=14)}
    await foreign.__aexit__()
    await paused.rows()
    assert (await other.ledger.rows())[Row(DAY, "eve", "flash")] == UNSURE


# --------------------------------------------------------------------------------------------------- Redis is harmed


async def test_an_emptied_redis_is_told_everything_again(start: Callable[..., Process], redis: Any) -> None:
    """In mid-load, several times: all that was booked is there, once, and so is what is held."""
    processes = [start(), start(), start()]

    async def load(process: Process) -> None:
        for _ in range(100):
            await process.call()
            await asyncio.sleep(0.01)

    async def harm() -> None:
        for _ in range(3):
            await asyncio.sleep(0.3)
            redis.flushall()

    open_bill = await processes[0].ledger.reserve(CALL)
    await open_bill.send()
    await asyncio.gather(harm(), *map(load, processes))
    await asyncio.gather(*(process.rows() for process in processes))
    assert await processes[0].rows() == Usage(credits=2100, cost_usd=3.0, characters=4200)
    await open_bill.__aexit__()


async def test_what_was_sent_is_held_again_whatever_the_budget_says(start: Callable[..., Process], redis: Any) -> None:
    """Others have spent more than all there was, under no budget: it may be billed all the same."""
    process, other = start(daily_usd=0.02), start()
    bill = await process.ledger.reserve(CALL)
    await bill.send()
    await other.call()
    await other.call()
    redis.flushall()
    await other.rows()
    await process.rows()
    assert accounts(redis)[DAY] == 30_000_000
    await bill.__aexit__()


async def test_an_emptied_redis_does_not_give_a_budget_twice(start: Callable[..., Process], redis: Any) -> None:
    """Until everybody had time to say what was spent, nothing is granted."""
    first, second = start(daily_usd=0.1), start(daily_usd=0.1)
    spent = 0

    async def spend(process: Process) -> bool:
        nonlocal spent
        try:
            await process.call()
        except BudgetExceeded:
            return True
        except SpeechError:
            return False
        spent += 1
        return spent == 6 and redis.flushall() is None

    await eventually(lambda: spend(first) if spent < 6 else spend(second))
    await eventually(lambda: spend(first))
    assert spent == 10
    assert await second.rows() == Usage(credits=70, cost_usd=0.1, characters=140)


async def test_who_has_much_to_tell_tells_it_by_parts(start: Callable[..., Process], redis: Any) -> None:
    """Each within the patience; nothing is granted before all is told, and no rows are shown."""
    process, other = start(daily_usd=2000.0), start(daily_usd=2000.0)
    for number in range(3 * ROWS_MAX + 1):
        await process.store.add(Row(DAY, f"caller {number}", "flash"), ONE)
    with pytest.raises(SpeechError, match="nothing is spent"):
        await process.ledger.reserve(CALL)
    assert len(await process.ledger.rows()) == 3 * ROWS_MAX + 1
    redis.flushall()
    assert len(await process.ledger.rows()) == 3 * ROWS_MAX + 1
    with pytest.raises(SpeechError, match="nothing is spent"):
        await other.ledger.reserve(CALL)
    await process.close()
    assert sum((await other.ledger.rows()).values(), Usage()).credits == 7 * (3 * ROWS_MAX + 1)


async def test_who_was_given_up_only_tells_what_others_may_have_booked_for_it(
    start: Callable[..., Process], redis: Any
) -> None:
    """So a process that stumbles doesn't hold up the budgets of all others."""
    process, other = start(daily_usd=2000.0), start(daily_usd=2000.0)
    for number in range(ROWS_MAX + 1):
        await process.store.add(Row(DAY, f"caller {number}", "flash"), ONE)
    await process.rows()
    redis.delete(f"{ROOT}:learning")
    bill = await process.ledger.reserve(CALL)
    await given_up(redis, process, by=other)
    await process.call()
    await other.call()
    await bill.__aexit__()
    await process.rows()
    assert (await other.ledger.rows())[ROW] == ONE + ONE


async def test_a_redis_that_was_away_gives_nobody_up(start: Callable[..., Process], redis: Any) -> None:
    """All were silent: who never sent keeps what it has set aside."""
    first, second = start(daily_usd=0.02), start(daily_usd=0.02)
    bill = await first.ledger.reserve(CALL)
    while first.store._held[bill._reservation.id].sent:
        await asyncio.sleep(0.05)
    await first.rows()
    await second.call()
    await second.rows()
    for process in (first, second):
        redis.zincrby(f"{ROOT}:alive", -3_600_000, process.store._name)
    assert await second.rows() == ONE
    with pytest.raises(BudgetExceeded):
        await second.call()
    await bill.send()
    await bill.__aexit__()


async def test_an_older_redis_is_told_what_it_has_forgotten(start: Callable[..., Process], redis: Any) -> None:
    """A failover, or a start from yesterday's snapshot: neither lost nor twice."""
    process, other = start(), start()
    bill = await process.ledger.reserve(CALL)
    await other.call()
    await asyncio.gather(process.rows(), other.rows())
    snapshot = {key: redis.execute_command("DUMP", key, NEVER_DECODE=[]) for key in redis.scan_iter("*")}
    bill.billed()
    await bill.__aexit__()
    await process.call()
    await process.rows()
    redis.flushall()
    for key, value in snapshot.items():
        redis.restore(key, 0, value)
    assert await process.rows() == ONE + ONE + ONE
    assert accounts(redis)[DAY] == 30_000_000


async def test_without_redis_what_has_no_budget_goes_on(
    backend: RedisServer, start: Callable[..., Process], redis: Any
) -> None:
    """Booked here, told when it is back, empty; what has a budget is refused in the meantime."""
    process, bounded = start(), start(daily_usd=1.0)
    await process.call()
    await bounded.call()
    await process.rows()
    backend.kill()
    began = time.monotonic()
    for _ in range(20):
        await process.call()
    with pytest.raises(SpeechError, match="nothing is spent"):
        await bounded.call()
    assert time.monotonic() - began < 5
    backend.start()

    async def told() -> bool:
        await asyncio.gather(process.rows(), bounded.rows())
        return await bounded.rows() == Usage(credits=22 * 7, cost_usd=0.22, characters=22 * 14)

    await eventually(told)


HARMS: dict[str, Callable[[RedisServer, Any, bool], Any]] = {
    "read only": lambda _, redis, on: redis.replicaof(*(("127.0.0.1", "1") if on else ("NO", "ONE"))),
    "full": lambda _, redis, on: redis.config_set("maxmemory", int(on)),
    "hung": lambda server, _, on: server.process.send_signal(signal.SIGSTOP if on else signal.SIGCONT),
}


@pytest.mark.parametrize("harm", HARMS)
async def test_a_redis_that_takes_nothing_is_one_that_is_away(
    backend: RedisServer, start: Callable[..., Process], redis: Any, harm: str
) -> None:
    """Nobody waits for it longer than its patience; then all is as it should be, nothing by half."""
    process, bounded = start(), start(daily_usd=1.0)
    await process.call()
    await bounded.call()
    bill = await bounded.ledger.reserve(CALL._replace(caller="ben"))
    await process.rows()
    HARMS[harm](backend, redis, True)
    try:
        began = time.monotonic()
        await asyncio.gather(*(process.call() for _ in range(20)))
        with pytest.raises(SpeechError, match="nothing is spent"):
            await bounded.ledger.reserve(CALL)
        assert time.monotonic() - began < 4
        bill.billed()
        await bill.__aexit__()
        await asyncio.sleep(0.1)
        await process.call()
    finally:
        HARMS[harm](backend, redis, False)

    async def told() -> bool:
        return not (process.store._teller.away or bounded.store._teller.away)

    await eventually(told)
    await process.rows()
    assert await bounded.ledger.rows() == {
        ROW: Usage(credits=23 * 7, cost_usd=0.23, characters=23 * 14),
        Row(DAY, "ben", "flash"): ONE,
    }
    assert accounts(redis)[DAY] == 240_000_000


async def test_a_slow_redis_costs_no_more_than_its_patience(
    backend: RedisServer, start: Callable[..., Process], redis: Any
) -> None:
    """One call waits once; those that follow don't wait at all, and the books are right in the end."""
    proxy = Proxy(backend.port)
    async with proxy.listening() as url:
        process = start(url)
        await process.call()
        proxy.delay_s = 2.0
        began = time.monotonic()
        await process.call()
        once = time.monotonic()
        for _ in range(10):
            await process.call()
        assert once - began < 1.5 and time.monotonic() - once < 0.4
        proxy.delay_s = 0.0
        await process.close()
    assert await start().rows() == Usage(credits=84, cost_usd=0.12, characters=168)


async def test_close_tells_what_is_left_and_waits_for_nobody_for_long(
    backend: RedisServer, start: Callable[..., Process], redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A restart of the service loses nothing; without Redis it says so, and ends."""
    process = start()
    await process.call()
    await process.store.close()
    await process.store.add(ROW, ONE)
    await process.store.close()
    assert await start().rows() == ONE + ONE
    backend.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        await process.call()
        await process.store.close()
        assert time.monotonic() - began < 6
    finally:
        backend.process.send_signal(signal.SIGCONT)
    assert "was not told of all that was booked here, in all 0.01 USD" in caplog.text


# ---------------------------------------------------------------------------------------------- answers that are lost


async def test_a_lost_answer_books_nothing_twice(
    backend: RedisServer, start: Callable[..., Process], redis: Any
) -> None:
    """Done, and never heard of: told again, at every step of a call in turn."""
    proxy = Proxy(backend.port)
    async with proxy.listening() as url:
        process, tight = start(url), start(url, daily_usd=0.1)
        done = 0
        for each in [process, tight] * 4:
            proxy.lose = 1
            try:
                await each.call()
                done += 1
            except SpeechError:
                assert each is tight
            proxy.lose = 1
            await asyncio.sleep(0.05)
        await process.close()
        await tight.close()
    assert done >= 4
    assert await start().rows() == sum([ONE] * done, Usage())
    assert accounts(redis)[DAY] == done * 10_000_000


async def test_a_step_that_arrives_late_changes_nothing(
    backend: RedisServer, start: Callable[..., Process], redis: Any
) -> None:
    """It was given up for lost, and Redis does it after what came later."""
    proxy = Proxy(backend.port)
    async with proxy.listening() as url:
        process = start(url)
        await process.call()
        await process.rows()
        early = [asked for asked in proxy.asked if b"EVALSHA" in asked]
        await process.call()
        await process.close()
    for asked in early:
        with socket.create_connection(("127.0.0.1", backend.port)) as wire:
            wire.sendall(asked)
            assert b"late" in wire.recv(4096)
    assert await start().rows() == ONE + ONE


class Books:
    """Several processes, and what must be in their ledger, whatever happens to them and to Redis."""

    def __init__(self, url: str, redis: Any, account: str) -> None:
        self.url, self.redis, self.account = url, redis, account
        self.processes = [Process(url, account, daily_usd=0.02) for _ in range(3)]
        self.open: list[tuple[Process, Bill]] = []
        self.by: dict[Process, Usage] = {process: Usage() for process in self.processes}

    @property
    def booked(self) -> Usage:
        return sum(self.by.values(), Usage())

    async def quiet(self) -> None:
        """Everybody has told everything."""
        for process in self.processes:
            while True:
                try:
                    await process.rows()
                    break
                except (ConnectionError, TimeoutError):
                    await asyncio.sleep(0)
        self.redis.set(f"speech:{{{self.account}}}:ledger:learning", 0)

    async def reserve(self, number: int, budget: bool) -> None:
        process = self.processes[number % len(self.processes)]
        process.ledger.budgets = Budgets(daily_usd=0.02 if budget else None)
        charge = CALL._replace(usd=0.001 * (number % 7))
        set_aside = sum(bill.charge.usd for _, bill in self.open)
        refused = budget and self.booked.spent_usd + set_aside + charge.usd > 0.02 + 1e-9
        try:
            self.open.append((process, await process.ledger.reserve(charge)))
            assert not refused
        except BudgetExceeded:
            assert refused
        except SpeechError:
            assert budget  # its answer was lost

    async def settle(self, number: int, state: str) -> None:
        if not self.open:
            return
        process, bill = self.open.pop(number % len(self.open))
        await bill.send()
        bill.state = state  # type: ignore[assignment]  # one of three
        await bill.__aexit__()
        self.by[process] += bill.charge.booked(bill.state)

    async def send(self, number: int) -> None:
        if self.open:
            await self.open[number % len(self.open)][1].send()

    async def die(self, number: int) -> None:
        if len(self.processes) > 1:
            process = self.processes.pop(number % len(self.processes))
            await process.rows()
            process.die()
            mine = [bill for owner, bill in self.open if owner is process]
            self.open = [(owner, bill) for owner, bill in self.open if owner is not process]
            for bill in mine:
                hold = process.store._held[bill._reservation.id]
                self.by[process] += bill.charge.booked("uncertain" if hold.sent else "free")
            await given_up(self.redis, process, by=self.processes[0])
            await process.connection.aclose()

    async def flush(self, _: int) -> None:
        """What only the dead could tell is lost."""
        self.redis.flushall()
        self.by = {process: usage for process, usage in self.by.items() if process in self.processes}

    async def pause(self, number: int) -> None:
        process = self.processes[number % len(self.processes)]
        await given_up(self.redis, process, by=self.processes[number % len(self.processes) - 1])


Step = Literal["reserve", "bounded", "send", "billed", "free", "uncertain", "pause", "die", "flush", "lose"]


def test_whatever_happens_the_books_are_right(backend: RedisServer, redis: Any) -> None:
    """Any history of calls, over processes that are paused and die, a Redis that forgets, and answers that are lost."""

    @settings(max_examples=50, deadline=None)
    @given(steps=st.lists(st.tuples(st.sampled_from(get_args(Step)), st.integers(0, 99)), max_size=30))
    def histories(steps: list[tuple[Step, int]]) -> None:
        account = secrets.token_hex(4)
        asyncio.run(_live(backend, redis, account, steps))
        root = f"speech:{{{account}}}:ledger"
        assert accounts(redis, root) == sums(redis, root)

    histories()


async def _live(backend: RedisServer, redis: Any, account: str, steps: list[tuple[Step, int]]) -> None:
    proxy = Proxy(backend.port)
    async with proxy.listening() as url:
        books = Books(url, redis, account)
        for step, number in steps:
            await books.quiet()
            await _take(step, number, books, proxy)
        proxy.lose = 0
        await books.quiet()
        while books.open:
            await books.settle(0, "free")
        rows = await books.processes[0].rows()
        for process in books.processes:
            await process.close()
    assert vars(rows or Usage()) == pytest.approx(vars(books.booked), abs=2e-9)


async def _take(step: Step, number: int, books: Books, proxy: Proxy) -> None:
    if step in ("reserve", "bounded"):
        await books.reserve(number, budget=step == "bounded")
    elif step in ("billed", "free", "uncertain"):
        await books.settle(number, step)
    elif step == "lose":
        proxy.lose = 1
    else:
        await getattr(books, step)(number)


# --------------------------------------------------------------------------------------------------------- the rest


async def test_a_cancelled_reservation_sets_nothing_aside(
    backend: RedisServer, start: Callable[..., Process], redis: Any
) -> None:
    """At whichever moment it strikes, before or after Redis has done it."""
    process = start(daily_usd=0.1)
    await process.call()
    for delay_s in [0.0, *(number / 10_000 for number in range(20))]:
        task = asyncio.create_task(process.ledger.reserve(CALL))
        await asyncio.sleep(delay_s)
        if not task.cancel():
            await (await task).__aexit__()
    await process.rows()
    assert accounts(redis)[DAY] == 10_000_000


@pytest.mark.parametrize("daily_usd", [None, 9.0])
async def test_a_call_takes_one_command(start: Callable[..., Process], redis: Any, daily_usd: float | None) -> None:
    """What was settled rides with what is reserved next, and many at once share one."""
    process = start(daily_usd=daily_usd)
    await process.call()
    before = redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    for _ in range(50):
        await process.call()
    await asyncio.gather(*(process.call() for _ in range(100)))
    await process.rows()
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 50 + 10 + 5  # some beats, on a busy day


async def test_an_idle_process_says_one_word_a_second(start: Callable[..., Process], redis: Any) -> None:
    """And none before its first use."""
    process = start()
    await asyncio.sleep(0)
    assert redis.dbsize() == 0
    await process.rows()
    redis.config_resetstat()
    await asyncio.sleep(2.5)
    assert 1 <= redis.info("commandstats")["cmdstat_evalsha"]["calls"] <= 3


async def test_a_newcomer_gives_up_those_who_died_before_it_came(start: Callable[..., Process], redis: Any) -> None:
    """A command that looks once, or the service after a crash."""
    dead = start()
    bill = await dead.ledger.reserve(CALL)
    await bill.send()
    dead.die()
    redis.zincrby(f"{ROOT}:alive", -4000, dead.store._name)
    assert await start().rows() == UNSURE


async def test_sums_are_exact_whoever_adds_them_up(start: Callable[..., Process], redis: Any) -> None:
    """Thirds of a hundredth of a cent, in many steps of two processes: to a billionth of a dollar a process."""
    processes = [start(), start()]
    for number in range(600):
        await processes[number % 2].store.add(ROW, Usage(cost_usd=1 / 30_000, stt_seconds=1 / 3))
        await processes[number % 2].rows()
    usage = await processes[0].rows()
    assert usage and usage.cost_usd == pytest.approx(0.02, abs=2e-9)
    assert usage.stt_seconds == pytest.approx(200, abs=2e-9)


async def test_keys_name_no_caller_and_money_does_not_expire(start: Callable[..., Process], redis: Any) -> None:
    """A key is one of few by month and process; only what a process said of itself goes, once it has left."""
    process = start(daily_usd=1.0)
    for day in ("2026-10-31", "2026-11-01", DAY):
        await process.store.add(Row(day, "anna", "flash"), ONE)
    await process.call()
    assert {row.day: usage.credits for row, usage in (await process.ledger.rows()).items()} == {
        "2026-10-31": 7, "2026-11-01": 7, DAY: 14,
    }  # fmt: skip
    await process.close()
    keys = list(redis.scan_iter("*"))
    assert len(keys) == 7 and not [key for key in keys if "anna" in key]
    assert [key for key in keys if redis.ttl(key) != -1] == [key for key in keys if ":of:" in key]


async def test_a_name_that_cannot_be_written_stops_nobody_else(start: Callable[..., Process], redis: Any) -> None:
    """Half a surrogate pair is refused by itself."""
    process = start()
    with pytest.raises(SpeechError, match="nothing is spent"):
        await process.call(CALL._replace(caller="\ud800"))
    await process.call(CALL._replace(caller='änna "1" [x], held:'))
    assert list(await process.ledger.rows()) == [Row(DAY, 'änna "1" [x], held:', "flash")]
