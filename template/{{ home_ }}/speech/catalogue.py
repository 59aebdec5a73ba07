"""The vendor's facts as the code reads them. ``catalogue.json`` is their one home: each with its source and date."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

CATALOGUE: dict[str, Any] = json.loads((Path(__file__).parent / "catalogue.json").read_text("utf-8"))

POOLS = ("standard", "flash", "stt", "stt_realtime")
HTTP_POOLS = POOLS[:3]  # what this version can call
TIERS = tuple(CATALOGUE["plans"])
VOICE_ID = re.compile(CATALOGUE["voices"]["id_pattern"]["regex"].rstrip("$") + r"\Z")
DEFAULT_VOICE: str = CATALOGUE["voices"]["template_default"]["voice_id"]
DEFAULT_FORMAT = next(name for name, row in CATALOGUE["formats"].items() if row.get("default"))
_MODELS: dict[str, dict[str, Any]] = CATALOGUE["models"]
DEFAULT_MODEL = next(name for name, row in _MODELS.items() if row.get("api_default"))
DEFAULT_STT_MODEL = next(name for name, row in _MODELS.items() if row["kind"] == "stt" and row.get("default"))
HOSTS: dict[str, str] = {name: row["url"] for name, row in CATALOGUE["hosts"].items()}
QUALITIES: dict[str, list[str]] = {name: row["models"] for name, row in CATALOGUE["qualities"].items()}

_RANKED = ("free", "starter", "creator", "pro", "scale", "business", "enterprise")


@dataclass(frozen=True, slots=True)
class Model:
    """One model: ``facts`` is its row. Prices are per character (text to speech) or per hour (speech to text)."""

    id: str
    kind: str
    pool: str
    facts: Mapping[str, Any]

    @property
    def max_characters(self) -> int:
        return int(self.facts["max_characters"])

    def credits(self, characters: int) -> int:
        """An upper bound, rounded up; ``character-cost`` says what was taken."""
        return math.ceil(characters * float(self.facts["credits_per_character"]))

    def usd(self, characters: int) -> float:
        """List price of that many code points."""
        return round(characters * float(self.facts["usd_per_1000_characters"]) / 1000, 9)

    def usd_for(self, seconds: float, surcharge_per_hour: float = 0.0) -> float:
        """List price of that much audio, transcribed."""
        return round(seconds / 3600 * (float(self.facts["usd_per_hour"]) + surcharge_per_hour), 9)


@cache
def models() -> dict[str, Model]:
    """Every model that may be asked for, by id: neither the retired nor those nobody has seen accepted."""
    known = {name: row for name, row in _MODELS.items() if row["status"] not in ("retired", "unconfirmed")}
    return {name: Model(name, row["kind"], row["pool"], row) for name, row in known.items()}


def languages(count: int | None) -> list[str]:
    """Codes that a model speaks, by how many it speaks; of the largest only those that all of them have are known."""
    known: dict[str, Any] = CATALOGUE["languages"]
    return list(known.get(str(count), known["32"])["codes"])


def limits(tier: str) -> dict[str, int]:
    """Requests in flight at once that a plan allows, by pool. An enterprise contract isn't published: as business."""
    rows, fallback = CATALOGUE["plans"][tier]["concurrency"], CATALOGUE["plans"]["business"]["concurrency"]
    return {pool: rows[pool]["limit"] or fallback[pool]["limit"] for pool in POOLS}


def format_refused(output_format: str, tier: str, streamed: bool) -> str | None:
    """Why a format can't be had, or None. A plan is held against it only where the catalogue is sure."""
    row = CATALOGUE["formats"].get(output_format)
    if row is None or not row.get("offer", True):
        offered = ", ".join(name for name, known in CATALOGUE["formats"].items() if known.get("offer", True))
        return f"output_format is unknown; known: {offered}"
    if streamed and row["endpoints"] != "all":
        return f"output_format {output_format} can't be streamed; ask for pcm or mp3, or for whole audio"
    if "tier_sure" not in row and tier in _RANKED and _RANKED.index(tier) < _RANKED.index(row["min_tier"]):
        return f"output_format {output_format} needs the {row['min_tier']} plan or above, this is {tier}"
    return None


def media_type(output_format: str) -> str:
    """The MIME type by the format asked for: what the vendor's own description says is always audio/mpeg."""
    return str(CATALOGUE["formats"][output_format]["mime"])
