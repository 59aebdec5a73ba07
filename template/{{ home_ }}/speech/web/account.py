"""What the vendor tells about models, voices and an account, told of this installation: every field its SDKs read.

Nothing is asked upstream: a key that may only speak can't read these, and is a good key.
"""

import calendar
import datetime
from collections.abc import Mapping
from typing import Any

from ..catalogue import CATALOGUE, DEFAULT_MODEL, Model, languages
from ..client import Client
from .reading import Pairs, malformed

PAGE_MAX = 100


def models(client: Client) -> list[dict[str, Any]]:
    """The models that may be asked for here, as ``GET /v1/models`` tells them."""
    return [_model(model) for model in client.house.rules.models.values() if model.kind == "tts"]


def _model(model: Model) -> dict[str, Any]:
    facts, longest = model.facts, model.max_characters
    return {
        "model_id": model.id,
        "name": model.id.replace("_", " ").title(),
        "can_be_finetuned": False,
        "can_do_text_to_speech": True,
        "can_do_voice_conversion": False,
        "can_use_style": bool(facts.get("style")),
        "can_use_speaker_boost": bool(facts.get("speaker_boost")),
        "serves_pro_voices": False,
        "token_cost_factor": 1.0,
        "description": "",
        "requires_alpha_access": False,
        "max_characters_request_free_user": longest,
        "max_characters_request_subscribed_user": longest,
        "maximum_text_length_per_request": longest,
        "languages": [{"language_id": code, "name": code} for code in languages(facts.get("languages"))],
        "model_rates": {
            "character_cost_multiplier": facts["credits_per_character"],
            "cost_discount_multiplier": 1.0,
        },
        "concurrency_group": facts.get("concurrency_group") or model.pool,
    }


def voices(default: str) -> list[dict[str, Any]]:
    """The voices that every account can speak with, and the one that speaks here when none is named."""
    known = {row["voice_id"]: row["name"] for row in CATALOGUE["voices"]["replacements"]}
    return [_voice(voice_id, name) for voice_id, name in ({default: "Default"} | known).items()]


def _voice(voice_id: str, name: str) -> dict[str, Any]:
    return {
        "voice_id": voice_id,
        "name": name,
        "category": "premade",
        "labels": {},
        "available_for_tiers": [],
        "high_quality_base_model_ids": [],
    }


def page_of_voices(default: str, query: Pairs) -> dict[str, Any]:
    """``GET /v2/voices``: the token of a page is where it begins. Raises InvalidRequest."""
    pairs = list(query)
    wanted = [value for name, value in pairs if name == "voice_ids"]
    last = dict(pairs)
    word = last.get("search", "").lower()
    found = [v for v in voices(default) if word in v["name"].lower() and (not wanted or v["voice_id"] in wanted)]
    start, size = _number(last, "next_page_token", 0), min(_number(last, "page_size", 10), PAGE_MAX)
    more = start + size < len(found)
    return {
        "voices": found[start : start + size],
        "has_more": more,
        "total_count": len(found),
        "next_page_token": str(start + size) if more else None,
    }


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise malformed(f"{name} is a whole number")
    return int(text)


def subscription(client: Client, tier: str, caller: str, usage: Mapping[str, Any], day: str) -> dict[str, Any]:
    """A caller's own: its daily budget as characters of the default model; without one, the plan's credits of a month.

    *usage* is what ``GET /usage`` tells that caller.
    """
    budget = usage["budgets"].get("callers", {}).get(caller)
    if budget:
        price = client.house.rules.models[DEFAULT_MODEL].usd(1)
        return _subscription(
            tier, round(budget["spent_usd"] / price), round(budget["limit_usd"] / price), _reset(day, 1)
        )
    plans = CATALOGUE["plans"]
    limit = plans[tier]["credits_month"] or plans["business"]["credits_month"]
    months = {row["month"]: row["credits"] + row["uncertain_credits"] for row in usage["by"]["month"]}
    return _subscription(tier, months.get(day[:7], 0), limit, _reset(day, _left_of_month(day)))


def _left_of_month(day: str) -> int:
    """Days until the first of the next month."""
    year, month, today = map(int, day.split("-"))
    return calendar.monthrange(year, month)[1] - today + 1


def _reset(day: str, days: int) -> int:
    """When the count begins anew: a midnight, UTC."""
    return calendar.timegm((datetime.date.fromisoformat(day) + datetime.timedelta(days=days)).timetuple())


def _subscription(tier: str, count: int, limit: int, reset: int) -> dict[str, Any]:
    return {
        "tier": tier,
        "character_count": count,
        "character_limit": limit,
        "max_character_limit_extension": None,
        "max_credit_limit_extension": 0,
        "can_extend_character_limit": False,
        "allowed_to_extend_character_limit": False,
        "next_character_count_reset_unix": reset,
        "voice_slots_used": 0,
        "professional_voice_slots_used": 0,
        "professional_voice_slots_used_in_workspace": 0,
        "voice_limit": 0,
        "max_voice_add_edits": None,
        "voice_add_edit_counter": 0,
        "professional_voice_limit": 0,
        "can_extend_voice_limit": False,
        "can_use_instant_voice_cloning": False,
        "can_use_professional_voice_cloning": False,
        "currency": "usd",
        "current_overage": {"amount": "0", "currency": "usd"},
        "status": "free" if tier == "free" else "active",
        "billing_period": "monthly_period",
        "character_refresh_period": "monthly_period",
        "next_invoice": None,
        "open_invoices": [],
        "has_open_invoices": False,
        "cancels_immediately": False,
        "pending_change": None,
        "has_used_starter_coupon_on_account": False,
        "has_used_creator_coupon_on_account": False,
        "is_eligible_for_starter_promo": False,
    }
