"""The ledger, on whichever store was rendered: billed <= upstream's bill <= billed + uncertain."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rooms import a_room

from speech.answers import CACHE_BACKEND, store
from speech.errors import BudgetExceeded, SpeechError
from speech.ledger import Bill, Budgets, Charge, Ledger, LedgerStore, Reservation, Row, Usage
from speech.testing.virtual_time import run

REAL = CACHE_BACKEND == "redis"  # sockets want real time
TICK_S = 0.0001 if REAL else 1.0
pytestmark = [] if REAL else [pytest.mark.virtual]

CALL = Charge("tenant-7", "flash", credits=50, usd=0.004, characters=100)
TODAY = "2026-11-24"
ROW = Row(TODAY, "tenant-7", "flash")
BILLED = Usage(credits=50, cost_usd=0.004, characters=100)
UNCERTAIN = Usage(uncertain_credits=50, uncertain_usd=0.004)


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[LedgerStore]:
    opened = store.open(a_room(tmp_path))
    yield opened.ledger
    await opened.close()


@pytest.fixture
def ledger(books: LedgerStore) -> Ledger:
    return Ledger(books, Budgets(), today=lambda: TODAY)


def tight(books: LedgerStore, day: str = TODAY, **budgets: float) -> Ledger:
    return Ledger(books, Budgets(**budgets), today=lambda: day)  # type: ignore[arg-type]  # no callers here


async def spend(ledger: Ledger, charge: Charge = CALL) -> None:
    async with await ledger.reserve(charge) as bill:
        await bill.send()
        bill.billed()


async def held(books: LedgerStore) -> bool:
    """Whether more of today's money is set aside than is booked."""
    booked = sum(sums.spent_usd for row, sums in (await books.rows()).items() if row.day == TODAY)
    probe = Reservation("probe", ROW, Charge("tenant-7", "flash", 0, 0.0))
    refusing = await books.reserve(probe, {TODAY: booked})
    await books.settle(probe, Usage())
    return refusing is not None


class Full:
    """The rendered store on a disk that is full from ``step`` on."""

    def __init__(self, books: LedgerStore, step: str) -> None:
        self.books, self.step, self.add, self.rows = books, step, books.add, books.rows

    async def reserve(self, reservation: Reservation, limits: Mapping[str, float]) -> str | None:
        self._check("reserve")
        return await self.books.reserve(reservation, limits)

    async def sent(self, reservation: Reservation) -> None:
        self._check("sent")
        await self.books.sent(reservation)

    async def settle(self, reservation: Reservation, usage: Usage) -> None:
        self._check("settle")
        await self.books.settle(reservation, usage)

    def _check(self, step: str) -> None:
        if step == self.step:
            raise OSError("disk full")


# ------------------------------------------------------------------------------------------------- what a bill becomes


async def test_what_upstream_took_is_billed_as_reserved(ledger: Ledger) -> None:
    """Without a word about its cost, the catalogue's price holds."""
    await spend(ledger)
    assert await ledger.rows() == {ROW: BILLED}


async def test_what_upstream_says_it_cost_holds(ledger: Ledger) -> None:
    """``character-cost`` is the truth about credits; the list price stays."""
    async with await ledger.reserve(CALL) as bill:
        await bill.send()
        bill.billed(credits=31)
    assert await ledger.rows() == {ROW: Usage(credits=31, cost_usd=0.004, characters=100)}


async def test_speech_to_text_is_money_and_seconds(ledger: Ledger) -> None:
    """Billed by the seconds upstream counted, not by those we guessed."""
    async with await ledger.reserve(Charge("tenant-7", "scribe", 0, 0.01, seconds=160.0)) as bill:
        await bill.send()
        bill.billed(usd=0.0075, seconds=120.0)
    assert await ledger.rows() == {Row(TODAY, "tenant-7", "scribe"): Usage(cost_usd=0.0075, stt_seconds=120.0)}


async def test_what_was_never_sent_is_free(books: LedgerStore, ledger: Ledger) -> None:
    """Whatever went wrong, and it leaves no trace."""
    with contextlib.suppress(ValueError):
        async with await ledger.reserve(CALL):
            assert await held(books)
            raise ValueError
    assert (await ledger.rows(), await held(books)) == ({}, False)


