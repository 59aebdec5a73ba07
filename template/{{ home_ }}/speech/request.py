"""What may be asked for: a text to speak, or a recording to transcribe; checked before any money is spent.

A request is refused or sent as it is, never rewritten. What decides who is served first (priority, deadline, caller,
cache) is not part of it: that is ``Terms``, so that equal requests stay equal whoever asks.
"""

import enum
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, Literal

from .catalogue import CATALOGUE, DEFAULT_FORMAT, VOICE_ID, Model, format_refused, media_type
from .errors import InvalidRequest

CacheMode = Literal["use", "refresh", "off"]
Shape = Literal["audio", "timestamps", "timestamps-lines"]

STITCHING = ("previous_request_ids", "next_request_ids")
FIELDS = CATALOGUE["fields"]


class Priority(enum.IntEnum):
    """Who goes first; smaller is sooner."""

    INTERACTIVE = 0
    NORMAL = 1
    BATCH = 2

    @classmethod
    def parse(cls, word: "str | Priority") -> "Priority":
        """Raise InvalidRequest for a word that is none of the three."""
        try:
            return word if isinstance(word, cls) else cls[str(word).upper()]
        except KeyError:
            raise InvalidRequest("priority is interactive, normal or batch", code="malformed") from None


@dataclass(frozen=True, slots=True)
class Terms:
    """How one caller wants it: ``deadline_s`` from now, to the last byte of whole audio, to the first of a stream."""

    priority: Priority = Priority.NORMAL
    deadline_s: float | None = None
    caller: str = "local"
    cache: CacheMode = "use"
    fault: str | None = None  # for the sandbox; passed on in development only


@dataclass(frozen=True, slots=True)
class Rules:
    """What this installation may ask for: its plan, and the models it knows."""

    tier: str
    models: Mapping[str, Model]


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """Text to speak. ``fields`` and ``query`` hold everything else of the vendor's request, unknown names too."""

    text: str
    voice_id: str
    model_id: str
    output_format: str = DEFAULT_FORMAT
    fields: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    shape: Shape = "audio"

    kind: ClassVar = "tts"
    weight: ClassVar = 1
    seconds: ClassVar = 0.0

    def __post_init__(self) -> None:
        """A null is an absent field, for the vendor and for the key alike."""
        object.__setattr__(self, "fields", {name: v for name, v in self.fields.items() if v is not None})

    @property
    def characters(self) -> int:
        """Code points: what is billed."""
        return len(self.text)

    @property
    def guess_s(self) -> float:
        """How long upstream may take for all of it."""
        return 1 + self.characters / 150

    @property
    def expected_s(self) -> float:
        """About how long the audio will be."""
        return expected_seconds(self.text) / float((self.fields.get("voice_settings") or {}).get("speed") or 1.0)

    @property
    def media_type(self) -> str:
        return media_type(self.output_format) if self.shape == "audio" else "application/json"

    @property
    def cacheable(self) -> bool:
        """Whether the same request always means the same audio, and may be kept at all."""
        if self.query.get("enable_logging") is False or any(self.fields.get(name) for name in STITCHING):
            return False
        return all(locator.get("version_id") for locator in self.fields.get("pronunciation_dictionary_locators") or ())

    def key(self, scope: str = "") -> str:
        """A hash over all that can change the audio. The text can't be read back from it."""
        named = (scope, self.model_id, self.voice_id, self.output_format, self.shape, self.text)
        canonical = json.dumps([named, _plain(self.fields), _plain(self.query)], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def price(self, model: Model) -> tuple[int, float]:
        """Credits at most, and the list price in USD."""
        return model.credits(self.characters), model.usd(self.characters)

    def validate(self, rules: Rules, *, streamed: bool = False) -> None:
        """Raise InvalidRequest for what can never be served: nothing was spent."""
        model = _model(self.model_id, "tts", rules)
        _check_text(self.text, model)
        if not isinstance(self.voice_id, str) or not VOICE_ID.match(self.voice_id):
            raise InvalidRequest("voice_id is 20 letters and digits; list yours with GET /v1/voices")
        if refused := format_refused(self.output_format, rules.tier, streamed or self.shape == "timestamps-lines"):
            raise InvalidRequest(refused)
        _check("text_to_speech", self.fields, model)
        _check("text_to_speech_query", self.query, model)
        settings = self.fields.get("voice_settings") or {}
        _check("voice_settings", {name: value for name, value in settings.items() if value is not None}, model)
        locators = self.fields.get("pronunciation_dictionary_locators") or ()
        if not all(isinstance(locator, dict) for locator in locators):
            raise InvalidRequest("pronunciation_dictionary_locators holds objects", code="malformed")


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """A recording to transcribe. ``audio`` is bytes, or a binary file that can seek: a retry reads it again."""

    audio: bytes | BinaryIO
    model_id: str
    filename: str = "audio"
    content_type: str = "application/octet-stream"
    seconds: float = 1.0
    channels: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)

    kind: ClassVar = "stt"
    characters: ClassVar = 0
    media_type: ClassVar = "application/json"
    cacheable: ClassVar = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", {name: v for name, v in self.fields.items() if v is not None})

    @property
    def weight(self) -> int:
        """Slots it takes: a long file is cut up at the vendor and counts more than once."""
        pool = CATALOGUE["pools"]["stt"]
        return int(min(pool["max_weight"], max(1, math.ceil(self.seconds / pool["segment_seconds"]))))

    @property
    def guess_s(self) -> float:
        """How long upstream may take for it."""
        return 1 + self.seconds / 8

    def price(self, model: Model) -> tuple[int, float]:
        """No credits; the list price in USD of what it seems to last."""
        return 0, self.usd(model, self.seconds)

    def usd(self, model: Model, seconds: float) -> float:
        """List price of ``seconds`` with what was ordered on top; the larger reading where two sources differ."""
        seconds *= min(5, self.channels) if self.fields.get("use_multi_channel") else 1
        surcharge = 0.0
        for addon in CATALOGUE["prices"]["stt_addons"]:
            if not (ordered := [self.fields[name] for name in addon["fields"] if self.fields.get(name)]):
                continue
            surcharge += addon.get("usd_per_hour", 0.0)
            surcharge += float(model.facts["usd_per_hour"]) * addon.get("percent_of_base", 0) / 100
            if "over_terms" not in addon or len(ordered[0]) > addon["over_terms"]:
                seconds = max(seconds, addon.get("minimum_seconds", 0))
        return model.usd_for(seconds, surcharge)

    def validate(self, rules: Rules, *, streamed: bool = False) -> None:
        """Raise InvalidRequest for what can never be served: nothing was spent."""
        model = _model(self.model_id, "stt", rules)
        if name := next((name for name in FIELDS["not_offered"]["fields"] if self.fields.get(name)), None):
            raise InvalidRequest(f"{name} is not offered here; send the file itself", code="not_offered")
        _check("speech_to_text", self.fields, model)
        if self.fields.get("num_speakers") and not self.fields.get("diarize"):
            raise InvalidRequest("num_speakers needs diarize=true")


