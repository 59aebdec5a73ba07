"""A plan for eyes: what was asked, a bar a plan for cost, wait and headroom, the chosen one, and why not the others."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from .choose import Plan, Tier
from .export import grouped, option_of
from .load import Input
from .waits import CALLS, RUNS

BAR = 12
UNITS = {
    "characters_month": ("characters a month", ",.0f"),
    "peak_rps": ("requests a second, at peak", ",.4g"),
    "realtime_share": ("of them realtime (Flash)", ".0%"),
    "stt_hours": ("hours of speech to text", ",.6g"),
    "max_wait": ("longest acceptable wait, s", "g"),
    "characters_request": ("characters a request", ",.4g"),
    "stt_file_seconds": ("a recording to transcribe, s", ",.4g"),
    "peak_factor": ("peak over average", ",.3g"),
    "batch_share": ("batch: may wait for minutes", ".0%"),
    "reserved_interactive": ("slots kept for interactive", "g"),
}
MATTERS = {  # for this pool alone
    "standard": {"seconds_call_standard"},
    "flash": {"seconds_call_flash"},
    "stt": {"seconds_call_stt", "stt_file_seconds", "peak_factor"},
}


def draw(plan: Plan, console: Console) -> None:
    for line in (
        *_load(plan),
        *_tiers(plan, "█" if console.encoding.startswith("utf") else "#"),
        *_why_not(plan),
        *_verdict(plan),
        *_savings(plan),
        *_unsure(plan),
    ):
        console.print(line, markup=False)


def _load(plan: Plan) -> Iterator[str | Text]:
    yield Text("The load", "bold")
    demands = {pool.demand.pool: pool.demand for pool in plan.tiers[0].pools}
    idle = {name for name, demand in demands.items() if not demand.rate}
    for name, each in plan.load.inputs().items():
        if each.origin == "assumed" and any(name in MATTERS[pool] for pool in idle):
            continue
        pool = name.removeprefix("seconds_call_")
        label, form = UNITS.get(name, (f"a call of {pool} takes, s", ".3g"))
        yield Text(
            f"  {label:28}{each.value:>10{form}}  {_origin(name, each)}", "" if each.origin == "given" else "dim"
        )


def _origin(name: str, each: Input) -> str:
    option = option_of(name) if each.origin != "given" else None
    return each.origin + (f" ({option})" if option else "") + (f": {each.why}" if each.why else "")


def _tiers(plan: Plan, block: str) -> Iterator[Text]:
    yield Text(f"\n{'Plan':13}{'USD a month':25}{'99 of 100 wait at most':25}headroom at the peak", "bold")
    most_usd = max(tier.total for tier in plan.tiers if tier.bill)
    most_s = max([plan.load.max_wait.value, *(tier.slowest.p99.mean for tier in plan.tiers if tier.slowest)])
    for tier in plan.tiers:
        yield _tier(tier, tier is plan.chosen, most_usd, most_s, block)


def _tier(tier: Tier, chosen: bool, most_usd: float, most_s: float, block: str) -> Text:
    if not tier.bill or not tier.slowest or tier.utilisation is None:
        return Text(f"  {tier.name:11}{'contract':25}{'its limits are not published':50}ask", "dim")
    wait_s, headroom = tier.slowest.p99.mean, max(0.0, 1 - tier.utilisation)
    lost = "+" if tier.slowest.lost.mean > 0.01 else " "
    columns = (
        f"{_bar(tier.total, most_usd, block)} {tier.total:>11,.2f} ",
        f"{_bar(wait_s, most_s, block)} {wait_s:>9,.2f} s{lost}",
        f"{_bar(headroom, 1, block)} {headroom:>9.0%}   ",
    )
    verdict = "CHOSEN" if chosen else "enough" if tier.sufficient else "not enough"
    style = "bold green" if chosen else "" if tier.sufficient else "red"
    return Text(f"{'>' if chosen else ' '} {tier.name:11}{''.join(columns)}{verdict}", style)


def _bar(value: float, most: float, block: str) -> str:
    """At least one block where there is anything at all."""
    blocks = min(BAR, max(1, round(BAR * value / most))) if value > 0 and most else 0
    return f"{block * blocks:{BAR}}"


def _why_not(plan: Plan) -> Iterator[str | Text]:
    yield Text(f"  at a peak of {CALLS:,} requests a pool, simulated {RUNS} times", "dim")
    if any(tier.slowest and tier.slowest.lost.mean > 0.01 for tier in plan.tiers):
        yield Text("  + of those who are served; more than one in a hundred is refused, or gives up", "dim")
    if any(tier.why_not for tier in plan.tiers):
        yield Text("\nWhy not", "bold")
    for tier in plan.tiers:
        yield from (f"  {tier.name:11}{why}" for why in tier.why_not)


def _verdict(plan: Plan) -> Iterator[str | Text]:
    yield ""
    if not plan.chosen or not plan.chosen.bill:
        yield Text("No published plan is enough.", "bold")
        yield from _otherwise(plan)
        return
    tier, bill = plan.chosen, plan.chosen.bill
    yield Text(f"{tier.name}: {bill.total:,.2f} USD a month", "bold green")
    yield f"  {bill.plan:,.2f} for the plan; {bill.speech:,.2f} of speech against an allowance of {bill.allowance:,.2f}"
    if bill.top_up:
        what = f"{bill.over:,.2f} above that, {bill.stt:,.2f} of speech to text"
        yield f"  {bill.top_up:,.2f} topped up beforehand ({what}), or the service stops"
    if bill.stt:
        yield f"  {bill.total_if_stt_included:,.2f} if your account takes speech to text out of the allowance: ask it"
    legacy = "stops at its last credit" if bill.legacy_total is None else f"pays {bill.legacy_total:,.2f} USD"
    yield f"  a legacy account {legacy}: at most {bill.credits:,.0f} credits, {bill.credits_included:,.0f} included"
    if plan.licensed is not tier:
        licensed = plan.licensed and f"{plan.licensed.name}, {plan.licensed.total:,.2f} USD"
        yield Text(f"  not for commercial use; the cheapest that is: {licensed or 'none'}", "yellow")


def _otherwise(plan: Plan) -> Iterator[str]:
    slots = ", ".join(f"{number:,} {pool}" for pool, number in plan.slots_needed.items() if number)
    if plan.patient:
        yield f"  {plan.patient.tier} would be, at {plan.patient.total_usd:,.2f} USD a month, with {plan.patient.what}"
    yield f"  enterprise may be: ask for {slots} calls at once"


def _savings(plan: Plan) -> Iterator[str | Text]:
    if plan.savings:
        yield Text("\nWhat would change it", "bold")
    for saving in plan.savings:
        if saving.tier is None or saving.total_usd is None:
            yield f"  {saving.what:36}no published plan is enough"
        else:
            saved = "" if saving.saves_usd is None else f"   saves {saving.saves_usd:>11,.2f}"
            yield f"  {saving.what:36}{saving.tier:11}{saving.total_usd:>11,.2f} USD a month{saved}"


def _unsure(plan: Plan) -> Iterator[str | Text]:
    if plan.unsure:
        yield Text("\nNot sure", "bold")
    for line in grouped(plan.unsure):
        yield Text(f"  {line}", "dim")
