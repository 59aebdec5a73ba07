"""The page from top to bottom, in the order in which somebody looks: what is wrong, what it costs, how it goes.

Every section is always there, also with nothing in it: nothing jumps when something happens for the first time.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from . import money, service
from .marks import Html, keys, past, percent, section, tag, usd, whole
from .money import NOTHING, credit, days_left
from .service import Counts, failed, saved

Facts = Mapping[str, Any]


def main(usage: Facts, day: str, clock: str) -> Html:
    """All that changes. *day* and *clock* are UTC."""
    now, by, counts = usage["now"], usage["by"], _counts(usage["now"]["meter"]["counters"])
    alarms = (*service.alarms(now), *money.alarms(usage["budgets"]))
    return tag(
        "main",
        tag("div", *(tag("p", word) for word in alarms), class_="alarms", role="status"),
        _figures(usage, day, counts),
        service.pools(now),
        _advice(usage["advice"]),
        service.speed(now["meter"]["histograms"]),
        service.errors(counts["requests"], counts["refusals"]),
        service.attempts(counts["upstream_errors"], counts["retries"]),
        money.callers(by["caller"]),
        money.days(by["day"], day),
        money.budgets(usage["budgets"]),
        service.cache(now["cache"], counts),
        money.account(usage.get("account") or {}),
        service.store(now["store"]),
        money.sums(by),
        _foot(day, clock),
    )


def _foot(day: str, clock: str) -> Html:
    money = f"As of {clock} UTC, {day}. Money is what the ledger keeps, by days and months of UTC; "
    told = "counts and times are since this service was started. The same as data: "
    return tag("p", money + told, tag("a", "usage", href="usage"), ".", class_="note")


def _counts(counters: Sequence[Any]) -> Counts:
    """By metric, then by its label; of requests by the outcome, whatever their kind."""
    counts: Counts = defaultdict(Counter)
    for metric, labels, value in counters:
        counts[metric][labels.get("outcome") or next(iter(labels.values()), "")] += value
    return counts


def _advice(words: Sequence[Any]) -> Html:
    said = tag("ul", *(tag("li", str(word)) for word in words)) if words else tag("p", "Nothing to say.", class_="note")
    return section("advice", "Advice", said)


def _figures(usage: Facts, day: str, counts: Counts) -> Html:
    totals, coming, outcomes = usage["totals"], usage["forecast"], counts["requests"]
    today, month = _of(usage["by"]["day"], "day", day), _of(usage["by"]["month"], "month", day[:7])
    asked, lost, found, looked = (
        sum(each.values()) for each in (outcomes, failed(outcomes), saved(counts["cache"]), counts["cache"])
    )
    chart = past("requests", f"{asked} requests, {lost} of them failed", asked, lost, grows=True)
    figures = (
        ("Cost today", usd(today["cost_usd"]), f"{whole(today['credits'])} credits"),
        ("Cost this month", usd(month["cost_usd"]), f"forecast {usd(coming['month_usd'])}"),
        ("Credit left", days_left(coming), credit(usage.get("account") or {})),
        ("Uncertain", whole(totals["uncertain_credits"]), "credits sent and never answered"),
        ("Answers", whole(totals["requests"]), f"{whole(totals['characters'])} characters spoken"),
        ("Errors", percent(lost, asked), f"{whole(lost)} of {whole(asked)} requests"),
        ("From the cache", percent(found, looked), f"{whole(totals['saved_credits'])} credits saved"),
        ("Last two minutes", chart, keys("requests", "failed")),
    )
    rows = (tag("div", tag("dt", title), tag("dd", figure), tag("dd", more)) for title, figure, more in figures)
    return tag("dl", *rows, class_="figures")


def _of(rows: Sequence[Facts], key: str, value: str) -> Facts:
    return next((row for row in rows if row[key] == value), NOTHING)
