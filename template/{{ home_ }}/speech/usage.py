"""What was spent, by whom, on what, and what to make of it: the JSON of ``GET /usage``, out of the ledger's rows."""

import calendar
import csv
import datetime
import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from . import advice
from .catalogue import CATALOGUE, Model, models
from .ledger import Budgets, Row, Usage

Rows = Mapping[Row, Usage]
Facts = Mapping[str, Any]

PACE_DAYS = 7
METHOD = (
    "month: what it cost so far, uncertain costs included, per day (today counts whole), times the month's days. "
    "days of credit left: what is left by the account's last reading, less what was booked since; where it was never "
    "read, the plan's credits less this month's; over the mean of the last 7 days (today counts whole)"
)


class About(NamedTuple):
    """What an admin is told besides: the plan, ``diary.Diary.days``, ``reconciling.Account.state``."""

    tier: str
    days: advice.Days = {}
    account: Facts = {}
    known: Mapping[str, Model] = models()
    observing: bool = False


def report(
    rows: Rows, *, budgets: Budgets, day: str, snapshot: Facts, caller: str | None = None, about: About | None = None
) -> dict[str, Any]:
    """Everything, or what concerns one caller: its rows and its budget, and nothing of the others or of the account."""
    if caller is not None:
        rows = {row: sums for row, sums in rows.items() if row.caller == caller}
        own = {name: usd for name, usd in budgets.callers.items() if name == caller}
        budgets, snapshot, about = Budgets(callers=own), {}, None
    totals, states = _numbers(sum(rows.values(), Usage())), _budgets(rows, budgets, day)
    coming = _forecast(rows, day, about)
    return {
        "totals": totals,
        "by": {
            "caller": _by(rows, "caller", lambda row: row.caller),
            "model": _by(rows, "model", lambda row: row.model_id),
            "day": _by(rows, "day", lambda row: row.day),
            "month": _by(rows, "month", lambda row: row.day[:7]),
        },
        "budgets": states,
        "forecast": coming,
        "account": dict(about.account) if about else {},
        "observed": _observed(about) if about else {},
        "advice": [*_advice(totals["uncertain_credits"], states, coming), *_of_all(rows, day, coming, about)],
        "now": dict(snapshot),
    }


def table(rows: Rows, caller: str | None = None) -> str:
    """CSV: a line for each day, caller and model, and every sum; for spreadsheets."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*Row._fields, *vars(Usage())])
    for row, sums in sorted(rows.items()):
        if caller in (None, row.caller):
            lines.writerow([*map(_cell, row), *(round(value, 6) for value in vars(sums).values())])
    return text.getvalue()


def _cell(text: str) -> str:
    """No formula, whatever a caller is called."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def gauges(told: Facts) -> Iterator[tuple[str, dict[str, str], float]]:
    """Of a report of all, what an exporter tells too, in the names of ``metrics.json``. A caller is no label."""
    for name in [name for name in ("daily", "monthly") if name in told["budgets"]]:
        for amount in ("limit_usd", "spent_usd"):
            yield f"budget_{amount}", {"budget": name}, told["budgets"][name][amount]
    names = {"forecast_usd": "month_usd", "credits_left": "credits_left", "renewal_days": "days_to_renewal"}
    known = ((name, told["forecast"].get(fact)) for name, fact in names.items())
    yield from ((name, {}, value) for name, value in known if value is not None)


def _numbers(sums: Usage) -> dict[str, float]:
    return {name: round(value, 6) for name, value in vars(sums).items() if name != "uncertain_usd"}


def _by(rows: Rows, name: str, key: Callable[[Row], str]) -> list[dict[str, Any]]:
    groups: defaultdict[str, Usage] = defaultdict(Usage)
    for row, sums in rows.items():
        groups[key(row)] += sums
    return [{name: value, **_numbers(sums)} for value, sums in sorted(groups.items())]


