"""The catalogue: every fact says where it comes from, how old that is and how sure."""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from rendering import OFFERED, ROOT, Renders, home

from generator import catalogue

CATALOGUE = catalogue.load()
FACTS = list(catalogue.facts(CATALOGUE))
STALE_AFTER = timedelta(days=90)
SURE = {"documented", "live", "sdk", "inferred", "reported", "assumed", "unknown"}
NO_FACTS = {"sources"}


def leaves(node: Any, path: str = "") -> Iterator[str]:
    """Paths of what no fact covers."""
    if isinstance(node, dict) and "source" not in node:
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from leaves(value, f"{path}[{index}]")
    elif not isinstance(node, dict):
        yield path


def test_every_number_belongs_to_a_fact() -> None:
    """Nothing stands in the catalogue that cannot be looked up again."""
    assert [leaf for name, part in CATALOGUE.items() if name not in NO_FACTS for leaf in leaves(part, name)] == []


def test_every_fact_says_how_sure_it_is() -> None:
    """`sure` is one of seven words, since the validation refuses only what is sure."""
    assert [(fact.path, fact.content.get("sure")) for fact in FACTS if fact.content.get("sure") not in SURE] == []


def test_every_source_is_listed() -> None:
    """An id in `source` leads to a place that can be read again."""
    named = {
        s
        for f in FACTS
        for s in (f.content["source"] if isinstance(f.content["source"], list) else [f.content["source"]])
    }

    assert named <= set(CATALOGUE["sources"])


def test_stale_facts_are_named() -> None:
    """Warns, not fails: age makes no fact wrong, but somebody should look (docs/catalogue.md says how)."""
    stale = [fact for fact in FACTS if date.today() - fact.read > STALE_AFTER]
    if stale:
        oldest = min(stale, key=lambda fact: fact.read)
        by_source = Counter(str(fact.content["source"]) for fact in stale).most_common(5)
        warnings.warn(
            f"{len(stale)} of {len(FACTS)} facts are older than 90 days, the oldest {oldest.path} of {oldest.read}; "
            f"most of {', '.join(f'{source} ({count})' for source, count in by_source)}",
            stacklevel=1,
        )

    assert all(fact.read <= date.today() for fact in FACTS)


def test_yaml_holds_no_jinja() -> None:
    """The files are included into a template: braces of their own would be rendered."""
    for file in (ROOT / "generator/catalogue").iterdir():
        assert not any(mark in file.read_text("utf-8") for mark in ("{{", "{%", "{#")), file.name


def test_first_choice_is_the_default_and_none_is_lost() -> None:
    """A plan that vanished would silently turn into the default on the next update."""
    assert set(CATALOGUE["plans"]) >= {"free", "payg", "starter", "creator", "pro", "scale", "business", "enterprise"}


@pytest.mark.parametrize("answers", [OFFERED[0], OFFERED[-1]], ids=["service", "package"])
def test_every_render_carries_all_of_it(renders: Renders, answers: dict[str, Any]) -> None:
    """speech/catalogue.json is the YAML, whole, whatever was answered."""
    rendered = json.loads((home(renders.of(answers)) / "speech/catalogue.json").read_text("utf-8"))

    assert rendered == CATALOGUE
