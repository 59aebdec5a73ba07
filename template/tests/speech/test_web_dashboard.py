"""The dashboard as the server draws it, without a browser: what stands there, how it is written, what is escaped."""

import html
import re
from typing import Any

import pytest

from speech.breaker import breakers
from speech.ledger import Budgets, Row, Usage
from speech.limiter import Limiter
from speech.meter import BUCKETS, Meter
from speech.usage import report
from speech.web import dashboard
from speech.web.dashboard import marks
from speech.web.dashboard.service import quantile

DAY = "2026-11-24"
ROWS = {
    Row("2026-10-31", "anna", "flash"): Usage(credits=500, cost_usd=0.04, characters=1000, requests=1),
    Row("2026-11-10", "anna", "flash"): Usage(credits=12345, cost_usd=1234.567, characters=24690, requests=3),
    Row(DAY, "bert", "scribe"): Usage(cost_usd=0.7, stt_seconds=90.5, requests=1, uncertain_credits=7),
}


@pytest.fixture(autouse=True)
def backend() -> None:
    """None is needed: the page is drawn of plain data."""


def snapshot(meter: Meter, **more: Any) -> dict[str, Any]:
    limiter = Limiter("flash", 10).snapshot() | {"breaker": breakers(("flash",))["flash"].snapshot()}
    latch = {"state": "closed", "why": "", "since": None}
    return {
        "ready": True, "draining": False, "pools": {"flash": limiter}, "latch": latch, "store": {}, "cache": {},
        "meter": meter.snapshot(),
    } | more  # fmt: skip


def drawn(rows: Any = ROWS, budgets: Budgets | None = None, meter: Meter | None = None, **more: Any) -> str:
    """The page of this usage; ``now`` and other keys of it may be given."""
    now = snapshot(meter or Meter(), **more.pop("now", {}))
    usage = report(rows, budgets=budgets or Budgets(), day=DAY, snapshot=now)
    return dashboard.page(usage | more, DAY).body.decode()


def words(page: str) -> str:
    """What a reader sees or hears of it; a space between any two elements."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_costs_are_of_today_and_of_this_month_to_the_cent() -> None:
    """With separators; last month's is not this one's."""
    seen = words(drawn())
    assert "Cost today 0.70 USD 0 credits" in seen
    assert "Cost this month 1,235.27 USD forecast 1,544.08 USD" in seen
    assert "bert 1 0 1.5 min 0 0.70 USD" in seen and "2026-10 1 1,000 – 500 0.04 USD" in seen
    assert "Uncertain 7 credits sent and never answered" in seen


def test_nothing_happened_yet() -> None:
    """Every section is there, and says that it is empty."""
    seen = words(drawn({}))
    assert "Cost today 0.00 USD" in seen and "Errors – 0 of 0 requests" in seen and "Credit left –" in seen
    assert "Callers who cost most None yet." in seen and "Budgets Uncertain costs count, too. None is set." in seen
    assert "in flight waiting" in seen and "0 of 10" in seen


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a" * 5000, "&amp;"])
def test_a_name_is_a_name_whatever_is_in_it(name: str) -> None:
    """It stands there whole, and is no markup."""
    page = drawn({Row(DAY, name, name): Usage(requests=1, cost_usd=1.0)}, Budgets(callers={name: 2.0}))
    assert words(page).count(name) >= 3
    assert page.count("<script") == 1 and "<img" not in page


def test_two_hundred_callers_are_ten_and_the_others() -> None:
    """Who cost most comes first, and nothing of the sum is lost."""
    rows = {Row(DAY, f"t{n}", "flash"): Usage(requests=1, cost_usd=n / 100) for n in range(200)}
    callers = words(drawn(rows)).partition("Callers who cost most")[2].partition("Cost a day")[0]
    assert callers.index("t199") < callers.index("t198") < callers.index("t190") < callers.index("190 others")
    assert "t189" not in callers
    assert "190 others 190 0 – 0 179.55 USD" in callers


def open_breaker() -> dict[str, Any]:
    state = {"state": "open", "failures": 5, "retry_after_s": 4.2, "opened": 1}
    return {"pools": {"flash": Limiter("flash", 10).snapshot() | {"breaker": state}}}


@pytest.mark.parametrize(
    ("now", "alarm"),
    [
        ({"draining": True, "ready": False}, "Draining: no new work"),
        ({"ready": False}, "no key of ElevenLabs is set"),
        ({"latch": {"state": "latched", "why": "key", "since": 1.0}}, "refuses our key"),
        ({"latch": {"state": "latched", "why": "quota", "since": 1.0}}, "out of credits"),
        (open_breaker(), "Pool flash: ElevenLabs is failing"),
        ({"store": {"slots": "alone", "money": "joined", "audio": "joined"}}, "Not shared at present: slots."),
    ],
)
def test_what_is_wrong_stands_first(now: dict[str, Any], alarm: str) -> None:
    """One line each, announced by screen readers; and none of it when all is well."""
    page = drawn(now=now)
    [alarms] = re.findall(r'<div class="alarms" role="status">(.*?)</div>', page)
    assert alarm in alarms and alarms.count("<p>") == 1
    assert '<div class="alarms" role="status"></div>' in drawn()


def test_a_spent_budget_is_an_alarm() -> None:
    """The day's, the month's or a caller's; and how much of it is left otherwise."""
    seen = words(drawn(budgets=Budgets(daily_usd=0.5, monthly_usd=2000.0, callers={"bert": 0.7})))
    assert "The budget of today is spent." in seen and "The budget of bert today is spent." in seen
    assert "this month 1,235.27 of 2,000.00 USD 764.73 USD" in seen and "month is spent" not in seen


