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
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

from .catalogue import CATALOGUE, DEFAULT_FORMAT, VOICE_ID, Model, format_refused, media_type
from .errors import InvalidRequest

CacheMode = Literal["use", "refresh", "off"]
Shape = Literal["audio", "timestamps", "timestamps-lines"]

STITCHING = ("previous_request_ids", "next_request_ids")
NOT_OFFERED = ("webhook", "source_url", "cloud_storage_url")


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
        dictionaries = self.fields.get("pronunciation_dictionary_locators") or ()
        return (
            self.query.get("enable_logging") is not False
            and not any(self.fields.get(name) for name in STITCHING)
            and all(locator.get("version_id") for locator in dictionaries)
        )

    def key(self, scope: str = "") -> str:
        """A hash over all that can change the audio. The text can't be read back from it."""
        parts = [
            scope,
            self.model_id,
            self.voice_id,
            self.output_format,
            self.text,
            self.fields,
            self.query,
            self.shape,
        ]
        canonical = json.dumps(_plain(parts), sort_keys=True, separators=(",", ":"))
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
        _check_types(self.fields, _TTS_TYPES)
        _check_types(self.query, _QUERY_TYPES)
        _check_ranges(self.fields, model)


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """A recording to transcribe. ``audio`` is bytes, a path, or a binary file that can seek: a retry reads it again."""

    audio: bytes | Path | BinaryIO
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
        _model(self.model_id, "stt", rules)
        for name in NOT_OFFERED:
            if self.fields.get(name) not in (None, False):
                raise InvalidRequest(f"{name} is not offered here; send the file itself", code="not_offered")
        _check_types(self.fields, _STT_TYPES)
        if self.fields.get("num_speakers") and not self.fields.get("diarize"):
            raise InvalidRequest("num_speakers needs diarize=true")


Request = SpeechRequest | TranscriptionRequest


def speakable(text: str) -> int:
    """Characters that are spoken: letters and digits; not blanks, tags, emoji or punctuation."""
    return sum(c.isalnum() for c in re.sub(r"<[^>]*>|\[[^\]]*\]", "", text))


def expected_seconds(text: str) -> float:
    """15 speakable characters a second, 8 of Chinese, Japanese, Korean or Arabic."""
    slow = sum(unicodedata.name(c, "").startswith(_SLOW_SCRIPTS) for c in text)
    return max(0, speakable(text) - slow) / 15 + slow / 8


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
    model = rules.models.get(model_id) if isinstance(model_id, str) else None
    if model and model.kind == kind:
        return model
    retired = CATALOGUE["models"].get(model_id, {}).get("successor") if isinstance(model_id, str) else None
    known = ", ".join(name for name, row in rules.models.items() if row.kind == kind)
    raise InvalidRequest(
        f"model_id is retired; use {retired}" if retired and not model else f"model_id is unknown; known: {known}"
    )


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


# Name -> what it must be: a type, a set of words, or (lowest, highest). A wrong type is malformed, a wrong number invalid.
_TTS_TYPES: dict[str, Any] = {
    "language_code": str, "voice_settings": dict, "pronunciation_dictionary_locators": list, "seed": int,
    "previous_text": str, "next_text": str, "previous_request_ids": list, "next_request_ids": list,
    "apply_text_normalization": {"auto", "on", "off"}, "apply_language_text_normalization": bool, "use_pvc_as_ivc": bool,
}  # fmt: skip
_SETTINGS_TYPES: dict[str, Any] = {
    "stability": (0, 1), "similarity_boost": (0, 1), "style": (0, 1), "clone_strength": (0, 1), "speed": float, "use_speaker_boost": bool,
}  # fmt: skip
_QUERY_TYPES: dict[str, Any] = {"enable_logging": bool, "optimize_streaming_latency": (0, 4)}
_STT_TYPES: dict[str, Any] = {
    "language_code": str, "tag_audio_events": bool, "timestamps_granularity": {"none", "word", "character"}, "diarize": bool,
    "num_speakers": (1, 32), "diarization_threshold": (0.1, 0.4), "additional_formats": list, "file_format": {"other", "pcm_s16le_16"},
    "temperature": (0, 2), "seed": int, "use_multi_channel": bool, "keyterms": list, "no_verbatim": bool,
}  # fmt: skip


def _check_types(fields: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        wanted = types.get(name)
        if isinstance(wanted, set) and value not in wanted:
            raise InvalidRequest(f"{name} is one of {', '.join(sorted(wanted))}", code="malformed")
        if isinstance(wanted, type) and not _is(value, wanted):
            raise InvalidRequest(f"{name} has the wrong type; {wanted.__name__} is wanted", code="malformed")
        if isinstance(wanted, tuple):
            _check_number(name, value, *wanted)


def _is(value: Any, wanted: type) -> bool:
    if wanted in (int, float):
        return isinstance(value, (int, wanted)) and not isinstance(value, bool)
    return isinstance(value, wanted)


def _check_number(name: str, value: Any, lowest: float, highest: float) -> None:
    if not _is(value, float) or not math.isfinite(value):
        raise InvalidRequest(f"{name} is a number", code="malformed")
    if not lowest <= value <= highest:
        raise InvalidRequest(f"{name} is from {lowest} to {highest}")


def _check_ranges(fields: Mapping[str, Any], model: Model) -> None:
    settings = fields.get("voice_settings") or {}
    _check_types({name: v for name, v in settings.items() if v is not None}, _SETTINGS_TYPES)
    if model.facts.get("speed") and settings.get("speed") is not None:
        _check_number("speed", settings["speed"], *model.facts["speed"])
    for name in STITCHING + ("pronunciation_dictionary_locators",):
        if len(fields.get(name) or ()) > 3:
            raise InvalidRequest(f"{name} holds three at most")
    if not all(isinstance(x, Mapping) for x in fields.get("pronunciation_dictionary_locators") or ()):
        raise InvalidRequest("pronunciation_dictionary_locators holds objects", code="malformed")
    for name, fact in (
        ("previous_text", "previous_text"),
        ("next_text", "previous_text"),
        *((n, "previous_request_ids") for n in STITCHING),
    ):
        if fields.get(name) and model.facts.get(fact) is False:
            raise InvalidRequest(f"{name} is not supported by {model.id}")
