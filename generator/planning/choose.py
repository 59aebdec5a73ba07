"""Every plan against a load: is it enough, what does it cost, and what else would do."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..catalogue import Fact, facts
from .cost import Bill, Facts, Prices, bill
from .load import BOUNDS, Load
from .waits import LATE, Demand, Waits, waits

CACHE_RATES = (0.2, 0.5)
PATIENCE = (1, 1.2, 1.5, 2)  # times what 99 of 100 wait at most
UNSURE = {"inferred", "assumed", "reported", "unknown"}


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of a plan under this load. ``slots`` is None where only the contract says it, and so are the waits."""

    demand: Demand
    slots: int | None

    @property
    def waits(self) -> Waits | None:
        return None if self.slots is None else waits(self.demand, self.slots)

    @property
    def utilisation(self) -> float | None:
        """Above 1 it can never be served."""
        return None if self.slots is None else self.demand.at_once / self.slots

    @property
    def why_not(self) -> str | None:
        if self.slots is None or not self.demand.rate:
            return None
        if (need := self.demand.at_once) >= self.slots:
            return f"{self.demand.pool}: {_number(need)} calls at once on average, {self.slots} allowed"
        if (late := waits(self.demand, self.slots).late).high > LATE:
            most = f"{self.demand.max_wait_s:g} s or are refused"
            return f"{self.demand.pool}: {late.mean:.1%} (up to {late.high:.1%}) wait longer than {most}"
        return None


@dataclass(frozen=True, slots=True)
class Tier:
    """One plan. ``sufficient`` is None where nobody publishes what it allows."""

    name: str
    facts: Facts
    bill: Bill | None
    pools: tuple[Pool, ...]

    @property
    def why_not(self) -> list[str]:
        """Every reason; none for a contract, of which nothing is known."""
        return list(self._reasons())

    @property
    def sufficient(self) -> bool | None:
        return None if self.bill is None else next(self._reasons(), None) is None

    def _reasons(self) -> Iterator[str]:
        """The quick ones first."""
        if self.bill and self.bill.top_up and not self.facts["commercial_licence"]:
            yield "needs money on top, and isn't known to allow commercial use"
        yield from (why for pool in self.pools if (why := pool.why_not))

    @property
    def total(self) -> float:
        """USD a month, to the millionth; unbounded for a contract."""
        return round(self.bill.total, 6) if self.bill else math.inf

    @property
    def utilisation(self) -> float | None:
        """Of its fullest pool."""
        return max((share for pool in self.pools if (share := pool.utilisation) is not None), default=None)

    @property
    def slowest(self) -> Waits | None:
        """Of the pool where most come too late, or wait longest."""
        known = [found for pool in self.pools if (found := pool.waits)]
        return max(known, key=lambda found: (found.late.mean, found.p99.mean), default=None)


class Saving(NamedTuple):
    """What would change: the plan that would be enough then, its bill, and how much less that is."""

    what: str
    tier: str | None
    total_usd: float | None
    saves_usd: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """``patient`` is what a longer wait would make enough, where nothing is.

    ``unsure`` are the facts behind it that the catalogue doesn't have from ElevenLabs or a live answer.
    """

    load: Load
    prices: Prices
    tiers: tuple[Tier, ...]
    chosen: Tier | None
    licensed: Tier | None
    savings: tuple[Saving, ...]
    patient: Saving | None
    unsure: tuple[Fact, ...]

    @property
    def slots_needed(self) -> dict[str, int]:
        return {pool.demand.pool: pool.demand.slots_needed for pool in self.tiers[0].pools}


def plan(load: Load, catalogue: Facts) -> Plan:
    """All plans, the cheapest that is enough, and what Flash or a cache would change."""
    every = tiers(load, catalogue)
    chosen = cheapest(every)
    return Plan(
        load,
        Prices.of(catalogue),
        every,
        chosen,
        licensed=cheapest(tier for tier in every if tier.facts["commercial_licence"]),
        savings=tuple(savings(load, catalogue, chosen)),
        patient=None if chosen else patient(load, catalogue, every),
        unsure=tuple(unsure(load, catalogue)),
    )


def tiers(load: Load, catalogue: Facts) -> tuple[Tier, ...]:
    """Every plan that can still be bought."""
    prices, demands = Prices.of(catalogue), load.demands(catalogue["pools"])
    return tuple(
        Tier(
            name,
            row,
            bill(row, prices, load.use),
            tuple(Pool(demand, row["concurrency"][demand.pool]["limit"]) for demand in demands),
        )
        for name, row in catalogue["plans"].items()
        if not row.get("retired")
    )


def cheapest(among: Iterable[Tier]) -> Tier | None:
    """The first that is enough, by price; of equal ones the first of the catalogue."""
    return next((tier for tier in sorted(among, key=lambda tier: tier.total) if tier.sufficient), None)


def savings(load: Load, catalogue: Facts, chosen: Tier | None) -> Iterator[Saving]:
    if not load.characters_month.value:
        return

    def instead(what: str, then: Load, sign: int = 1) -> Saving:
        if not (tier := cheapest(tiers(then, catalogue))):
            return Saving(what, None, None, None)
        return Saving(what, tier.name, tier.total, sign * (chosen.total - tier.total) if chosen else None)

    if load.realtime_share.value < 1:
        yield instead("all of it by Flash", load.with_share(1.0))
    if load.hit_rate and load.hit_rate < 1:
        yield instead(
            f"the cache that answers {load.hit_rate:.0%} now", load.with_cache(1 - 1 / (1 - load.hit_rate)), -1
        )
    for rate in CACHE_RATES:
        yield instead(
            f"a cache that answers {rate:.0%}{' of the rest' if load.hit_rate else ''}", load.with_cache(rate)
        )


def patient(load: Load, catalogue: Facts, every: Iterable[Tier]) -> Saving | None:
    """The shortest of some longer waits with which a plan is enough; None where none can keep up, or loses calls."""
    waits_s = [found.p99.high for tier in every if (tier.utilisation or 1) < 1 and (found := tier.slowest)]
    for times in PATIENCE if waits_s else ():
        wait_s = round(times * min(waits_s), 1)
        if wait_s <= BOUNDS["max_wait"][1] and (tier := cheapest(tiers(load.with_wait(wait_s), catalogue))):
            return Saving(f"--max-wait {wait_s:g}", tier.name, tier.total, None)
    return None


def unsure(load: Load, catalogue: Facts) -> Iterator[Fact]:
    """Facts that this plan stands on and that are inferred, assumed or hearsay."""
    used = {demand.pool for demand in load.demands(catalogue["pools"]) if demand.rate}
    guessed = {pool for pool in used if load.seconds_call[pool].origin == "assumed"}
    for fact in facts({name: catalogue[name] for name in ("plans", "pools")}):
        match fact.path.split("."):
            case ["plans", _, "included_characters"]:
                counts = bool(load.characters_month.value)
            case ["plans", _, "concurrency", pool]:
                counts = pool in used
            case ["pools", pool, "call"]:
                counts = pool in guessed
            case _:
                counts = False
        if counts and fact.content["sure"] in UNSURE:
            yield fact


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 0.05 else f"{value:.2g}"
