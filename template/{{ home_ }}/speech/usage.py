"""What was spent, by whom, on what, and what to make of it: the JSON of ``GET /usage``, out of the ledger's rows."""

import calendar
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .ledger import Budgets, Row, Usage

Rows = Mapping[Row, Usage]
Facts = Mapping[str, Any]


def report(rows: Rows, *, budgets: Budgets, day: str, snapshot: Facts, caller: str | None = None) -> dict[str, Any]:
    """Everything, or what concerns one caller: its rows and its budget, and nothing of the others or of the account."""
    if caller is not None:
        rows = {row: sums for row, sums in rows.items() if row.caller == caller}
        own = {name: usd for name, usd in budgets.callers.items() if name == caller}
        budgets, snapshot = Budgets(callers=own), {}
    totals, states, coming = _numbers(sum(rows.values(), Usage())), _budgets(rows, budgets, day), _forecast(rows, day)
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
        "advice": list(_advice(totals["uncertain_credits"], states, coming, snapshot)),
        "now": dict(snapshot),
    }


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


def _forecast(rows: Rows, day: str) -> dict[str, Any]:
    year, month, today = map(int, day.split("-"))
    so_far = sum((sums for row, sums in rows.items() if row.day.startswith(day[:7])), Usage())
    whole = calendar.monthrange(year, month)[1] / today
    return {
        "method": "this month so far, uncertain costs included, per day (today counts whole), times the month's days",
        "month_usd": round(so_far.spent_usd * whole, 6),
        "month_credits": round((so_far.credits + so_far.uncertain_credits) * whole),
    }


def _advice(uncertain: float, budgets: Facts, coming: Facts, now: Facts) -> Iterator[str]:
    for pool, state in now.get("pools", {}).items():
        if shed := state.get("shed"):
            yield f"Pool {pool} refused {shed} requests: send fewer at once, allow more time, or take a larger plan."
    if uncertain:
        yield f"{uncertain} credits are uncertain: sent, never answered. Compare with the usage page of ElevenLabs."
    if "monthly" in budgets and coming["month_usd"] > budgets["monthly"]["limit_usd"]:
        yield f"At this rate the month costs {coming['month_usd']:.2f} USD, more than its budget."
