"""The breaker opens for upstream's illness, the latch for our account's, neither for anything else; one probe each."""

import asyncio
import logging

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from speech.breaker import Breaker, Latch
from speech.clock import now
from speech.errors import CircuitOpen, QuotaExhausted, SpeechError, UpstreamRefused
from speech.faults import TABLE, Fault
from speech.testing.virtual_time import VirtualLoop

pytestmark = pytest.mark.virtual

ILL = sorted(kind for kind, verdict in TABLE.items() if verdict.health == "ill")
ALIVE = sorted(kind for kind, verdict in TABLE.items() if verdict.health == "alive")


async def call(breaker: Breaker, ends: str | BaseException | None = None, seconds: float = 0.0) -> str:
    """How a call went that upstream ends so: "well", the fault's kind, or the code of our own refusal."""
    error = Fault(ends) if isinstance(ends, str) else ends
    try:
        async with breaker.guard():
            await asyncio.sleep(seconds)
            if error:
                raise error
    except Fault as fault:
        return fault.kind
    except SpeechError as refusal:
        return refusal.code
    return "well"


async def calls(breaker: Breaker, *ends: str | None) -> list[str]:
    return [await call(breaker, each) for each in ends]


async def opened() -> Breaker:
    breaker = Breaker(Latch())
    await calls(breaker, *["server"] * 5)
    return breaker


def state(breaker: Breaker) -> str:
    word: str = breaker.snapshot()["state"]
    return word


@pytest.mark.parametrize("kind", ILL)
async def test_five_failures_open_it(kind: str) -> None:
    """Whatever the fault table calls ill counts, and the sixth call never reaches upstream."""
    breaker = Breaker(Latch())

    assert [kind] * 5 + ["circuit_open"] == await calls(breaker, *[kind] * 5, None)


@pytest.mark.parametrize("kind", ALIVE)
async def test_an_answer_is_not_a_failure(kind: str) -> None:
    """A thousand 422s or concurrency 429s never open it."""
    breaker = Breaker(Latch())

    assert [kind] * 1000 + ["well"] == await calls(breaker, *[kind] * 1000, None)


async def test_it_looks_at_the_last_ten() -> None:
    """Five of the last ten: four are borne for ever, and old ones are forgotten."""
    breaker = Breaker(Latch())
    await calls(breaker, *["server", "server", None, None, None] * 20)
    assert "closed" == state(breaker)

    await calls(breaker, *["server", None] * 5)
    assert "open" == state(breaker)


async def test_answers_that_say_nothing_do_not_dilute_the_failures() -> None:
    """422s between the failures are no sign of health."""
    breaker = Breaker(Latch())
    await calls(breaker, *["server", "caller", "caller", "caller"] * 5)

    assert "open" == state(breaker)


@pytest.mark.parametrize("error", [ValueError("ours"), asyncio.CancelledError()])
async def test_what_is_not_upstreams_fault_does_not_count(error: BaseException) -> None:
    """Our own errors and callers who leave say nothing about upstream."""
    breaker = Breaker(Latch())
    for _ in range(20):
        with pytest.raises(type(error)):
            await call(breaker, error)

    assert 0 == breaker.snapshot()["failures"]


async def test_a_refusal_says_when_to_come_back() -> None:
    """The rest of the time that it stays open; for whoever comes during a probe, a second."""
    breaker = await opened()
    await asyncio.sleep(2)
    with pytest.raises(CircuitOpen) as refused:
        async with breaker.guard():
            pass
    assert (3.0, 3.0) == (refused.value.retry_after_s, breaker.snapshot()["retry_after_s"])

    await asyncio.sleep(3)
    async with breaker.guard():
        with pytest.raises(CircuitOpen) as refused:
            async with breaker.guard():
                pass
    assert 1.0 == refused.value.retry_after_s


async def test_half_open_lets_single_probes_by() -> None:
    """Of twenty callers at once one asks upstream."""
    breaker = await opened()
    await asyncio.sleep(5)

    answers = await asyncio.gather(*(call(breaker, None, seconds=1) for _ in range(20)))

    assert ["well"] + ["circuit_open"] * 19 == answers


@pytest.mark.parametrize("ends", [None, *ALIVE, "key", "quota"])
async def test_any_answer_to_a_probe_closes_it(ends: str | None) -> None:
    """A "no" shows that they are alive as well as a "yes" does."""
    breaker = await opened()
    await asyncio.sleep(5)
    await call(breaker, ends)

    assert ("closed", 0) == (state(breaker), breaker.snapshot()["failures"])


