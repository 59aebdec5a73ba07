"""The vendor's facts, read from generator/catalogue/*.yaml: the one home of each number.

A fact is a mapping that says where it comes from (``source``), how old that is (``read``) and how sure (``sure``).
"""

from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # eight times as quick, where libyaml is
FOLDER = files(__package__) / "catalogue"
TOPICS: dict[str, tuple[str, ...]] = {
    "plans": ("plans", "pools", "concurrency_rules", "limits"),
    "models": ("models", "qualities", "languages", "voices"),
    "errors": ("errors",),
    "prices": ("prices",),
}
CERTAIN = ("documented", "live", "sdk")  # what a validation may refuse by


class Fact(NamedTuple):
    path: str
    read: date
    content: dict[str, Any]


def load() -> dict[str, Any]:
    """All files as one mapping, as speech/catalogue.json holds it."""
    catalogue: dict[str, Any] = {}
    for file in sorted(FOLDER.iterdir(), key=lambda file: file.name):
        catalogue |= yaml.load(file.read_text("utf-8"), LOADER)
    return catalogue


def facts(node: Any, path: str = "") -> Iterator[Fact]:
    """Every fact below *node*, with the path that leads to it."""
    if isinstance(node, dict):
        if "source" in node:
            yield Fact(path, day(node["read"]), node)
        for key, value in node.items():
            yield from facts(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from facts(value, f"{path}[{index}]")


def day(read: str) -> date:
    """The day of ``2026-09-17``; of ``2026-09`` or ``2026`` the first that it may be."""
    year, month, day_of_month = [int(part) for part in str(read).split("-")] + [1] * (2 - str(read).count("-"))
    return date(year, month, day_of_month)


class Ending(NamedTuple):
    """What should be used no more: the day it *ends* if one is announced, and what takes its place, if anything."""

    part: str
    name: str
    id: str | None
    state: str
    ends: date | None
    successor: str | None
    fact: dict[str, Any]

    @property
    def days_left(self) -> int | None:
        return (self.ends - date.today()).days if self.ends else None

    def as_data(self) -> dict[str, Any]:
        ends = self.ends.isoformat() if self.ends else None
        return self._asdict() | {"ends": ends, "days_left": self.days_left}


def endings(catalogue: dict[str, Any]) -> list[Ending]:
    """Voices, models and plans that retire or have retired; those with a day first."""
    voices, models, plans = (catalogue[part] for part in ("voices", "models", "plans"))
    names = {voice["voice_id"]: f"{voice['name']} {voice['voice_id']}" for voice in voices["replacements"]}
    found = [
        Ending("voices", v["name"], v["voice_id"], "ends", day(v["retires"]), names.get(v["successor"]), v)
        for v in voices["retiring"]
    ]
    found += [Ending("voices", v["name"], v["voice_id"], v["state"], None, None, v) for v in voices["legacy"]]
    found += [
        Ending("models", name, name, model["status"], None, model.get("successor"), model)
        for name, model in models.items()
        if model["status"] in ("deprecated", "superseded", "retired")
    ]
    found += [
        Ending("plans", name, name, "ends", day(plan["retired"]), plan.get("successor"), plan)
        for name, plan in plans.items()
        if "retired" in plan
    ]
    return sorted(found, key=lambda ending: (ending.ends or date.max, ending.part))
