"""A plan as plain data: what ``--json`` prints. USD, seconds, calls; shares from 0 to 1; null is unknown."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ..catalogue import Fact
from .choose import Plan, Pool, Tier
from .load import Input, option
from .waits import CALLS, RUNS, WARM_UP


def as_data(plan: Plan) -> Any:
    inputs = plan.load.inputs()
    return _rounded(
        {
            "inputs": {name: each.value for name, each in inputs.items()},
            "assumptions": [_assumption(name, each) for name, each in inputs.items() if each.origin != "given"],
            "method": f"{RUNS} runs of {CALLS} calls a pool, the first {WARM_UP:.0%} not counted; 95 % intervals",
            "slots_needed": plan.slots_needed,
            "tiers": [_tier(tier, plan) for tier in plan.tiers],
            "chosen": plan.chosen and plan.chosen.name,
            "cheapest_with_commercial_licence": plan.licensed and plan.licensed.name,
            "otherwise": None if plan.chosen else _otherwise(plan),
            "savings": [saving._asdict() for saving in plan.savings],
            "cache_hit_rate": plan.load.hit_rate,
            "uncertain_facts": [_fact(fact) for fact in plan.unsure],
        }
    )


def _assumption(name: str, each: Input) -> dict[str, Any]:
    return {"what": name, "value": each.value, "origin": each.origin, "why": each.why, "option": option_of(name)}


def option_of(name: str) -> str | None:
    """What would change it."""
    if name == "seconds_call_stt" or name == "peak_factor":
        return None
    return option("seconds_call" if name.startswith("seconds_call") else name)


def _tier(tier: Tier, plan: Plan) -> dict[str, Any]:
    return {
        "tier": tier.name,
        "price_usd_month": tier.facts["price_usd_month"],
        "total_usd_month": tier.bill and tier.bill.total,
        "cost": tier.bill and asdict(tier.bill),
        "first_month_usd": tier.facts.get("first_month_usd"),
        "over_allowance": tier.facts["over_allowance"]["new_accounts"],
        "commercial_licence": tier.facts["commercial_licence"],
        "concurrency": {pool.demand.pool: _pool(pool) for pool in tier.pools},
        "utilisation": tier.utilisation,
        "sufficient": tier.sufficient,
        "why_not": tier.why_not,
        "chosen": tier is plan.chosen,
    }


def _pool(pool: Pool) -> dict[str, Any]:
    waits = pool.waits and {name: value._asdict() for name, value in pool.waits._asdict().items()}
    return {
        "needed": pool.demand.at_once,
        "slots_needed": pool.demand.slots_needed,
        "given": pool.slots,
        "utilisation": pool.utilisation,
        "requests_a_second": pool.demand.rate,
        "wait_s": waits and {name: waits[name] for name in ("p50", "p95", "p99")},
        "late_share": waits and waits["late"],
        "refused_share": waits and waits["lost"],
    }


def _otherwise(plan: Plan) -> dict[str, Any]:
    return {"enterprise_with_slots": plan.slots_needed, "longer_wait": plan.patient and plan.patient._asdict()}


def _fact(fact: Fact) -> dict[str, Any]:
    what = fact.content
    return {"path": fact.path, **{name: what.get(name) for name in ("sure", "source", "read", "note")}}


def _rounded(node: Any) -> Any:
    """JSON knows no infinity, and nobody wants 17 digits."""
    if isinstance(node, dict):
        return {name: _rounded(value) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [_rounded(value) for value in node]
    return (round(node, 6) if math.isfinite(node) else None) if isinstance(node, float) else node


def grouped(unsure: tuple[Fact, ...]) -> Iterator[str]:
    """A line for all facts that are uncertain in the same way."""
    groups: dict[str, list[str]] = {}
    for fact in unsure:
        _, whose, *what = fact.path.split(".")
        word = {"call": "seconds that a call takes", "included_characters": "included characters"}
        said = fact.content
        source = said["source"] if isinstance(said["source"], str) else ", ".join(said["source"])
        line = f"{word.get(what[0], ' '.join(what))} {said['sure']} ({source}, {said['read']})"
        groups.setdefault(line, []).append(whose)
    return (f"{', '.join(whose)}: {line}" for line, whose in groups.items())