async def test_failed_probes_double_the_time_up_to_a_minute() -> None:
    """5, 10, 20, 40, 60, 60 s; and after a recovery 5 again."""
    breaker, waits = await opened(), []
    for _ in range(6):
        waits.append(breaker.snapshot()["retry_after_s"])
        await asyncio.sleep(waits[-1])
        await call(breaker, "server")
    await asyncio.sleep(60)
    await calls(breaker, None, *["server"] * 5)

    assert [5, 10, 20, 40, 60, 60, 5] == [*waits, breaker.snapshot()["retry_after_s"]]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ValueError("ours")])
async def test_a_probe_that_tells_nothing_is_given_back(error: BaseException) -> None:
    """A caller who leaves in the middle of a probe doesn't keep the circuit shut."""
    breaker = await opened()
    await asyncio.sleep(5)
    with pytest.raises(type(error)):
        await call(breaker, error)

    assert ["half_open", "well", "closed"] == [state(breaker), await call(breaker), state(breaker)]


async def test_what_began_before_an_outage_neither_ends_nor_prolongs_it() -> None:
    """Results count only for the state they began in."""
    breaker = Breaker(Latch())
    good = asyncio.create_task(call(breaker, None, seconds=5.5))
    bad = [asyncio.create_task(call(breaker, "timeout", seconds=7)) for _ in range(9)]
    await asyncio.sleep(0)
    await calls(breaker, *["server"] * 5)
    await asyncio.sleep(5)
    probe = asyncio.create_task(call(breaker, None, seconds=1))
    await good
    assert "half_open" == state(breaker)

    await probe
    await asyncio.gather(*bad)
    assert ("closed", 0) == (state(breaker), breaker.snapshot()["failures"])


async def test_observing_refuses_nobody() -> None:
    """It says open, and calls go on."""
    observed: list[str] = []
    breaker = Breaker(Latch(), observed=observed.append)

    assert ["server"] * 5 + ["well"] * 5 + ["quota", "well"] == await calls(
        breaker, *["server"] * 5, *[None] * 5, "quota", None
    )
    assert "open" == state(breaker) and observed == ["circuit_open"] * 7


async def latched(why: str) -> tuple[Latch, Breaker]:
    latch = Latch()
    breaker = Breaker(latch)
    await calls(breaker, *[why] * (1 if why == "quota" else 3))
    return latch, breaker


async def test_a_key_refused_three_times_in_a_row_latches() -> None:
    """A success in between starts the count anew; a 422 in between is neither."""
    latch = Latch()
    breaker = Breaker(latch)
    assert ["key", "key", "well", "key", "caller", "key"] == await calls(
        breaker, "key", "key", None, "key", "caller", "key"
    )
    assert "closed" == latch.snapshot()["state"]

    assert ["key", "upstream_refused"] == await calls(breaker, "key", None)
    assert ("latched", "key", now()) == tuple(latch.snapshot().values())


async def test_spent_credits_latch_at_once() -> None:
    """The first answer is enough, and the breaker stays closed: they are well."""
    latch, breaker = await latched("quota")

    assert ["insufficient_credits"] == await calls(breaker, None)
    assert ("quota", "closed") == (latch.snapshot()["why"], state(breaker))


@pytest.mark.parametrize(("why", "error"), [("key", UpstreamRefused), ("quota", QuotaExhausted)])
async def test_latched_is_latched_for_every_pool(why: str, error: type[SpeechError]) -> None:
    """The account is one; each refusal says when the next probe is due."""
    latch, _ = await latched(why)
    await asyncio.sleep(15)

    with pytest.raises(error) as refused:
        async with Breaker(latch).guard():
            pass

    assert 45.0 == refused.value.retry_after_s


async def test_one_probe_a_minute_and_one_at_a_time() -> None:
    """Ten minutes of callers, ten a second: ten calls reach upstream, and seven if each takes a minute and a half."""
    for seconds, expected in ((0.0, 10), (90.0, 7)):
        _, breaker = await latched("quota")
        tasks = []
        for _ in range(6005):
            tasks.append(asyncio.create_task(call(breaker, "quota", seconds)))
            await asyncio.sleep(0.1)
        assert expected == (await asyncio.gather(*tasks)).count("quota")


async def test_a_probe_that_gets_through_clears_it() -> None:
    """And what began while it was latched for good doesn't latch it again."""
    latch, breaker = await latched("key")
    await asyncio.sleep(60)

    assert ["well", "well"] == await calls(breaker, None, None)
    assert ("closed", "", None) == tuple(latch.snapshot().values())
    assert ["key", "key", "well"] == await calls(breaker, "key", "key", None)


async def test_a_cancelled_probe_is_given_back() -> None:
    """The next caller probes at once, not a minute later."""
    _, breaker = await latched("quota")
    await asyncio.sleep(60)
    with pytest.raises(asyncio.CancelledError):
        await call(breaker, asyncio.CancelledError())

    assert "well" == await call(breaker)


