"""`copier-elevenlabs catalogue`: every fact whole, and what retires before it does."""

import json
import re
import sys
from datetime import date, timedelta
from subprocess import CompletedProcess
from typing import Any

import pytest
from rendering import ROOT, run

from generator.catalogue import TOPICS, Ending, endings, facts, load
from generator.catalogue_tables import retiring

KNOWN = load()
WHOLE = {
    "plans": [*KNOWN["plans"], "121,000", "1,800,000", "2?"],
    "models": [*KNOWN["models"], *(v["voice_id"] for v in KNOWN["voices"]["retiring"] if v["voice_id"]), "10,000"],
    "errors": [row["legacy_status"] or row["code"] or "" for row in KNOWN["errors"]["rows"]],
    "prices": ["0.08 USD per 1000", "keyterms, 0.05 USD per hour", "scribe_v2, 0.22 USD per hour"],
}


def catalogue(*argv: str, **env: str) -> CompletedProcess[str]:
    return run(sys.executable, "-m", "generator", "catalogue", *argv, cwd=ROOT, **{"COLUMNS": ""} | env)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_pipe_gets_every_fact_whole(topic: str) -> None:
    """Plain text of 100 columns; no name is cut or folded, and each source is explained."""
    done = catalogue(topic)

    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in WHOLE[topic] if name not in done.stdout] == []
    assert not re.search(r"\x1b|…", done.stdout)
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= 100
    explained = set(re.findall(r"^(\w+)", done.stdout.partition("Sources")[2], re.M))
    used = {str(fact.content["source"]) for part in TOPICS[topic] for fact in facts(KNOWN[part])}
    assert {name for name in used if name in KNOWN["sources"]} <= explained


def test_a_narrow_terminal_folds_and_cuts_nothing() -> None:
    """At 60 columns there are as many letters as at 100."""
    narrow, wide = (re.sub(r"\s", "", catalogue("models", COLUMNS=width).stdout) for width in ("60", "100"))

    assert sorted(narrow) == sorted(wide)


def test_without_a_topic_it_says_what_retires_soon() -> None:
    """The default voices with their day and what to take instead, and the models to leave."""
    said = catalogue().stdout
    left = (date(2026, 12, 31) - date.today()).days

    assert (f"21 voices end on 2026-12-31, in {left} days" if left > 0 else "21 voices ended on 2026-12-31") in said
    assert re.search(r"Sarah EXAVITQu4vr4xnSDxMaL +ends +Talia OZ0L6eISlOejga3XjDFt +BOB +2026-07-23 +documented", said)
    assert re.search(r"eleven_turbo_v2_5 +deprecated +eleven_flash_v2_5", said)
    assert all(topic in said for topic in TOPICS)


def test_a_day_that_is_over_is_called_over() -> None:
    """A plan retired yesterday and one that ends tomorrow, as a maintainer marks them."""
    yesterday, tomorrow = (str(date.today() + timedelta(days=days)) for days in (-1, 1))
    known = KNOWN | {
        "plans": {
            name: plan | {"retired": day}
            for (name, plan), day in zip(KNOWN["plans"].items(), (yesterday, tomorrow), strict=False)
        }
    }
    found = [end for end in endings(known) if end.part == "plans"]

    assert [(end.name, end.days_left) for end in found] == [("free", -1), ("starter", 1)]
    assert [title(end) for end in found] == [f"1 plans ended on {yesterday}", f"1 plans end on {tomorrow}, in 1 days"]


def title(end: Ending) -> str:
    return str(retiring([end]).title)


@pytest.mark.parametrize("topic", ["", *TOPICS])
def test_json_leaves_nothing_out(topic: str) -> None:
    """The catalogue's own words for the topic, or for all; each fact with source, day and how sure."""
    said: dict[str, Any] = json.loads(catalogue(*filter(None, [topic]), "--json").stdout)
    ending = said.pop("endings")

    assert said == {part: KNOWN[part] for part in TOPICS.get(topic, set(KNOWN) - {"sources"})} | {
        "sources": KNOWN["sources"]
    }
    assert all({"ends", "days_left", "successor"} <= set(end) and end["fact"]["sure"] for end in ending)
    assert len(ending) == {"": 30, "models": 30}.get(topic, 0)


def test_a_topic_that_is_none_is_wrong_usage() -> None:
    """It lists those that there are."""
    done = catalogue("voices")

    assert (done.returncode, done.stdout) == (2, "")
    assert "'voices' is not one of 'plans', 'models', 'errors', 'prices'" in done.stderr
