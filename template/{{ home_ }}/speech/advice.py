"""What to make of what was counted: a sentence for each reason, and no number in it that nobody counted.

Pure arithmetic, of plain data. It looks back, at what happened; ``copier-elevenlabs plan`` looks ahead, and simulates
the limiter's whole discipline for a load that never was. Prices and plans are the catalogue's for both.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from .catalogue import CATALOGUE, QUALITIES, Model
from .ledger import Row, Usage

Facts = Mapping[str, Any]
Days = Mapping[str, Mapping[str, float]]

WORTH_USD = 1.0  # a month: for less nobody changes a model
ENOUGH = 0.9  # of what was refused: the cheapest plan that would have served so much is named
DRIFT = 0.01  # of what the account counts


def slots_needed(limit: int, wait_s: float, service_s: float, patience_s: float) -> float:
    """With how many slots a turn that takes ``wait_s`` with ``limit`` comes within ``patience_s``; infinity if never.

    All that is ahead takes ``limit * (wait_s + service_s)`` slot-seconds, were every call as long as the mean, and as
    many slots as that lasts ``patience_s + service_s`` with are enough: Little's law for one moment. What the larger
    pool would have let in besides is not in it, nor that its line would have been shorter before.
    """
    if patience_s < 0:
        return math.inf
    return math.ceil(limit * (wait_s + service_s) / (patience_s + service_s) - 1e-9)


def sentences(
    days: Days, month: Mapping[Row, Usage], models: Mapping[str, Model], tier: str, observing: bool
) -> Iterator[str]:
    """From ``diary.py``'s counts, and this month's rows of the ledger."""
    counts: Counter[str] = Counter()
    for names in days.values():
        counts.update({name: number for name, number in names.items() if not name.startswith("waited/")})
    tree: defaultdict[str, list[tuple[str, str, float]]] = defaultdict(list)
    for name, number in counts.items():
        kind, what, *more = name.split("/")
        tree[kind].append((what, "".join(more), number))
    for pool in ("standard", "flash", "stt"):
        yield from _line(pool, days, [(slots, number) for at, slots, number in tree["refused"] if at == pool], tier)
    if observing:
        yield from _observed({what: number for what, _, number in tree["observed"]})
    else:
        yield from _paid_again(tree["paid"])
    yield from _cheaper(month, models)


def _line(pool: str, days: Days, refused: list[tuple[str, float]], tier: str) -> Iterator[str]:
    """A pool's waits and refusals, and what would have helped."""
    minutes = [n for names in days.values() for name, n in names.items() if name.startswith(f"waited/{pool}/")]
    if minutes:
        span = f"{len(minutes):,} different minutes ({len(minutes) / 60:.1f} h)" if len(minutes) > 1 else "one minute"
        yield f"{sum(minutes):,.0f} requests waited for a slot of {pool} in the last 7 days, in {span}."
    too_short = sum(number for slots, number in refused if slots == "line")
    if too_short:
        yield f"{pool} refused {too_short:,.0f} requests that had the time to wait: raise SPEECH_QUEUE_SIZE."
    short = {slots: number for slots, number in refused if slots != "line"}
    if total := sum(short.values()):
        instead = _larger(pool, short, tier)
        yield f"{pool} refused {total:,.0f} requests for want of slots in the last 7 days; {instead}."


def _larger(pool: str, short: Mapping[str, float], tier: str) -> str:
    total, best, said = sum(short.values()), 0.0, "no plan has enough for them: send fewer at once, or allow more time"
    for name, slots in _plans_above(pool, tier):
        served = sum(number for needed, number in short.items() if needed != "none" and int(needed) <= slots)
        if served > best:
            best, said = served, f"{name} would have served {served:,.0f} of them, by its {slots} slots"
        if served >= ENOUGH * total:
            break
    return said


def _plans_above(pool: str, tier: str) -> list[tuple[str, int]]:
    """Plans with more slots than ours, by price; not those that nobody publishes."""
    plans = CATALOGUE["plans"]
    ours = plans[tier]["concurrency"][pool]["limit"] or math.inf
    rows = [
        (row["price_usd_month"], name, row["concurrency"][pool]["limit"])
        for name, row in plans.items()
        if row["price_usd_month"] is not None and not row.get("retired")
    ]
    return [(name, slots) for _, name, slots in sorted(rows) if slots and slots > ours]


def _paid_again(paid: list[tuple[str, str, float]]) -> Iterator[str]:
    """Phrases by hash and length; never text."""
    again = sorted((row for row in paid if row[2] > 1), key=lambda row: -row[2])
    if not again:
        return
    times, (worst, length, most) = sum(number for *_, number in again), again[0]
    yield (
        f"{_these(len(again), 'phrase')} paid {times:,.0f} times in the last 7 days, where once each is enough for the "
        f"cache: it is too small (SPEECH_CACHE_MAX_MB), too short (SPEECH_CACHE_TTL_S), not shared, or not asked "
        f"(no-store). The most: {worst} ({length} characters), {most:,.0f} times."
    )


def _observed(what: Mapping[str, float]) -> Iterator[str]:
    refused = {name: n for name, n in what.items() if name not in ("credits", "hit", "queued")}
    if what:
        by = ", ".join(f"{n:,.0f} {name}" for name, n in sorted(refused.items())) or "none"
        yield (
            f"Observing, the last 7 days: enforcing would have refused {sum(refused.values()):,.0f} requests ({by}), "
            f"made {what.get('queued', 0):,.0f} wait, and answered {what.get('hit', 0):,.0f} from the cache, which "
            f"saves {what.get('credits', 0):,.0f} credits."
        )


def _cheaper(month: Mapping[Row, Usage], models: Mapping[str, Model]) -> Iterator[str]:
    """What the same characters cost by the realtime model."""
    flash = models[QUALITIES["realtime"][0]]
    spoken = [
        sums
        for row, sums in month.items()
        if (model := models.get(row.model_id)) and model.kind == "tts" and model.usd(1000) > flash.usd(1000)
    ]
    characters, paid = sum(sums.characters for sums in spoken), sum(sums.cost_usd for sums in spoken)
    if (saved := paid - flash.usd(characters)) >= WORTH_USD:
        yield (
            f"{flash.id} would have spoken this month's {characters:,} characters of dearer models for "
            f"{flash.usd(characters):,.2f} USD instead of {paid:,.2f}, {saved:,.2f} less: where its voice is enough."
        )


def of_the_account(account: Facts, forecast: Facts) -> Iterator[str]:
    """From what ElevenLabs says of the account, or the plan."""
    left, renewed = forecast["days_of_credit_left"], forecast["days_to_renewal"]
    if left is not None and left < renewed:
        yield f"At the pace of the last 7 days the credits last {left:.1f} days, and are renewed in {renewed:.0f}."
    drift = account.get("drift_credits") or 0
    if abs(drift) > DRIFT * (account.get("credits_used") or 0):
        what = "more" if drift > 0 else "less"
        yield (
            f"The account counts {abs(drift):,} credits {what} than these books since {account['since']}: "
            f"{'others use it too, or ' if drift > 0 else ''}its count lags, or the books miss something."
        )


def _these(number: int, what: str) -> str:
    return f"{number:,} {what} was" if number == 1 else f"{number:,} {what}s were"