async def test_what_was_sent_and_never_answered_is_uncertain(ledger: Ledger) -> None:
    """It may be on the bill or not: it is shown apart."""
    with contextlib.suppress(TimeoutError):
        async with await ledger.reserve(CALL) as bill:
            await bill.send()
            raise TimeoutError
    assert await ledger.rows() == {ROW: UNCERTAIN}


@pytest.mark.parametrize(("outcome", "booked"), [("free", None), ("uncertain", UNCERTAIN), ("kept", UNCERTAIN)])
async def test_the_fault_table_judges_what_was_sent(
    ledger: Ledger, outcome: Literal["free", "uncertain", "kept"], booked: Usage | None
) -> None:
    """A refusal is free; kept is as it stood."""
    async with await ledger.reserve(CALL) as bill:
        await bill.send()
        bill.judged(outcome)
    assert (await ledger.rows()).get(ROW) == booked


async def test_what_breaks_after_the_headers_stays_billed(ledger: Ledger) -> None:
    """Paid is paid, however little came of it."""
    async with await ledger.reserve(CALL) as bill:
        await bill.send()
        bill.billed()
        bill.judged("kept")
    assert await ledger.rows() == {ROW: BILLED}


async def test_answers_and_savings_are_counted(ledger: Ledger) -> None:
    """A request that went upstream is one once it is answered, in whatever attempt; a hit is one that cost nothing."""
    for answers in (0, 1):
        async with await ledger.reserve(CALL) as bill:
            await bill.send()
            bill.answers = answers
    await ledger.saved(CALL)
    assert await ledger.rows() == {ROW: UNCERTAIN + UNCERTAIN + Usage(requests=2, saved_credits=50)}


async def test_a_cost_is_booked_on_the_day_it_was_reserved(books: LedgerStore) -> None:
    """A call over midnight belongs to the budget that let it through."""
    days = iter(["2026-11-30", "2026-12-01"])
    ledger = Ledger(books, Budgets(), today=lambda: next(days))
    async with await ledger.reserve(CALL) as bill:
        await ledger.saved(CALL)
        bill.billed()
    assert {row.day: sums.credits for row, sums in (await ledger.rows()).items()} == {"2026-11-30": 50, "2026-12-01": 0}


# ------------------------------------------------------------------------------------------------------------- budgets


async def test_a_budget_refuses_before_money_is_spent(books: LedgerStore) -> None:
    """To the last cent, and not one more; nothing is booked for the refused."""
    ledger = tight(books, daily_usd=0.008)
    await spend(ledger)
    await spend(ledger)
    with pytest.raises(BudgetExceeded):
        await spend(ledger)
    assert await ledger.rows() == {ROW: BILLED + BILLED}
    assert not await held(books)


async def test_tenths_of_a_cent_add_up(books: LedgerStore) -> None:
    """A hundred calls of 0.0001 fit into 0.01, whatever binary fractions make of it."""
    ledger = tight(books, daily_usd=0.01)
    for _ in range(100):
        await spend(ledger, Charge("a", "m", 1, 0.0001))
    with pytest.raises(BudgetExceeded):
        await spend(ledger, Charge("a", "m", 1, 0.0001))


async def test_money_set_aside_counts_against_the_budget(books: LedgerStore) -> None:
    """A hundred at once can't spend the last dollar twice; what is given back may be spent."""
    ledger = tight(books, daily_usd=0.04)
    bills = await asyncio.gather(*(ledger.reserve(CALL) for _ in range(100)), return_exceptions=True)
    admitted = [bill for bill in bills if isinstance(bill, Bill)]
    assert len(admitted) == 10
    async with admitted[0]:
        pass
    await spend(ledger)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(CALL)


async def test_uncertain_money_counts_against_the_budget(books: LedgerStore) -> None:
    """So a retry after a timeout sets money aside again, and may be refused."""
    ledger = tight(books, daily_usd=0.006)
    async with await ledger.reserve(CALL) as bill:
        await bill.send()
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(CALL)


