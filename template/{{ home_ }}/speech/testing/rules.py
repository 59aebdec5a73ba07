"""What the vendor refuses in a request to speak, and how.

Texts may be 1.1 times as long as documented; ``speed`` is checked only where the model honours it; unknown fields are
ignored.  Every voice id of the right shape is known, except one that starts with ``unknown``.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..catalogue import CATALOGUE
from .account import Price
from .refusals import Refusal, malformed, refusal

MODELS, FORMATS = CATALOGUE["models"], CATALOGUE["formats"]
VOICE_ID = re.compile(CATALOGUE["voices"]["id_pattern"]["regex"])
LEGACY = {voice["voice_id"] for voice in CATALOGUE["voices"]["legacy"]}
TIERS = ("free", "payg", "starter", "creator", "pro", "scale", "business", "enterprise")
DEFAULT_MODEL, DEFAULT_FORMAT = "eleven_multilingual_v2", "mp3_44100_128"
NUMBER, TEXT, WHOLE, YES_NO, LIST, OBJECT = (int, float), (str,), (int,), (bool,), (list,), (dict,)
SAYS = {
    NUMBER: ("float_type", "Input should be a valid number"),
    TEXT: ("string_type", "Input should be a valid string"),
    WHOLE: ("int_type", "Input should be a valid integer"),
    YES_NO: ("bool_type", "Input should be a valid boolean"),
    LIST: ("list_type", "Input should be a valid list"),
    OBJECT: ("dict_type", "Input should be a valid dictionary"),
}
BODY = {
    **dict.fromkeys(("text", "model_id", "language_code", "previous_text", "next_text"), TEXT),
    **dict.fromkeys(("previous_request_ids", "next_request_ids", "pronunciation_dictionary_locators"), LIST),
    **dict.fromkeys(("apply_language_text_normalization", "use_pvc_as_ivc"), YES_NO),
    "voice_settings": OBJECT,
    "seed": WHOLE,
    "apply_text_normalization": TEXT,
}
SETTINGS = {
    **dict.fromkeys(("stability", "similarity_boost", "style", "speed", "clone_strength"), NUMBER),
    "use_speaker_boost": YES_NO,
}


@dataclass(frozen=True)
class Speech:
    """A request to speak that would be served."""

    voice_id: str
    text: str = field(repr=False)
    model_id: str
    output_format: str
    speed: float
    stored: bool
    identity: str = field(repr=False)

    @property
    def price(self) -> Price:
        model, characters = MODELS[self.model_id], len(self.text)
        credits = math.ceil(characters * model["credits_per_character"])
        if not self.text.strip() and str(model["empty_text"]).endswith("bills 1"):
            credits = max(1, credits)
        return Price(credits, characters * model["usd_per_1000_characters"] / 1000, characters)


def read_speech(tier: str, voice_id: str, query: Mapping[str, list[str]], raw: bytes, streamed: bool) -> Speech:
    """Raises Refusal, in the vendor's order: the shape of the body, the voice, the format, the model."""
    body = _body(raw)
    output_format = query.get("output_format", [DEFAULT_FORMAT])[-1]
    _check_voice(tier, voice_id)
    _check_format(tier, output_format, streamed)
    model_id = body.get("model_id") or DEFAULT_MODEL
    if MODELS.get(model_id, {}).get("kind") != "tts" or MODELS[model_id]["status"] == "retired":
        raise refusal("model_not_found", f"A model with model ID {model_id[:60]} does not exist.")
    _check_model(model_id, body)
    settings = body.get("voice_settings") or {}
    speed = _check_settings(MODELS[model_id], settings)
    identity = json.dumps([voice_id, output_format, body], sort_keys=True)
    stored = query.get("enable_logging", ["true"])[-1] != "false" or tier != "enterprise"
    return Speech(voice_id, body["text"], model_id, output_format, speed, stored, identity)