def _budgets(rows: Rows, budgets: Budgets, day: str) -> dict[str, Any]:
    """``daily``, ``monthly`` and ``callers`` by name; only what is set."""

    def state(limit_usd: float, since: str, caller: str | None = None) -> dict[str, float]:
        mine = (sums for row, sums in rows.items() if row.day.startswith(since) and caller in (None, row.caller))
        spent_usd = round(sum(mine, Usage()).spent_usd, 6)
        return {"limit_usd": limit_usd, "spent_usd": spent_usd, "left_usd": round(max(0.0, limit_usd - spent_usd), 6)}

    limits = (("daily", budgets.daily_usd, day), ("monthly", budgets.monthly_usd, day[:7]))
    states: dict[str, Any] = {name: state(usd, since) for name, usd, since in limits if usd is not None}
    if budgets.callers:
        states["callers"] = {name: state(usd, day, name) for name, usd in budgets.callers.items()}
    return states


def _forecast(rows: Rows, day: str, about: About | None) -> dict[str, Any]:
    """``METHOD`` says how. None is what nobody can know: of a contract, or at no pace at all."""
    year, month, today = map(int, day.split("-"))
    days = calendar.monthrange(year, month)[1]
    so_far = _since(rows, f"{day[:7]}-01")
    first = max(min((row.day for row in rows), default=day), _back(day, PACE_DAYS - 1))
    a_day = _credits(_since(rows, first)) / ((_date(day) - _date(first)).days + 1)
    left = _left(about, rows, so_far) if about else None
    resets_at = about.account.get("resets_at") if about else None
    return {
        "method": METHOD,
        "month_usd": round(so_far.spent_usd * days / today, 6),
        "month_credits": round(_credits(so_far) * days / today),
        "credits_left": left,
        "credits_a_day": round(a_day, 1),
        "days_of_credit_left": round(left / a_day, 1) if left is not None and a_day > 0 else None,
        "days_to_renewal": (_date(resets_at[:10]) - _date(day)).days if resets_at else days - today + 1,
    }


def _left(about: About, rows: Rows, month: Usage) -> int | None:
    account, plan = about.account, CATALOGUE["plans"][about.tier]["credits_month"]
    if account.get("credits_used") is not None:
        since = max(0, _credits(sum(rows.values(), Usage())) - account["billed_then"])
        return max(0, int(account["credits_limit"] - account["credits_used"] - since))
    return None if plan is None else max(0, int(plan - _credits(month)))


def _advice(uncertain: float, budgets: Facts, coming: Facts) -> Iterator[str]:
    if uncertain:
        yield f"{uncertain} credits are uncertain: sent, never answered. Compare with the account: usage --reconcile."
    if "monthly" in budgets and coming["month_usd"] > budgets["monthly"]["limit_usd"]:
        yield f"At this rate the month costs {coming['month_usd']:.2f} USD, more than its budget."


def _of_all(rows: Rows, day: str, coming: Facts, about: About | None) -> Iterator[str]:
    if about:
        month = {row: sums for row, sums in rows.items() if row.day.startswith(day[:7])}
        yield from advice.sentences(about.days, month, about.known, about.tier, about.observing)
        yield from advice.of_the_account(about.account, coming)


def _observed(about: About) -> dict[str, float]:
    """Of the last days, by what enforcing would have done."""
    sums: defaultdict[str, float] = defaultdict(float)
    for names in about.days.values():
        for name, number in names.items():
            if name.startswith("observed/"):
                sums[name.removeprefix("observed/")] += number
    return dict(sorted(sums.items()))


def _since(rows: Rows, day: str) -> Usage:
    return sum((sums for row, sums in rows.items() if row.day >= day), Usage())


def _credits(sums: Usage) -> int:
    return sums.credits + sums.uncertain_credits


def _date(day: str) -> datetime.date:
    return datetime.date.fromisoformat(day)


def _back(day: str, days: int) -> str:
    return (_date(day) - datetime.timedelta(days)).isoformat()