async def test_what_was_cheaper_than_reserved_is_given_back(books: LedgerStore) -> None:
    """The budget is spent by bills, not by guesses."""
    ledger = tight(books, daily_usd=0.006)
    async with await ledger.reserve(CALL) as bill:
        bill.billed(usd=0.002)
    await spend(ledger)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"daily_usd": 0.005}, "0.005 USD for 2026-11-24 (UTC)"),
        ({"monthly_usd": 0.005}, "0.005 USD for 2026-11 (UTC)"),
        ({"callers": {"tenant-7": 0.005}}, "0.005 USD for tenant-7 on 2026-11-24 (UTC)"),
    ],
)
async def test_a_refusal_says_which_budget_how_large_and_until_when(
    books: LedgerStore, limits: dict[str, float], says: str
) -> None:
    """402, and no Retry-After: nobody should try again every second until midnight."""
    ledger = Ledger(books, Budgets(**limits), today=lambda: TODAY)  # type: ignore[arg-type]  # one of three
    await spend(ledger)
    with pytest.raises(BudgetExceeded) as refused:
        await spend(ledger)
    assert says in refused.value.message
    assert (refused.value.status, refused.value.retry_after_s) == (402, None)


async def test_a_callers_budget_is_his_alone(books: LedgerStore) -> None:
    """Others go on; who has none is bounded by the common ones only."""
    ledger = Ledger(books, Budgets(callers={"tenant-7": 0.0}), today=lambda: TODAY)
    with pytest.raises(BudgetExceeded):
        await spend(ledger)
    await spend(ledger, Charge("tenant-8", "flash", 50, 0.004))


async def test_a_day_budget_begins_anew_at_midnight_and_a_months_goes_on(books: LedgerStore) -> None:
    """Day by day until the month is spent; the next month has it all again."""
    limits = {"daily_usd": 0.005, "monthly_usd": 0.009}
    await spend(tight(books, "2026-11-29", **limits))
    await spend(tight(books, "2026-11-30", **limits))
    with pytest.raises(BudgetExceeded, match="for 2026-11-30 "):
        await spend(tight(books, "2026-11-30", **limits))
    with pytest.raises(BudgetExceeded, match="for 2026-11 "):
        await spend(tight(books, "2026-11-28", **limits))
    await spend(tight(books, "2026-12-01", **limits))


async def test_observing_counts_what_it_would_have_refused(books: LedgerStore) -> None:
    """Nothing is refused, all is booked."""
    observed: list[str] = []
    ledger = Ledger(books, Budgets(daily_usd=0.005), observed=observed.append, today=lambda: TODAY)
    for _ in range(3):
        await spend(ledger)
    assert await ledger.rows() == {ROW: BILLED + BILLED + BILLED}
    assert observed == ["budget_exceeded"] * 2


async def test_observing_books_what_no_budget_could_be_asked_about(books: LedgerStore) -> None:
    """As Redis away is: enforcing refuses, for it may not be spent; observing spends, and books."""

    class NoBudgets(Full):
        async def reserve(self, reservation: Reservation, limits: Mapping[str, float]) -> str | None:
            if limits:
                raise ConnectionError("nobody is there")
            return await books.reserve(reservation, limits)

    observed: list[str] = []
    ledger = Ledger(NoBudgets(books, ""), Budgets(daily_usd=5), observed=observed.append, today=lambda: TODAY)
    await spend(ledger)
    assert (await books.rows(), observed) == ({ROW: BILLED}, ["internal_error"])


# -------------------------------------------------------------------------------------------------- whatever goes wrong


@pytest.mark.parametrize("step", ["reserve", "send", "leave"])
async def test_a_cancelled_call_leaves_the_books_in_order(books: LedgerStore, ledger: Ledger, step: str) -> None:
    """At whichever step it strikes: nothing stays set aside, and what was sent is booked."""
    task = asyncio.create_task(_cancelled_at(step, ledger))
    await asyncio.wait([task])
    assert task.cancelled() and not await held(books)
    assert await ledger.rows() == {"reserve": {}, "send": {ROW: UNCERTAIN}, "leave": {ROW: BILLED}}[step]


