"""Advice: every number in it was counted, and nothing is advised without a reason."""

import math

import pytest

from speech.advice import of_the_account, sentences, slots_needed
from speech.catalogue import CATALOGUE, models
from speech.ledger import Row, Usage

CREATOR, PRO, SCALE = (
    CATALOGUE["plans"][name]["concurrency"]["flash"]["limit"] for name in ("creator", "pro", "scale")
)


def told(
    counts: dict[str, float] | None = None, rows: dict[Row, Usage] | None = None, observing: bool = False
) -> list[str]:
    return list(sentences({"2026-11-24": counts or {}}, rows or {}, models(), "creator", observing))


@pytest.mark.parametrize(
    ("wait_s", "patience_s", "needed"),
    [
        (9.0, 9.0, 10),  # in time as it is
        (9.0, 4.0, 20),  # half as long: twice as many
        (9.0, 0.0, 100),  # at once: all that is ahead has to run at once
        (9.0, -0.1, math.inf),  # no number of slots makes a call shorter
    ],
)
def test_slots_needed(wait_s: float, patience_s: float, needed: float) -> None:
    """Ten slots, calls of a second."""
    assert slots_needed(10, wait_s, 1.0, patience_s) == needed


def test_nothing_counted_is_nothing_said() -> None:
    """A quiet week needs no advice."""
    assert told() == [] and told(observing=True) == []


def test_a_line_is_told_by_its_minutes_and_those_who_stood_in_it() -> None:
    """A minute through which somebody went on waiting counts, and nobody twice."""
    (said,) = told({"waited/flash/0700": 3, "waited/flash/0701": 0, "waited/flash/0702": 2})
    assert said.startswith("5 requests waited for a slot of flash in the last 7 days, in 3 different minutes (0.1 h)")
    assert told({"waited/flash/0700": 3})[0].endswith("in the last 7 days, in one minute.")


def test_the_cheapest_plan_that_would_have_served_nearly_all_is_named() -> None:
    """With what it would have served; a larger one where that is not enough; none where none is."""
    (said,) = told({f"refused/flash/{PRO}": 312, f"refused/flash/{SCALE}": 6})
    assert said == (
        "flash refused 318 requests for want of slots in the last 7 days; "
        f"pro would have served 312 of them, by its {PRO} slots."
    )
    (said,) = told({f"refused/flash/{PRO}": 100, f"refused/flash/{SCALE}": 100})
    assert f"scale would have served 200 of them, by its {SCALE} slots" in said
    (said,) = told({"refused/flash/none": 7})
    assert "no plan has enough for them" in said


def test_a_line_that_was_too_short_is_another_matter() -> None:
    """More slots would cost more; a longer line costs nothing."""
    assert told({"refused/flash/line": 4}) == [
        "flash refused 4 requests that had the time to wait: raise SPEECH_QUEUE_SIZE."
    ]


def test_phrases_that_were_paid_again_are_told_by_hash_and_length() -> None:
    """Those paid once are what a cache is for."""
    (said,) = told({"paid/00ff00ff00ff/52": 30, "paid/11ff00ff00ff/7": 2, "paid/22ff00ff00ff/9": 1})
    assert said.startswith("2 phrases were paid 32 times in the last 7 days")
    assert said.endswith("The most: 00ff00ff00ff (52 characters), 30 times.")


def test_flash_is_compared_with_what_was_really_spoken() -> None:
    """A million characters of Multilingual at its list price; Flash itself, and transcripts, are not in it."""
    dear, flash, scribe = (
        Row("2026-11-24", "a", name) for name in ("eleven_multilingual_v2", "eleven_flash_v2_5", "scribe_v2")
    )
    price = {name: models()[name].usd(1_000_000) for name in (dear.model_id, flash.model_id)}
    rows = {
        dear: Usage(cost_usd=price[dear.model_id], characters=1_000_000),
        flash: Usage(cost_usd=5.0, characters=125_000),
        scribe: Usage(cost_usd=9.0),
    }
    (said,) = told(rows=rows)
    paid, instead = price[dear.model_id], price[flash.model_id]
    assert f"1,000,000 characters of dearer models for {instead:,.2f} USD instead of {paid:,.2f}" in said
    assert told(rows={dear: Usage(cost_usd=0.08, characters=1000)}) == []  # a few cents


def test_observing_says_what_enforcing_would_have_done() -> None:
    """In one sentence, and no advice of phrases paid again: there was no cache."""
    counts = {"observed/queue_full": 3.0, "observed/queued": 40.0, "observed/hit": 5.0, "observed/credits": 99.0}
    (said,) = told({**counts, "paid/00ff00ff00ff/52": 30}, observing=True)
    assert "would have refused 3 requests (3 queue_full), made 40 wait, and answered 5 from the cache" in said
    assert said.endswith("saves 99 credits.")


@pytest.mark.parametrize(
    ("account", "left", "word"),
    [
        ({}, None, None),
        ({}, 12.0, None),
        ({}, 3.0, "the credits last 3.0 days, and are renewed in 10"),
        ({"credits_used": 1000, "drift_credits": 5, "since": "x"}, None, None),  # lag
        ({"credits_used": 1000, "drift_credits": 300, "since": "x"}, None, "counts 300 credits more than these books"),
        ({"credits_used": 1000, "drift_credits": -300, "since": "x"}, None, "counts 300 credits less"),
    ],
)
def test_the_account_speaks_up_when_it_matters(
    account: dict[str, object], left: float | None, word: str | None
) -> None:
    """Credits that end before they are renewed; a count that is not ours."""
    said = list(of_the_account(account, {"days_of_credit_left": left, "days_to_renewal": 10}))
    assert len(said) == (word is not None) and (word is None or word in said[0])
