"""Calls that the project's version of the SDK has no more."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

from ..findings import Severity
from ..pins import Pin, version_of_sdk
from ..rule import Case, Hit, Rule, at
from ..spending import CLIENT
from ..syntax import Module


@cache
def removed() -> dict[str, dict[str, dict[str, Any]]]:
    text = (Path(__file__).parent.parent / "removed.yaml").read_text("utf-8")
    content: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(text)
    return content


def gone(case: Case) -> Iterator[Hit]:
    pin = version_of_sdk(case.project)
    for module in case.project.served:
        yield from imports(module, pin)
        for scope in module.scopes.values():
            for call in scope.calls:
                name = case.project.meaning.name(call.func, scope)
                if found := called(name):
                    if not (name.startswith("elevenlabs.") and isinstance(call.func, ast.Name)):
                        yield from judge(module, call, found[0], found[1], pin)


def imports(module: Module, pin: Pin) -> Iterator[Hit]:
    """``from elevenlabs import generate``: said once, where it fails first."""
    for node in (node for scope in module.scopes.values() for node in scope.nodes):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            first, _, rest = node.module.partition(".")
            if first != "elevenlabs":
                continue
            names = [rest.split(".")[0]] if rest else [alias.name for alias in node.names]
            for name in names:
                known = removed()["functions"].get(name)
                if known and not (known.get("called") and not calls(module, name)):
                    yield from judge(module, node, f"elevenlabs.{name}", known, pin)


def calls(module: Module, name: str) -> bool:
    """The SDK still has a module ``voices``: only calling it means the old function."""
    return any(
        isinstance(call.func, ast.Name) and call.func.id == name
        for scope in module.scopes.values()
        for call in scope.calls
    )


def called(name: str) -> tuple[str, dict[str, Any]] | None:
    if made := CLIENT.match(name):
        known = removed()["methods"].get(made[2])
        return (f"client.{made[2]}", known) if known else None
    if match := re.match(r"elevenlabs\.(\w+)(?:\.|$)", name):
        known = removed()["functions"].get(match[1])
        if known and (name == f"elevenlabs.{match[1]}" or match[1] in ("api", "simple")):
            return f"elevenlabs.{match[1]}", known
    return None


def judge(module: Module, node: ast.AST, what: str, known: dict[str, Any], pin: Pin) -> Iterator[Hit]:
    without = str(known["without"])
    if pin.version >= Version(without):
        yield at(
            module, node, f"{what} is gone since elevenlabs {without} ({pin.where})", mend=f"call {known['instead']}"
        )


RULES = [
    Rule(
        "removed-sdk-call", "A call that the SDK has no more", Severity.severe,
        "an ImportError or AttributeError at the first call, in production, since no type checker saw it",
        "call its successor, and pin the SDK's major version",
        gone,
    )
]  # fmt: skip