async def _cancelled_at(step: str, ledger: Ledger) -> None:
    def cancel(here: str) -> None:
        task = asyncio.current_task()
        if task and here == step:
            task.cancel()  # strikes whatever waits next

    cancel("reserve")
    async with await ledger.reserve(CALL) as bill:
        if step == "reserve":
            await asyncio.sleep(1)
        await bill.send()
        cancel("send")
        if step == "send":
            await asyncio.sleep(1)
        bill.billed()
        cancel("leave")


async def test_settling_twice_books_once(books: LedgerStore) -> None:
    """However often it is told: the second finds nothing to settle."""
    reservation = Reservation("one", ROW, CALL)
    await books.reserve(reservation, {})
    await books.settle(reservation, BILLED)
    await books.settle(reservation, BILLED)
    assert await books.rows() == {ROW: BILLED}


async def test_a_full_disk_never_hides_the_callers_error(books: LedgerStore, caplog: pytest.LogCaptureFixture) -> None:
    """The booking is logged as failed, and what was set aside stays set aside."""
    ledger = Ledger(Full(books, "settle"), Budgets(), today=lambda: TODAY)
    with pytest.raises(ValueError, match="the caller's"):
        async with await ledger.reserve(CALL) as bill:
            await bill.send()
            raise ValueError("the caller's own")
    assert "what was set aside stays so" in caplog.text and await held(books)


@pytest.mark.parametrize("step", ["reserve", "sent"])
async def test_what_cannot_be_written_down_is_not_spent(
    books: LedgerStore, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One clear error, nothing set aside, and the reason in the log alone."""
    ledger = Ledger(Full(books, step), Budgets(), today=lambda: TODAY)
    with pytest.raises(SpeechError, match="nothing is spent") as failed:
        await spend(ledger)
    assert failed.value.status == 500 and "disk full" not in failed.value.message and "disk full" in caplog.text
    assert (await ledger.rows(), await held(books)) == ({}, False)


@pytest.mark.parametrize("step", ["reserve", "sent"])
async def test_observing_goes_on_without_books(books: LedgerStore, step: str) -> None:
    """Who only watches stops nobody."""
    ledger = Ledger(Full(books, step), Budgets(), observed=lambda _: None, today=lambda: TODAY)
    await spend(ledger)


Fate = Literal["unsent", "refused", "billed", "said", "lost", "cut"]


@settings(max_examples=25, deadline=None)
@given(calls=st.lists(st.tuples(st.sampled_from(Fate.__args__), st.integers(0, 99), st.booleans()), max_size=30))  # type: ignore[attr-defined]
def test_the_bill_lies_between_billed_and_billed_plus_uncertain(calls: list[tuple[Fate, int, bool]]) -> None:
    """Whatever happens to whichever call; and it is equal where nothing is uncertain."""
    with tempfile.TemporaryDirectory() as folder:
        bill, sums = (asyncio.run if REAL else run)(_live(Path(folder), calls))
    assert sums.credits <= bill <= sums.credits + sums.uncertain_credits
    assert sums.uncertain_credits or sums.credits == bill


async def _live(folder: Path, calls: list[tuple[Fate, int, bool]]) -> tuple[int, Usage]:
    opened = store.open(a_room(folder, account=folder.name))
    ledger = Ledger(opened.ledger, Budgets(), today=lambda: TODAY)
    bills = await asyncio.gather(*(_call(ledger, *call) for call in calls))
    assert not await held(opened.ledger)
    rows = await ledger.rows()
    await opened.close()
    return sum(bills), sum(rows.values(), Usage())


async def _call(ledger: Ledger, fate: Fate, credits: int, took_it: bool) -> int:
    """One call's fate; what upstream puts on its bill."""
    async with await ledger.reserve(Charge("a", "m", credits, credits / 1000)) as bill:
        await asyncio.sleep(credits * TICK_S)
        if fate == "unsent":
            return 0
        await bill.send()
        await asyncio.sleep(credits * TICK_S)
        if fate == "refused":
            bill.judged("free")
            return 0
        if fate == "lost":
            bill.judged("uncertain")
            return credits if took_it else 0
        bill.billed(credits // 2 if fate == "said" else None)
        if fate == "cut":
            bill.judged("kept")
        return bill.charge.credits