Request = SpeechRequest | TranscriptionRequest


def expected_seconds(text: str) -> float:
    """15 letters and digits a second, 8 of Chinese, Japanese, Korean or Arabic; tags, blanks and emoji take no time."""
    spoken = [c for c in re.sub(r"<[^>]*>|\[[^\]]*\]", "", text) if c.isalnum()]
    slow = sum(unicodedata.name(c, "").startswith(_SLOW_SCRIPTS) for c in spoken)
    return (len(spoken) - slow) / 15 + slow / 8


_SLOW_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "ARABIC")


def _plain(value: Any) -> Any:
    """1 and 1.0 are one number in JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _model(model_id: str, kind: str, rules: Rules) -> Model:
    model = rules.models.get(str(model_id))
    if model and model.kind == kind:
        return model
    retired = CATALOGUE["models"].get(str(model_id), {}).get("successor")
    if retired and not model:
        raise InvalidRequest(f"model_id is retired; use {retired}")
    known = ", ".join(name for name, row in rules.models.items() if row.kind == kind)
    raise InvalidRequest(f"model_id is unknown; known: {known}")


def _check_text(text: str, model: Model) -> None:
    if not isinstance(text, str):
        raise InvalidRequest("text is a string", code="malformed")
    if not text.strip():
        raise InvalidRequest("text is empty")
    if "\0" in text or not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise InvalidRequest("text holds a NUL or half a surrogate pair; send valid Unicode")
    if len(text) > model.max_characters:
        raise InvalidRequest(f"text is {len(text)} characters; {model.id} takes {model.max_characters}: split it")
    if model.facts.get("empty_text") == "400" and not any(c.isalnum() for c in text):
        raise InvalidRequest(f"text has nothing that {model.id} can speak")


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float),
    "array": (list, tuple), "object": (dict,),
}  # fmt: skip


def _check(group: str, given: Mapping[str, Any], model: Model) -> None:
    """Against the catalogue's table. A wrong type or word is malformed, a wrong number invalid; unknown names pass."""
    table = FIELDS[group]["fields"]
    for name, value in given.items():
        if rule := table.get(name):
            _check_field(name, value, rule, model)


def _check_field(name: str, value: Any, rule: Mapping[str, Any], model: Model) -> None:
    fits = isinstance(value, _TYPES[rule["type"]]) and (rule["type"] == "boolean") == isinstance(value, bool)
    if not fits:
        raise InvalidRequest(f"{name} has the wrong type; {rule['type']} is wanted", code="malformed")
    if value not in rule.get("one_of", (value,)):
        raise InvalidRequest(f"{name} is one of {', '.join(rule['one_of'])}", code="malformed")
    bounds = model.facts.get(rule.get("range_of", "")) or rule.get("range")
    if bounds and not bounds[0] <= value <= bounds[1]:
        raise InvalidRequest(f"{name} is from {bounds[0]} to {bounds[1]}")
    if "most" in rule and len(value) > rule["most"]:
        raise InvalidRequest(f"{name} holds {rule['most']} at most")
    if model.facts.get(rule.get("needs", "")) is False:
        raise InvalidRequest(f"{name} is not supported by {model.id}")
