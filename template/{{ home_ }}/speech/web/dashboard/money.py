"""What was spent, by whom, on what, out of which budget; and what is left."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from .marks import NONE, Html, bar, columns, name, seconds, section, table, tag, usd, whole

Facts = Mapping[str, Any]

TOP = 10  # callers that have a row of their own
DAYS = 30
NOTHING = {"requests": 0, "characters": 0, "stt_seconds": 0.0, "credits": 0, "cost_usd": 0.0}
NUMBERS = ("answers", "characters", "heard", "credits", "cost")


def alarms(budgets: Facts) -> Iterator[str]:
    return (f"The budget of {budget} is spent." for budget, state in _limits(budgets) if not state["left_usd"])


def _limits(budgets: Facts) -> Iterator[tuple[str, Facts]]:
    """The day's, the month's, and each caller's of the day."""
    for span, words in (("daily", "today"), ("monthly", "this month")):
        if span in budgets:
            yield words, budgets[span]
    yield from ((f"{caller} today", state) for caller, state in budgets.get("callers", {}).items())


def budgets(budgets: Facts) -> Html:
    rows = [
        (name(budget), tag("span", f"{usd(state['spent_usd']).removesuffix(' USD')} of {usd(state['limit_usd'])}",
                           bar(state["spent_usd"], state["limit_usd"], "bad")), usd(state["left_usd"]))
        for budget, state in _limits(budgets)
    ]  # fmt: skip
    told = table(("budget", "spent", "left"), rows, "None is set.")
    return section("budgets", "Budgets", told, note="Uncertain costs count, too.", width="half")


def days_left(forecast: Facts) -> str:
    left = forecast.get("days_of_credit_left")
    return NONE if left is None else f"{left:,.0f} days"


def credit(account: Facts) -> str:
    """The account's credits; if they are not known, why."""
    used, limit = account.get("credits_used"), account.get("credits_limit")
    if used is None or limit is None:
        return str(account.get("why_not") or "the account was not asked")
    return f"{whole(used)} of {whole(limit)} credits used"


def account(account: Facts) -> Html:
    """What ElevenLabs says of the account. Whatever it doesn't is left out."""
    rows = [(key.replace("_", " "), _told(key, value)) for key, value in account.items() if value not in (None, "")]
    return section("account", "Account", table(("what", "value"), rows, "ElevenLabs was not asked."), width="third")


def _told(key: str, value: Any) -> str:
    """Instants may be seconds since 1970."""
    if not isinstance(value, int | float):
        return str(value)
    if key.endswith("_at"):
        return f"{datetime.datetime.fromtimestamp(value, datetime.UTC):%Y-%m-%d %H:%M} UTC"
    return whole(value)


# ------------------------------------------------------------------------------------------------------ what was spent


def days(rows: Sequence[Facts], today: str) -> Html:
    """Day by day, and those on which nothing was."""
    spent, end = {row["day"]: row["cost_usd"] for row in rows}, datetime.date.fromisoformat(today)
    shown = [(end - datetime.timedelta(days=n)).isoformat() for n in reversed(range(DAYS))]
    costs = [spent.get(day, 0.0) for day in shown]
    most, when = max(zip(costs, shown, strict=True))
    said = f"{usd(most)} on {when}" if most else "nothing"
    chart = columns(f"Cost of each of the last {DAYS} days: most {said}; today {usd(costs[-1])}", costs)
    ends = tag("p", tag("span", shown[0]), tag("span", "today"), class_="ends note")
    return section("cost", f"Cost a day, {DAYS} days", chart, ends, note=f"Most: {said}.", width="half")


def callers(rows: Sequence[Facts]) -> Html:
    """Who cost most; the others as one."""
    dear = sorted(rows, key=itemgetter("cost_usd", "requests"), reverse=True)
    top, others = dear[:TOP], dear[TOP:]
    shown = [_spent(name(row["caller"]), row) for row in top]
    if others:
        shown.append(_spent(f"{whole(len(others))} others", {key: sum(r[key] for r in others) for key in NOTHING}))
    return section("callers", "Callers who cost most", table(("caller", *NUMBERS), shown))


def sums(by: Facts) -> Html:
    """Folded away: what somebody looks up."""
    tables = (_folded(f"By {what}", what, by[what]) for what in ("model", "month", "day"))
    return section("sums", "All sums", *tables)


def _folded(title: str, what: str, rows: Sequence[Facts]) -> Html:
    shown = [_spent(name(row[what]), row) for row in reversed(rows)]
    return tag("details", tag("summary", title), table((what, *NUMBERS), shown))


def _spent(who: str, row: Facts) -> Sequence[str]:
    heard = seconds(row["stt_seconds"]) if row["stt_seconds"] else NONE
    return who, whole(row["requests"]), whole(row["characters"]), heard, whole(row["credits"]), usd(row["cost_usd"])
