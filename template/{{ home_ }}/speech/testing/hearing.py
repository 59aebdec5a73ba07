"""What the vendor refuses in an upload, and what a good one costs."""

import re
from dataclasses import dataclass, field

from ..catalogue import CATALOGUE
from .account import Price
from .lengths import Sound, measure, raw_pcm
from .multipart import Part
from .refusals import Refusal, malformed, refusal

ADDONS = {row["fields"][0]: row for row in CATALOGUE["prices"]["stt_addons"]}
SECONDS_MIN = 0.1
CHOICES = {
    "timestamps_granularity": ("none", "word", "character"),
    "file_format": ("other", "pcm_s16le_16"),
    "multichannel_output_style": ("separate", "combined"),
}
RANGES = {"num_speakers": (1, 32), "temperature": (0, 2), "seed": (0, 2147483647), "diarization_threshold": (0.1, 0.4)}
YES_NO = (
    "tag_audio_events",
    "diarize",
    "use_multi_channel",
    "webhook",
    "no_verbatim",
    "use_speaker_library",
    "detect_speaker_roles",
)
TRUTHS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Hearing:
    """An upload that would be transcribed."""

    audio: bytes = field(repr=False)
    fields: dict[str, list[str]] = field(repr=False)
    sound: Sound

    def flag(self, name: str) -> bool:
        return TRUTHS.get(self.fields.get(name, [""])[0].lower(), False)

    @property
    def seconds(self) -> float:
        return self.sound.seconds

    @property
    def silent(self) -> bool:
        return self.sound.silent or self.seconds < SECONDS_MIN

    @property
    def weight(self) -> int:
        """Slots that a file takes: one for each eight minutes begun, at most four."""
        pool = CATALOGUE["pools"]["stt"]
        return int(max(1, min(pool["max_weight"], -(-self.seconds // pool["segment_seconds"]))))

    @property
    def price(self) -> Price:
        """List price by the second; what is silent costs nothing (unknown at the vendor, so assumed)."""
        if self.silent:
            return Price(0, 0.0)
        channels = self.sound.channels if self.flag("use_multi_channel") else 1
        base: float = CATALOGUE["models"][self.fields["model_id"][0]]["usd_per_hour"]
        seconds = max(self.seconds * channels, self._least_billed())
        return Price(0, (base + self._extras(base)) * seconds / 3600, seconds=seconds)

    def _extras(self, base: float) -> float:
        """Dollars an hour for what was asked beyond the words."""
        entities = "entity_detection" in self.fields or "entity_redaction" in self.fields
        hourly, percent = 0.0, 0
        if entities:
            hourly += ADDONS["entity_detection"]["usd_per_hour"]
        if "keyterms" in self.fields:
            hourly += ADDONS["keyterms"]["usd_per_hour"]
        if self.flag("detect_speaker_roles"):
            percent += ADDONS["detect_speaker_roles"]["percent_of_base"]
        if "transcript_edit" in self.fields:
            percent += ADDONS["transcript_edit"]["percent_of_base"]
        return hourly + base * percent / 100

    def _least_billed(self) -> float:
        if len(self.fields.get("keyterms", [])) > ADDONS["keyterms"]["over_terms"]:
            return float(ADDONS["keyterms"]["minimum_seconds"])
        return float(ADDONS["transcript_edit"]["minimum_seconds"]) if "transcript_edit" in self.fields else 0.0


def read_hearing(parts: list[Part]) -> Hearing:
    """Raises Refusal.  A part that says ``null`` is absent, as the SDK means it."""
    fields: dict[str, list[str]] = {}
    for part in parts:
        if not part.is_file and part.data != b"null":
            fields.setdefault(part.name, []).append(part.data.decode("utf-8", "replace"))
    files = [part.data for part in parts if part.name == "file" and part.is_file]
    _check_fields(fields)
    if not files:
        raise _no_file(fields)
    return _listen(files[0], fields)


def _check_fields(fields: dict[str, list[str]]) -> None:
    if "model_id" not in fields:
        raise malformed(("missing", ["body", "model_id"], "Field required"))
    if problems := [problem for name, values in fields.items() if (problem := _problem(name, values[0]))]:
        raise malformed(*problems)
    accepted = [name for name, model in CATALOGUE["models"].items() if model.get("pool") == "stt"]
    if fields["model_id"][0] not in accepted or fields["model_id"][0] == "scribe_v3":
        message = f"'{fields['model_id'][0][:60]}' is not a valid model_id. Only {', '.join(accepted)} are supported."
        raise refusal("invalid_model_id", message)
    if not re.fullmatch("[a-z]{2,3}", fields.get("language_code", ["en"])[0]):
        raise refusal("invalid_language_code", "The language code is not one that the model knows.")
    for term in fields.get("keyterms", []):
        if len(term) > 50 or len(term.split()) > 5:
            raise refusal("invalid_keyword_length", "A keyterm has at most 50 characters and 5 words.")
        if re.search(r"[<>{}\[\]\\]", term):
            raise refusal("invalid_keyword", "A keyterm holds a character that is not allowed.")


def _problem(name: str, value: str) -> tuple[str, list[str | int], str] | None:
    place: list[str | int] = ["body", name]
    if value not in CHOICES.get(name, (value,)):
        return "enum", place, f"Input should be one of {', '.join(CHOICES[name])}"
    if name in YES_NO and value.lower() not in TRUTHS:
        return "bool_parsing", place, "Input should be a valid boolean"
    if name in RANGES:
        low, high = RANGES[name]
        try:
            within = low <= float(value) <= high
        except ValueError:
            return "float_parsing", place, "Input should be a valid number"
        return None if within else ("out_of_range", place, f"Input should be between {low} and {high}")
    return None


def _no_file(fields: dict[str, list[str]]) -> Refusal:
    if "source_url" in fields or "cloud_storage_url" in fields:
        return refusal("invalid_request", "The URL could not be fetched.")
    return refusal("invalid_parameters", "Exactly one of file, source_url or cloud_storage_url must be provided.")


def _listen(audio: bytes, fields: dict[str, list[str]]) -> Hearing:
    if not audio:
        raise refusal("empty_file", "The uploaded file is empty.")
    raw = fields.get("file_format") == ["pcm_s16le_16"]
    sound = raw_pcm(audio) if raw else measure(audio)
    if sound is None:
        raise refusal("invalid_content", "File is corrupted. Please ensure it is playable audio.")
    return Hearing(audio, fields, sound)
