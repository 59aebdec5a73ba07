"""The books against the account: only what is proven is cleared, and what can't be read is said."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from rooms import a_room, settings

from speech.answers import store
from speech.diary import MemoryNotes
from speech.ledger import Budgets, Charge, Ledger, LedgerStore, Row, Usage
from speech.reconciling import Account, CantRead, Finding, Reading, clear, drift, judge
from speech.testing.plugin import SandboxThread

FIRST = Reading(at=0.0, used=1000, limit=131_000, resets_at=10**6, billed=400, uncertain=10)
ROW = Row("2026-11-24", "anna", "eleven_flash_v2_5")


def later(at: float, used: int, billed: int, uncertain: int) -> Reading:
    """Growth since the first."""
    more = {"used": FIRST.used + used, "billed": FIRST.billed + billed, "uncertain": FIRST.uncertain + uncertain}
    return replace(FIRST, at=at, **more)


@pytest.mark.parametrize(
    ("used", "billed", "uncertain", "free", "booked"),
    [
        (100, 100, 40, 40, 0),  # the account counts what we billed: nothing of the uncertain was
        (140, 100, 40, 0, 40),  # or all of it
        (115, 100, 40, 25, 15),  # or some
        (500, 100, 40, 0, 40),  # others use it too: no more than all of it
        (90, 100, 40, 0, 0),  # its count lags: wait
        (100, 100, 0, 0, 0),
    ],
)
def test_what_the_account_did_not_count_was_not_billed(
    used: int, billed: int, uncertain: int, free: int, booked: int
) -> None:
    """After a quiet time, when its count can't lag, the rest is booked too."""
    readings = [FIRST, later(1000, used, billed, uncertain), later(2000, used, billed, uncertain)]
    found = judge(readings)
    assert (found.uncertain, found.free, found.billed) == (uncertain, free, booked)


def test_while_calls_go_on_only_what_is_free_in_any_case_is_given_back() -> None:
    """What was billed in the last minutes may not be in the account's count yet: it is taken as if it weren't."""
    found = judge([FIRST, later(1000, 100, 100, 40), later(2000, 120, 120, 40)])
    assert (found.free, found.billed) == (20, 0) and "20 may have been billed" in found.why


def test_one_reading_proves_nothing() -> None:
    """Nor do two at once."""
    for readings in ([FIRST], [FIRST, later(60, 100, 100, 40)]):
        assert (judge(readings).free, judge(readings).billed) == (0, 0)


def test_drift_is_what_not_even_the_uncertain_explains() -> None:
    """More: somebody else. Less: it lags."""
    assert [drift(FIRST, later(9, used, 100, 40)) for used in (100, 140, 150, 95)] == [0, 0, 10, -5]


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[LedgerStore]:
    opened = store.open(a_room(tmp_path))
    yield opened.ledger
    await opened.close()


async def test_what_is_cleared_leaves_the_books_and_the_budget_in_order(books: LedgerStore) -> None:
    """The youngest rows first; dollars in proportion; and money that was not spent may be spent again."""
    old, young = ROW._replace(day="2026-11-20"), ROW
    for row, credits in ((old, 100), (young, 50)):
        ledger = Ledger(books, Budgets(), today=lambda day=row.day: day)  # type: ignore[misc]
        async with await ledger.reserve(Charge(row.caller, row.model_id, credits, credits / 1000)) as bill:
            await bill.send()
    await clear(books, await books.rows(), Finding(60, free=30, billed=30, why=""))
    rows = await books.rows()
    assert vars(rows[young]) == pytest.approx(vars(Usage(credits=20, cost_usd=0.02)))
    billed_and_not = Usage(credits=10, uncertain_credits=90, cost_usd=0.01, uncertain_usd=0.09)
    assert vars(rows[old]) == pytest.approx(vars(billed_and_not))
    tight = Ledger(books, Budgets(daily_usd=0.05), today=lambda: young.day)
    async with await tight.reserve(Charge("anna", "m", 30, 0.03)):
        pass


async def test_the_sandbox_is_read_as_the_vendor_is(speech_sandbox: SandboxThread) -> None:
    """What others used is in its count, and not on our bill."""
    speech_sandbox.set(others=300, credits=700)
    ours, account = settings(api_key="sandbox-takes-any", base_url=speech_sandbox.url), Account(MemoryNotes())
    reading = await account.read(ours, {ROW: Usage(credits=5, uncertain_credits=2)})
    assert (reading.used, reading.limit, reading.billed, reading.uncertain) == (300, 1000, 5, 2)
    state = await account.state()
    assert (state["credits_used"], state["credits_limit"], state["drift_credits"]) == (300, 1000, None)
    speech_sandbox.set(others=340)
    await account.read(ours, {ROW: Usage(credits=5, uncertain_credits=2)})
    assert (await account.state())["drift_credits"] == 40


async def test_a_key_that_may_only_speak_is_a_good_key(speech_sandbox: SandboxThread) -> None:
    """It is said, with what would help; what was read before stays."""
    speech_sandbox.set(scopes=["text_to_speech"])
    ours, account = settings(api_key="sandbox-takes-any", base_url=speech_sandbox.url), Account(MemoryNotes())
    with pytest.raises(CantRead, match="user_read"):
        await account.read(ours, {})
    assert "fine for speaking" in (await account.state())["why_not"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.0.0.1:{port}/nowhere"])
async def test_no_answer_is_one_line(speech_sandbox: SandboxThread, url: str) -> None:
    """Nobody there; somebody who knows of no account."""
    port = speech_sandbox.url.rpartition(":")[2]
    with pytest.raises(CantRead, match="reached|answered 404"):
        await Account(MemoryNotes()).read(settings(api_key="any", base_url=url.format(port=port)), {})


async def test_a_new_period_is_a_new_reference() -> None:
    """The account's count began anew: what came before it proves nothing any more."""
    assert later(9, -900, 0, 0).begins_anew(FIRST) and not later(9, 1, 0, 0).begins_anew(FIRST)
    assert replace(FIRST, resets_at=FIRST.resets_at + 30 * 86400).begins_anew(FIRST)
