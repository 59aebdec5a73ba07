"""What ``GET /usage`` says, to the key and to the number."""

import json
from typing import Any

import pytest
from scripted import Scene, Script

from speech.ledger import Budgets, Row, Usage
from speech.meter import METRICS
from speech.usage import About, gauges, report, table

NUMBERS = {"credits", "uncertain_credits", "cost_usd", "characters", "stt_seconds", "requests", "saved_credits"}
ROWS = {
    Row("2026-10-31", "anna", "flash"): Usage(credits=500, cost_usd=0.04, characters=1000, requests=1),
    Row("2026-11-02", "anna", "flash"): Usage(credits=100, cost_usd=0.1 + 0.2, characters=200, requests=3),
    Row("2026-11-10", "anna", "scribe"): Usage(cost_usd=0.7, stt_seconds=90.5, requests=1),
    Row("2026-11-10", "bert", "flash"): Usage(uncertain_credits=20, uncertain_usd=0.5, requests=2, saved_credits=60),
}
BUDGETS = Budgets(daily_usd=1.5, monthly_usd=4.0, callers={"anna": 1.0, "bert": 0.25})
POOL = {"limit": 5, "shed": 0}


def told(
    caller: str | None = None,
    budgets: Budgets = BUDGETS,
    now: dict[str, Any] | None = None,
    about: About | None = None,
) -> dict[str, Any]:
    return report(ROWS, budgets=budgets, day="2026-11-10", snapshot=now or {"pools": {}}, caller=caller, about=about)


def test_it_has_these_keys_and_no_others() -> None:
    """Dashboards and scripts stand on them."""
    said = told()
    assert set(said) == {"totals", "by", "budgets", "forecast", "account", "observed", "advice", "now"}
    assert set(said["totals"]) == NUMBERS
    assert set(said["by"]) == {"caller", "model", "day", "month"}
    assert all(set(row) == NUMBERS | {name} for name, rows in said["by"].items() for row in rows)


def test_totals_are_the_sum_of_all_rows() -> None:
    """Credits are whole, dollars have six places, and what is uncertain stands apart."""
    assert told()["totals"] == {
        "credits": 600, "uncertain_credits": 20, "cost_usd": 1.04, "characters": 1200, "stt_seconds": 90.5,
        "requests": 7, "saved_credits": 60,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("by", "credits"),
    [
        ("caller", {"anna": 600, "bert": 0}),
        ("model", {"flash": 600, "scribe": 0}),
        ("day", {"2026-10-31": 500, "2026-11-02": 100, "2026-11-10": 0}),
        ("month", {"2026-10": 500, "2026-11": 100}),
    ],
)
def test_rows_are_summed_by_whatever_is_asked(by: str, credits: dict[str, int]) -> None:
    """In order, each once."""
    assert [(row[by], row["credits"]) for row in told()["by"][by]] == list(credits.items())


def test_dollars_are_told_to_the_millionth() -> None:
    """A dime and two are thirty cents, not 0.30000000000000004."""
    assert told()["by"]["day"][1]["cost_usd"] == 0.3


def test_budgets_count_what_is_uncertain() -> None:
    """Of the day, of the month, and of each caller's day; never below nothing left."""
    assert told()["budgets"] == {
        "daily": {"limit_usd": 1.5, "spent_usd": 1.2, "left_usd": 0.3},
        "monthly": {"limit_usd": 4.0, "spent_usd": 1.5, "left_usd": 2.5},
        "callers": {
            "anna": {"limit_usd": 1.0, "spent_usd": 0.7, "left_usd": 0.3},
            "bert": {"limit_usd": 0.25, "spent_usd": 0.5, "left_usd": 0.0},
        },
    }


def test_a_budget_that_is_not_set_is_not_there() -> None:
    """Nothing is not zero."""
    assert told(budgets=Budgets())["budgets"] == {}
    assert told(budgets=Budgets(daily_usd=0.0))["budgets"]["daily"]["left_usd"] == 0.0


def test_the_forecast_says_how_it_was_made() -> None:
    """Ten of thirty days are over: three times as much."""
    forecast = told()["forecast"]
    assert (forecast["month_usd"], forecast["month_credits"]) == (4.5, 360)
    assert "per day (today counts whole)" in forecast["method"]


def test_days_of_credit_left_are_what_is_left_over_the_pace_of_a_week() -> None:
    """By the account's word, less what was booked since; else by the plan. Ours: 20 credits in seven days."""
    plan = told(about=About("creator"))["forecast"]
    assert (plan["credits_left"], plan["days_to_renewal"]) == (121_000 - 120, 21)
    assert (plan["credits_a_day"], plan["days_of_credit_left"]) == (2.9, round((121_000 - 120) / (20 / 7), 1))
    account = {"credits_used": 900, "credits_limit": 1000, "resets_at": "2026-11-15T08:00:00Z", "billed_then": 610}
    said = told(about=About("creator", account=account))
    assert (said["forecast"]["credits_left"], said["forecast"]["days_of_credit_left"]) == (90, 31.5)
    assert (said["forecast"]["days_to_renewal"], said["account"]) == (5, account)
    assert told(about=About("enterprise"))["forecast"]["days_of_credit_left"] is None


