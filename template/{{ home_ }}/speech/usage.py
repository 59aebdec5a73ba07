"""What was spent, by whom, on what, and what to make of it: the JSON of ``GET /usage``, out of the ledger's rows."""

import calendar
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .ledger import Budgets, Row, Usage

Rows = Mapping[Row, Usage]


def report(
    rows: Rows, *, budgets: Budgets, day: str, snapshot: Mapping[str, Any], caller: str | None = None
) -> dict[str, Any]:
    """Everything, or what concerns one caller: its rows and its budget, and nothing of the others or of the account."""
    if caller is not None:
        rows = {row: sums for row, sums in rows.items() if row.caller == caller}
        own = {name: usd for name, usd in budgets.callers.items() if name == caller}
        budgets, snapshot = Budgets(callers=own), {}
    state, coming = _budgets(rows, budgets, day), _forecast(rows, day)
    return {
        "totals": _numbers(_sum(rows.values())),
        "by": {
            "caller": _by(rows, "caller", lambda row: row.caller),
            "model": _by(rows, "model", lambda row: row.model_id),
            "day": _by(rows, "day", lambda row: row.day),
            "month": _by(rows, "month", lambda row: row.day[:7]),
        },
        "budgets": state,
        "forecast": coming,
        "advice": _advice(_sum(rows.values()), state, coming, snapshot),
        "now": dict(snapshot),
    }


def _sum(sums: Iterable[Usage]) -> Usage:
    return sum(sums, Usage())


def _numbers(sums: Usage) -> dict[str, float]:
    return {
        "credits": sums.credits,
        "uncertain_credits": sums.uncertain_credits,
        "cost_usd": round(sums.cost_usd, 6),
        "characters": sums.characters,
        "stt_seconds": round(sums.stt_seconds, 3),
        "requests": sums.requests,
        "saved_credits": sums.saved_credits,
    }


def _by(rows: Rows, name: str, key: Callable[[Row], str]) -> list[dict[str, Any]]:
    groups: defaultdict[str, Usage] = defaultdict(Usage)
    for row, sums in rows.items():
        groups[key(row)] += sums
    return [{name: value, **_numbers(sums)} for value, sums in sorted(groups.items())]


def _budgets(rows: Rows, budgets: Budgets, day: str) -> dict[str, Any]:
    """``daily``, ``monthly`` and ``callers`` by name; only what is set."""

    def state(limit_usd: float, since: str, caller: str | None = None) -> dict[str, float]:
        mine = (sums for row, sums in rows.items() if row.day.startswith(since) and caller in (None, row.caller))
        spent_usd = _sum(mine).spent_usd
        left_usd = max(0.0, limit_usd - spent_usd)
        return {"limit_usd": limit_usd, "spent_usd": round(spent_usd, 6), "left_usd": round(left_usd, 6)}

    states: dict[str, Any] = {}
    if budgets.daily_usd is not None:
        states["daily"] = state(budgets.daily_usd, day)
    if budgets.monthly_usd is not None:
        states["monthly"] = state(budgets.monthly_usd, day[:7])
    if budgets.callers:
        states["callers"] = {name: state(usd, day, name) for name, usd in budgets.callers.items()}
    return states


def _forecast(rows: Rows, day: str) -> dict[str, Any]:
    year, month, today = map(int, day.split("-"))
    so_far = _sum(sums for row, sums in rows.items() if row.day.startswith(day[:7]))
    whole = calendar.monthrange(year, month)[1] / today
    return {
        "method": "this month so far, uncertain costs included, per day (today counts whole), times the month's days",
        "month_usd": round(so_far.spent_usd * whole, 6),
        "month_credits": round((so_far.credits + so_far.uncertain_credits) * whole),
    }


def _advice(sums: Usage, budgets: Mapping[str, Any], coming: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    advice = [said for pool, state in now.get("pools", {}).items() for said in _of_pool(pool, state)]
    if uncertain := sums.uncertain_credits:
        advice.append(
            f"{uncertain} credits are uncertain: sent and never answered. They count against the budgets; compare with "
            "the usage page of ElevenLabs."
        )
    if saved := sums.saved_credits:
        share = saved / (saved + sums.credits + sums.uncertain_credits)
        advice.append(f"The cache saved {saved} credits, {share:.0%} of what was asked for.")
    for name in ("daily", "monthly"):
        if name in budgets and budgets[name]["spent_usd"] >= 0.8 * budgets[name]["limit_usd"]:
            advice.append(f"The {name} budget has {budgets[name]['left_usd']:.2f} USD left.")
    if "monthly" in budgets and coming["month_usd"] > budgets["monthly"]["limit_usd"]:
        advice.append(f"At this rate the month costs {coming['month_usd']:.2f} USD, more than its budget.")
    return advice


def _of_pool(pool: str, state: Mapping[str, Any]) -> Iterable[str]:
    if shed := state.get("shed"):
        yield f"Pool {pool} refused {shed} requests: send fewer at once, give them more time, or take a larger plan."
    if state.get("ceiling", 0) < state.get("plan", 0):
        yield f"ElevenLabs allows {state['ceiling']} at once in pool {pool}, fewer than the plan's {state['plan']}."