def test_the_account_is_told_or_why_it_is_not() -> None:
    """A key that may only speak can't read it."""
    told: dict[str, Any] = {"credits_used": 54321, "credits_limit": 100000, "resets_at": 1796083200}
    told |= {"drift_credits": 12, "why_not": None}
    seen = words(drawn(account=told, forecast={"month_usd": 1.0, "days_of_credit_left": 12.4}))
    assert "Credit left 12 days 54,321 of 100,000 credits used" in seen
    assert "resets at 2026-12-01 00:00 UTC" in seen and "drift credits 12" in seen
    assert "Credit left – the key may not read it" in words(drawn(account={"why_not": "the key may not read it"}))


def test_errors_and_the_cache_are_shares() -> None:
    """Who hung up did not fail; what two callers shared was paid once."""
    meter = Meter()
    for outcome, number in (("ok", 90), ("left", 5), ("queue_full", 4), ("deadline_exceeded", 1)):
        meter.count("requests", number, kind="tts", outcome=outcome)
    meter.count("refusals", 4, code="queue_full")
    for result, number in (("hit", 60), ("coalesced", 15), ("miss", 25)):
        meter.count("cache", number, result=result)
    seen = words(drawn(meter=meter))
    assert "Errors 5.0 % 5 of 100 requests" in seen and "From the cache 75.0 %" in seen
    assert "queue full refused here 4 4.0 %" in seen and "deadline exceeded failed 1 1.0 %" in seen


def test_quantiles_are_read_as_prometheus_does() -> None:
    """Evenly spread in a bucket; what is beyond the last bound is only known to be more."""
    meter = Meter()
    for seconds in (0.15, 0.15, 0.15, 0.25):
        meter.time("first_byte_s", seconds, model="flash")
        meter.time("last_byte_s", 500.0, model="flash")
    buckets = meter.snapshot()["histograms"][0][2]["buckets"]
    assert [quantile(buckets, share) for share in (0.5, 1.0)] == pytest.approx([0.1 + 0.1 * 2 / 3, 0.3])
    assert quantile([0] * len(BUCKETS) + [1], 0.5) == float("inf")
    assert "flash 4 167 ms 280 ms over 2.0 min over 2.0 min" in words(drawn(meter=meter))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (marks.usd(0.0), "0.00 USD"), (marks.usd(0.004), "< 0.01 USD"), (marks.usd(1234.567), "1,234.57 USD"),
        (marks.whole(1234567), "1,234,567"), (marks.seconds(0.0421), "42 ms"), (marks.seconds(75), "1.2 min"),
        (marks.seconds(86400), "24.0 h"), (marks.size(999), "999 B"), (marks.size(268_435_456), "268.4 MB"),
        (marks.percent(1, 3), "33.3 %"), (marks.percent(0, 0), "–"), (marks.percent(1, 10_000), "< 0.1 %"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_read_them(written: str, read: str) -> None:
    """With a unit, and without false precision."""
    assert written == read


def test_every_chart_has_words() -> None:
    """A label, or numbers beside it; and nothing needs a style of its own, which the policy forbids."""
    meter = Meter()
    for name in ("first_byte_s", "last_byte_s"):
        meter.time(name, 1.0, model="flash")
    page = drawn(meter=meter, budgets=Budgets(daily_usd=1.0))
    charts = re.findall("<svg([^>]*)>", page)
    assert len(charts) == 6
    assert all('aria-hidden="true"' in chart or ('role="img"' in chart and "aria-label" in chart) for chart in charts)
    assert " style=" not in page and " onclick" not in page


def colours() -> list[dict[str, str]]:
    """Light and dark, as page.css names them."""
    blocks = re.findall(r":root \{([^}]*--ink[^}]*)\}", drawn({}))
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks)
    return [light, light | dark]


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("of", colours(), ids=["light", "dark"])
def test_colours_can_be_told_apart(of: dict[str, str]) -> None:
    """WCAG AA: 4.5 for words, 3 for what is drawn, on whatever it stands."""
    for ink in ("ink", "quiet", "bad"):
        assert all(contrast(of[ink], of[paper]) >= 4.5 for paper in ("paper", "card")), ink
    assert contrast(of["ink"], of["bad-paper"]) >= 4.5
    for mark in ("mark", "other", "bad", "focus"):
        assert all(contrast(of[mark], of[paper]) >= 3 for paper in ("paper", "card")), mark
    assert all(contrast(of[mark], of["track"]) >= 3 for mark in ("mark", "other", "bad"))