def test_csv_has_every_row_and_no_formula() -> None:
    """For all, or for one; whatever a caller is called."""
    lines = table(ROWS | {Row("2026-11-11", "=1+1", "flash"): Usage(credits=1)}).splitlines()
    assert lines[0] == (
        "day,caller,model_id,credits,uncertain_credits,cost_usd,uncertain_usd,characters,stt_seconds,requests,"
        "saved_credits"
    )
    assert lines[1] == "2026-10-31,anna,flash,500,0,0.04,0.0,1000,0.0,1,0" and lines[-1].startswith("2026-11-11,'=1+1,")
    assert table(ROWS, "bert").count("\n") == 2


def test_an_exporter_hears_of_budgets_and_credits() -> None:
    """By the names of ``metrics.json``; what is not set or not known is no series, and a caller no label."""
    said = told(about=About("creator"))
    rows = {(name, *labels.values()): value for name, labels, value in gauges(said)}
    assert rows == {
        ("budget_limit_usd", "daily"): 1.5, ("budget_spent_usd", "daily"): 1.2,
        ("budget_limit_usd", "monthly"): 4.0, ("budget_spent_usd", "monthly"): 1.5,
        ("forecast_usd",): 4.5, ("credits_left",): 121_000 - 120, ("renewal_days",): 21,
    }  # fmt: skip
    assert all(list(labels) == METRICS[name][3:] for name, labels, _ in gauges(said))
    assert {name for name, *_ in gauges(told(budgets=Budgets()))} == {"forecast_usd", "renewal_days"}


def test_a_caller_sees_what_is_his() -> None:
    """His rows and his budget: no other caller, no common budget, nothing of the account."""
    days = {"2026-11-10": {"refused/flash/20": 3.0}}
    about = About("creator", days, {"credits_used": 900})
    said = told("bert", now={"pools": {"flash": POOL | {"shed": 3}}}, about=about)
    assert any("flash refused 3" in word for word in told(about=about._replace(account={}))["advice"])
    assert (said["account"], said["observed"]) == ({}, {}) and "flash refused" not in str(said)
    assert [row["caller"] for row in said["by"]["caller"]] == ["bert"]
    assert said["totals"]["requests"] == 2
    assert said["budgets"] == {"callers": {"bert": {"limit_usd": 0.25, "spent_usd": 0.5, "left_usd": 0.0}}}
    assert said["now"] == {} and "anna" not in str(said) and "Pool" not in str(said)


def test_nothing_spent_is_nothing_to_say() -> None:
    """No division by zero on the first morning."""
    said = report({}, budgets=Budgets(), day="2026-11-01", snapshot={"pools": {"flash": POOL}})
    assert set(said["totals"].values()) == {0}
    assert (said["forecast"]["month_usd"], said["advice"]) == (0.0, [])


def test_the_snapshot_is_passed_on() -> None:
    """All that the dashboard shows is in one answer."""
    assert told(now={"pools": {"flash": POOL}, "flights": 2})["now"] == {"pools": {"flash": POOL}, "flights": 2}


@pytest.mark.parametrize(
    ("budgets", "sentence"),
    [(Budgets(), "20 credits are uncertain"), (Budgets(monthly_usd=4.0), "the month costs 4.50 USD")],
)
def test_advice_is_one_plain_sentence_for_each_reason(budgets: Budgets, sentence: str) -> None:
    """And only where there is that reason."""
    said = told(budgets=budgets)["advice"]
    assert len([word for word in said if sentence in word]) == 1
    assert not report({}, budgets=budgets, day="2026-11-10", snapshot={"pools": {"flash": POOL}})["advice"]


@pytest.mark.virtual
async def test_what_a_client_booked_is_told_of_all_or_of_one() -> None:
    scene = Scene(Script(default=[0.1, b"x"]))
    for caller in ("a", "b", "b"):
        await scene.client.synthesize("same text", caller=caller)
    rows = await scene.policies.ledger.rows()
    everybody, own = (
        report(rows, budgets=Budgets(), day="2026-11-10", snapshot=scene.client.snapshot(), caller=caller)
        for caller in (None, "b")
    )
    assert (everybody["totals"]["requests"], everybody["totals"]["saved_credits"]) == (3, 10)
    assert [row["caller"] for row in own["by"]["caller"]] == ["b"]
    json.dumps(everybody)