async def test_a_call_from_before_does_not_clear_the_latch() -> None:
    """Audio that was paid before the credits ran out is no sign of new ones."""
    latch = Latch()
    breaker = Breaker(latch)
    old = asyncio.create_task(call(breaker, None, seconds=1))
    await asyncio.sleep(0)
    await call(breaker, "quota")
    await old

    assert "latched" == latch.snapshot()["state"]


async def test_breaker_and_latch_do_not_use_up_each_others_probe() -> None:
    """Who is refused by the one has not asked the other."""
    latch = Latch()
    well, ill, worse = Breaker(latch), Breaker(latch), Breaker(latch)
    slow = [asyncio.create_task(call(worse, "server", seconds=58)) for _ in range(5)]
    await calls(ill, *["server"] * 5)
    await call(well, "quota")

    await asyncio.gather(*slow)  # worse is open from now on
    await asyncio.sleep(2)
    assert ["circuit_open", "quota", "insufficient_credits"] == [
        await call(worse),
        await call(well, "quota"),
        await call(ill),
    ]
    await asyncio.sleep(60)
    assert ["well", "closed"] == [await call(ill), state(ill)]


async def test_it_is_logged_once_when_it_latches_and_once_when_it_clears(caplog: pytest.LogCaptureFixture) -> None:
    """An operator reads two lines, not one a call; neither holds what upstream wrote."""
    caplog.set_level(logging.DEBUG)
    _, breaker = await latched("key")
    await calls(breaker, *[None] * 50)
    await asyncio.sleep(60)
    await calls(breaker, "key", *[None] * 50)
    await asyncio.sleep(60)
    await calls(breaker, None, None)

    latched_line, cleared_line = caplog.records
    assert latched_line.levelno == logging.ERROR and "refuses this service's key" in latched_line.message
    assert cleared_line.levelno == logging.WARNING and "serves this account again" in cleared_line.message


class Anything(RuleBasedStateMachine):
    """Random calls that end in random ways and order, against a model that knows who was let in when."""

    @initialize()
    def begin(self) -> None:
        self.loop = VirtualLoop()
        self.breaker = Breaker(Latch())
        self.running: dict[asyncio.Task[str], tuple[asyncio.Future[str | None], str]] = {}

    async def client(self, end: "asyncio.Future[str | None]") -> str:
        async with self.breaker.guard():
            if kind := await end:
                raise Fault(kind)
        return "well"

    def step(self, seconds: float = 0.0) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.loop.run_until_complete(asyncio.sleep(0))

    def seen(self) -> str:
        async def look() -> str:
            return state(self.breaker)

        return self.loop.run_until_complete(look())

    @rule()
    def arrive(self) -> None:
        before, end = self.seen(), self.loop.create_future()
        probing = any(began == "half_open" for _, began in self.running.values())
        task = self.loop.create_task(self.client(end))
        self.step()
        if task.done():
            assert isinstance(task.exception(), CircuitOpen)
            assert before == "open" or probing
        else:
            assert not (self.seen() == "half_open" and probing)
            self.running[task] = end, self.seen()

    @rule(data=st.data(), kind=st.sampled_from([None, "server", "server", "timeout", "caller", "concurrency", "gone"]))
    def end(self, data: st.DataObject, kind: str | None) -> None:
        if not self.running:
            return
        task = data.draw(st.sampled_from(list(self.running)))
        (end, began), before = self.running.pop(task), self.seen()
        if kind == "gone":
            task.cancel()
        else:
            end.set_result(kind)
        self.step()
        assert task.cancelled() or isinstance(task.exception(), Fault | None)
        if before != "closed" and began != before:
            assert before == self.seen()
        if before == began == "half_open":
            after = {"server": "open", "timeout": "open", "gone": "half_open"}.get(kind or "", "closed")
            assert after == self.seen()
        for other, (its_end, its_state) in self.running.items():
            if its_state == "half_open" and self.seen() != "half_open":
                self.running[other] = its_end, "past"

    @rule(seconds=st.sampled_from([1.0, 5.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.step(seconds)

    @invariant()
    def one_probe_at_most(self) -> None:
        if hasattr(self, "breaker") and self.seen() == "half_open":
            assert 1 >= sum(began == "half_open" for _, began in self.running.values())

    def teardown(self) -> None:
        """However it stands: a minute later a good answer closes it."""
        if hasattr(self, "breaker"):
            for task in self.running:
                task.cancel()
            self.step(61)
            assert "well" == self.loop.run_until_complete(call(self.breaker)) and "closed" == self.seen()
            self.loop.close()


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
