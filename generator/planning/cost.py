"""A month's bill on a plan, by the catalogue: list prices in USD, the plan's allowance, and what lies above it.

The vendor counts twice.  New accounts pay in USD at list price, the plan's own price being the allowance, and what is
above it out of money topped up beforehand.  Legacy accounts count credits, and from Creator on pay for each 1,000 more.
Speech to text is known in USD alone, and is taken here to be paid beside the allowance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Use:
    """A month: characters by pool, and hours of speech to text."""

    standard: float = 0.0
    flash: float = 0.0
    stt_hours: float = 0.0


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices of the models that stand for their pools, in USD; credits are upper bounds."""

    standard: float
    flash: float
    stt_hour: float
    standard_credits: float
    flash_credits: float
    top_up: float

    @classmethod
    def of(cls, catalogue: Facts) -> "Prices":
        standard, flash, stt = (catalogue["models"][name] for name in default_models(catalogue))
        return cls(
            standard["usd_per_1000_characters"] / 1000,
            flash["usd_per_1000_characters"] / 1000,
            stt["usd_per_hour"],
            standard["credits_per_character"],
            flash["credits_per_character"],
            catalogue["prices"]["payg"]["minimum_top_up_usd"],
        )

    def speech(self, use: Use) -> float:
        return use.standard * self.standard + use.flash * self.flash

    def credits(self, use: Use) -> float:
        return use.standard * self.standard_credits + use.flash * self.flash_credits

    def allowance(self, plan: Facts) -> float:
        """In USD: the characters that it includes, at the price of the standard pool; else what its credits buy."""
        name = f"at_{self.standard * 1000:.2f}".replace(".", "_")
        characters = plan.get("included_characters", {}).get(name, plan["credits_month"] / self.standard_credits)
        return float(characters * self.standard)


@dataclass(frozen=True, slots=True)
class Bill:
    """USD in a month. ``top_up`` is what has to be paid on top, at least: what is left of it lasts for a year.

    ``total_if_stt_included`` is what it would be if the plan's allowance paid for speech to text too.
    ``legacy_total`` is None where a legacy account stops at its last credit, and the load needs more.
    """

    plan: float
    speech: float
    allowance: float
    over: float
    stt: float
    top_up: float
    total: float
    total_if_stt_included: float
    credits: float
    credits_included: float
    legacy_total: float | None


def default_models(catalogue: Facts) -> tuple[str, str, str]:
    """Whose price and speed stand for the pools standard, flash and stt."""
    models = catalogue["models"]
    standard = next(name for name, row in models.items() if row.get("api_default"))
    stt = next(name for name, row in models.items() if row["kind"] == "stt" and row.get("default"))
    return standard, catalogue["qualities"]["realtime"]["models"][0], stt


def bill(plan: Facts, prices: Prices, use: Use) -> Bill | None:
    """None for a contract, whose numbers nobody publishes."""
    if plan["price_usd_month"] is None:
        return None
    price, speech, allowance = float(plan["price_usd_month"]), prices.speech(use), prices.allowance(plan)
    over, stt, credits = max(0.0, speech - allowance), use.stt_hours * prices.stt_hour, prices.credits(use)
    top_up, included = topped_up(over + stt, prices), topped_up(max(0.0, speech + stt - allowance), prices)
    legacy = _legacy(plan, credits)
    return Bill(
        plan=price,
        speech=speech,
        allowance=allowance,
        over=over,
        stt=stt,
        top_up=top_up,
        total=price + top_up,
        total_if_stt_included=price + included,
        credits=credits,
        credits_included=float(plan["credits_month"]),
        legacy_total=None if legacy is None else price + legacy + stt,
    )


def topped_up(usd: float, prices: Prices) -> float:
    """What has to be paid in beforehand; a millionth of a dollar is rounding."""
    return max(prices.top_up, usd) if usd > 1e-6 else 0.0


def _legacy(plan: Facts, credits: float) -> float | None:
    """What usage-based billing asks for, above the plan's credits."""
    above, price = max(0.0, credits - plan["credits_month"]), plan["over_allowance"]["legacy_usd_per_1000_credits"]
    if above <= 0:
        return 0.0
    return None if price is None else above / 1000 * price
