"""What the vendor tells about models, voices and the account; every field that its own SDKs read."""

from collections.abc import Mapping
from typing import Any

from ..catalogue import CATALOGUE, languages
from .account import Account
from .refusals import refusal
from .rules import VOICE_ID

PAGE_MAX = 100


def models() -> list[dict[str, Any]]:
    return [_model(name, spec) for name, spec in CATALOGUE["models"].items() if _offered(spec)]


def _offered(spec: Mapping[str, Any]) -> bool:
    return bool(spec["kind"] == "tts" and spec["status"] != "retired")


def _model(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    longest = spec["max_characters"]
    return {
        "model_id": name,
        "name": name.replace("_", " ").title(),
        "can_be_finetuned": False,
        "can_do_text_to_speech": True,
        "can_do_voice_conversion": False,
        "can_use_style": spec["style"],
        "can_use_speaker_boost": spec["speaker_boost"],
        "serves_pro_voices": False,
        "token_cost_factor": 1.0,
        "description": "",
        "requires_alpha_access": False,
        "max_characters_request_free_user": longest,
        "max_characters_request_subscribed_user": longest,
        "maximum_text_length_per_request": longest,
        "languages": [{"language_id": code, "name": code} for code in languages(spec["languages"])],
        "model_rates": {
            "character_cost_multiplier": spec["credits_per_character"],
            "cost_discount_multiplier": 1.0,
        },
        "concurrency_group": spec.get("concurrency_group", spec["pool"]),
    }


def voices() -> list[dict[str, Any]]:
    known = CATALOGUE["voices"]
    return [
        voice(entry["voice_id"], entry["name"])
        for entry in known["replacements"] + known["retiring"]
        if entry["voice_id"]
    ]


def voice(voice_id: str, name: str) -> dict[str, Any]:
    return {
        "voice_id": voice_id,
        "name": name,
        "category": "premade",
        "labels": {},
        "available_for_tiers": [],
        "high_quality_base_model_ids": [],
    }


def one_voice(voice_id: str) -> dict[str, Any]:
    """Raises Refusal; here the vendor says 400 to an unknown voice, and 404 where it should speak."""
    if not VOICE_ID.match(voice_id):
        raise refusal("invalid_uid", f"An invalid ID has been received: {voice_id[:60]!r}.")
    if voice_id.lower().startswith("unknown"):
        raise refusal("voice_not_found", f"A voice with voice_id {voice_id} was not found.", 400)
    named = {entry["voice_id"]: entry for entry in voices()}
    return named.get(voice_id) or voice(voice_id, "Sandbox")


def search_voices(query: Mapping[str, list[str]]) -> dict[str, Any]:
    """A page of voices; the token of the next page is where it begins."""
    wanted, text = query.get("voice_ids"), query.get("search", [""])[0].lower()
    found = [
        entry for entry in voices() if text in entry["name"].lower() and (not wanted or entry["voice_id"] in wanted)
    ]
    start, size = _whole(query, "next_page_token", 0), min(PAGE_MAX, _whole(query, "page_size", 10))
    more = start + size < len(found)
    return {
        "voices": found[start : start + size],
        "has_more": more,
        "total_count": len(found),
        "next_page_token": str(start + size) if more else None,
    }


def _whole(query: Mapping[str, list[str]], name: str, default: int) -> int:
    text = query.get(name, [""])[0]
    return int(text) if text.isdecimal() else default


def subscription(account: Account) -> dict[str, Any]:
    plan = CATALOGUE["plans"][account.tier]
    extends = account.remaining is None
    return {
        "tier": account.tier,
        "character_count": account.credits + account.others,
        "character_limit": account.quota,
        "max_character_limit_extension": None,
        "max_credit_limit_extension": "unlimited" if extends else 0,
        "can_extend_character_limit": extends,
        "allowed_to_extend_character_limit": extends,
        "next_character_count_reset_unix": account.resets_at,
        "voice_slots_used": 0,
        "professional_voice_slots_used": 0,
        "professional_voice_slots_used_in_workspace": 0,
        "voice_limit": 30,
        "max_voice_add_edits": 90,
        "voice_add_edit_counter": 0,
        "professional_voice_limit": 1,
        "can_extend_voice_limit": False,
        "can_use_instant_voice_cloning": account.tier != "free",
        "can_use_professional_voice_cloning": False,
        "currency": "usd",
        "current_overage": {"amount": "0", "currency": "usd"},
        "status": "active" if plan["price_usd_month"] else "free",
        "billing_period": "monthly_period",
        "character_refresh_period": "monthly_period",
        "next_invoice": None,
        "open_invoices": [],
        "has_open_invoices": False,
        "cancels_immediately": False,
        "pending_change": None,
    }


def user(account: Account) -> dict[str, Any]:
    return {
        "user_id": "sandbox",
        "workspace_id": "sandbox",
        "subscription": subscription(account),
        "is_new_user": False,
        "can_use_delayed_payment_methods": False,
        "is_onboarding_completed": True,
        "is_onboarding_checklist_completed": True,
        "created_at": 0,
        "seat_type": "workspace_admin",
    }