def _body(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw.decode("utf-8") or "null")
    except UnicodeDecodeError:
        raise Refusal(400, "There was an error parsing the body") from None
    except (ValueError, RecursionError):
        raise malformed(("json_invalid", ["body", 0], "JSON decode error")) from None
    if not isinstance(body, dict):
        raise malformed(("missing", ["body"], "Field required"))
    if "text" not in body:
        raise malformed(("missing", ["body", "text"], "Field required"))
    problems = _ill_typed(body, BODY, ["body"])
    if not problems and body.get("voice_settings"):
        problems = _ill_typed(body["voice_settings"], SETTINGS, ["body", "voice_settings"])
    if body.get("apply_text_normalization") not in (None, "auto", "on", "off"):
        problems.append(("enum", ["body", "apply_text_normalization"], "Input should be 'auto', 'on' or 'off'"))
    if problems:
        raise malformed(*problems)
    return body


def _ill_typed(given: dict[str, Any], types: Mapping[str, Any], place: list[str | int]) -> list[Any]:
    """One problem for each field of the wrong type; null is as good as absent, but for the text."""
    return [
        (SAYS[allowed][0], [*place, name], SAYS[allowed][1])
        for name, allowed in types.items()
        if name in given and not _fits(given[name], allowed, may_be_null=name != "text")
    ]


def _fits(value: Any, allowed: tuple[type, ...], may_be_null: bool) -> bool:
    if value is None:
        return may_be_null
    return isinstance(value, allowed) and (allowed is YES_NO or not isinstance(value, bool))


def _check_voice(tier: str, voice_id: str) -> None:
    if not VOICE_ID.match(voice_id):
        raise refusal("invalid_uid", f"An invalid ID has been received: {voice_id[:60]!r}.")
    if voice_id.lower().startswith("unknown"):
        raise refusal("voice_not_found", f"A voice with voice_id {voice_id} was not found.", 404)
    if tier == "free" and voice_id in LEGACY:
        raise refusal("paid_plan_required", "Free users cannot use library voices via the API.")


def _check_format(tier: str, name: str, streamed: bool) -> None:
    spec = FORMATS.get(name)
    if spec is None or (streamed and name.startswith("wav")):
        raise refusal("invalid_output_format", f"Invalid output format. Allowed are: {', '.join(FORMATS)}")
    needed = spec["min_tier"] or "enterprise"
    if TIERS.index(tier) < TIERS.index(needed):
        tail = f"is only available on the {needed.title()} tier and above."
        raise refusal("output_format_not_allowed", f"Output format {name} {tail}")


def _check_model(model_id: str, body: dict[str, Any]) -> None:
    model, text = MODELS[model_id], body["text"]
    if len(text) > model["enforced_max_characters"]:
        limit = model["max_characters"]
        message = f"Request text length ({len(text)}) exceeds the maximum text length of {limit} characters"
        raise refusal("text_too_long", message)
    if model["empty_text"] == "400" and not any(char.isalnum() for char in text):
        raise refusal("input_text_empty", "The text must not be empty.")
    for kind in ("text", "request_ids"):
        names = [f"previous_{kind}", f"next_{kind}"]
        if model[f"previous_{kind}"] is False and any(body.get(name) for name in names):
            message = f"Providing {' or '.join(names)} is not yet supported with the '{model_id}' model."
            raise refusal("unsupported_model", message)
        if kind == "request_ids" and any(len(body.get(name) or []) > 3 for name in names):
            raise refusal("invalid_parameters", "At most 3 request ids can be given.")
    _check_language(model_id, body.get("language_code"))


def _check_language(model_id: str, code: str | None) -> None:
    """Multilingual v2 ignores the field; the others refuse what they can't speak."""
    if not code or model_id == DEFAULT_MODEL:
        return
    known = CATALOGUE["languages"].get(str(MODELS[model_id]["languages"]), {}).get("codes")
    if code not in known if known else not re.fullmatch("[a-z]{2,3}", code):
        message = f"Model '{model_id}' does not support language_code '{code[:20]}'."
        raise refusal("unsupported_language", message)


def _check_settings(model: dict[str, Any], settings: dict[str, Any]) -> float:
    """The speed at which the model will speak."""
    ranges = {"stability": (0, 1), "similarity_boost": (0, 1), "style": (0, 1), "speed": model["speed"]}
    for name, bounds in ranges.items():
        value = settings.get(name)
        if bounds and value is not None and not bounds[0] <= value <= bounds[1]:
            message = f"Invalid setting for {name} received, expected to be between {bounds[0]} and {bounds[1]}."
            raise refusal("invalid_voice_settings", message)
    return float(settings.get("speed") or 1.0) if model["speed"] else 1.0
