"""The vendor's facts, read from generator/catalogue/*.yaml: the one home of each number.

A fact is a mapping that says where it comes from (``source``), how old that is (``read``) and how sure (``sure``).
"""

from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is
FOLDER = files(__package__) / "catalogue"


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
