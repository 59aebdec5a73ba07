"""The catalogue's numbers, in the words of a finding."""

from datetime import date
from functools import cache
from typing import Any, NamedTuple

from .. import catalogue

USUAL_PLAN = "creator"  # the template's own default


class Ending(NamedTuple):
    """A model or a voice that ended, or will."""

    id: str
    name: str
    state: str  # retired, deprecated, superseded, legacy
    day: date | None
    successor: str | None
    note: str


@cache
def load() -> dict[str, Any]:
    return catalogue.load()


def limit(pool: str, plan: str = USUAL_PLAN) -> int:
    """Requests in flight at once."""
    number: int = load()["plans"][plan]["concurrency"][pool]["limit"]
    return number


def highest_limit(pool: str) -> int:
    """Of the plans that anybody can buy."""
    limits: list[int | None] = [plan["concurrency"][pool]["limit"] for plan in load()["plans"].values()]
    return max(number for number in limits if number)


def pool_of(model: str) -> str:
    known = load()["models"].get(model, {}).get("pool")
    return str(known or "standard")


def usd_per_1000(model: str = "") -> float:
    models = load()["models"]
    usd: float = (
        models.get(model, {}).get("usd_per_1000_characters")
        or models["eleven_multilingual_v2"]["usd_per_1000_characters"]
    )
    return usd


def sdk(name: str) -> Any:
    return load()["sdk"][name]["value"]


@cache
def models() -> dict[str, Ending]:
    return {
        name: Ending(name, name, model["status"], None, model.get("successor"), model.get("note", ""))
        for name, model in load()["models"].items()
        if model["status"] in ("retired", "deprecated", "superseded")
    }


@cache
def voices() -> dict[str, Ending]:
    """By id and, for the SDK's old ``generate``, by name."""
    listed = load()["voices"]
    found: dict[str, Ending] = {}
    replaced = {voice["voice_id"]: voice["name"] for voice in listed["replacements"]}
    for voice in listed["retiring"]:
        new = voice["successor"]
        successor = f"{replaced.get(new, '')} {new}".strip() if new else None
        ending = Ending(
            voice["voice_id"] or "", voice["name"], "retired", catalogue.day(voice["retires"]), successor, ""
        )
        found |= {name: ending for name in (voice["voice_id"], voice["name"]) if name}
    for voice in listed["legacy"]:
        ending = Ending(voice["voice_id"], voice["name"], "legacy", None, None, voice["state"])
        found |= {voice["voice_id"]: ending, voice["name"]: ending}
    return found


def default_voice() -> str:
    voice = load()["voices"]["template_default"]
    return f"{voice['name']} {voice['voice_id']}"
