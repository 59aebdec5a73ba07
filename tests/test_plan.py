"""`copier-elevenlabs plan`: what it prints, as text, as JSON and as a file of answers; and a service's history."""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pexpect
import pytest
import yaml
from rendering import PLANS, ROOT, Renders, home, run
from typer.testing import CliRunner, Result

from benchmarks.planner import import_rendered
from generator import catalogue, copying
from generator.cli import app
from generator.planning import history

FACTS = catalogue.load()
SMALL = ("--characters-month", "60000")
BUSY = ("--characters-month", "1e6", "--peak-rps", "2", "--realtime-share", "0.3")
LIBRARY = {"layout": "service", "framework": "none", "cache_backend": "disk", "metrics": "none"}


def plan(*argv: str | Path) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, argv)])


def planned(*argv: str | Path) -> Any:
    done = plan(*argv, "--json")
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


def one_line(done: Result) -> str:
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("copier-elevenlabs: ")


ESTIMATE = {
    "type": "object",
    "required": ["mean", "low", "high"],
    "additionalProperties": {"type": "number", "minimum": 0},
}
POOL = {
    "type": "object",
    "required": ["needed", "slots_needed", "given", "utilisation", "wait_s", "late_share", "refused_share"],
    "properties": {
        "needed": {"type": "number", "minimum": 0},
        "given": {"type": ["integer", "null"]},
        "wait_s": {"type": ["object", "null"], "required": ["p50", "p95", "p99"], "additionalProperties": ESTIMATE},
        "late_share": {"anyOf": [ESTIMATE, {"type": "null"}]},
    },
}
TIER = {
    "type": "object",
    "required": ["tier", "total_usd_month", "cost", "concurrency", "utilisation", "sufficient", "why_not", "chosen"],
    "properties": {
        "tier": {"enum": list(PLANS)},
        "total_usd_month": {"type": ["number", "null"], "minimum": 0},
        "concurrency": {
            "required": ["standard", "flash", "stt"],
            "additionalProperties": POOL,
        },
        "sufficient": {"type": ["boolean", "null"]},
        "why_not": {"type": "array", "items": {"type": "string"}},
    },
}
SCHEMA = {
    "type": "object",
    "required": ["inputs", "assumptions", "tiers", "chosen", "savings", "uncertain_facts", "slots_needed"],
    "properties": {
        "inputs": {"additionalProperties": {"type": "number"}},
        "assumptions": {"items": {"required": ["what", "value", "origin", "why", "option"]}},
        "tiers": {"items": TIER, "minItems": len(PLANS)},
        "chosen": {"enum": [*PLANS, None]},
        "savings": {"items": {"required": ["what", "tier", "total_usd", "saves_usd"]}},
        "uncertain_facts": {"items": {"required": ["path", "sure", "source", "read"]}},
    },
}


@pytest.mark.parametrize("argv", [SMALL, BUSY, ("--stt-hours", "5"), ("--characters-month", "4e10"), ()])
def test_json_is_complete(argv: tuple[str, ...]) -> None:
    """Inputs, what was assumed, every plan with cost, slots and waits, the choice and what is uncertain."""
    done = plan(*argv, "--json")
    said = json.loads(done.stdout)

    jsonschema.validate(said, SCHEMA)
    assert not done.stderr
    assert done.exit_code == (said["chosen"] is None)
    assert [tier["tier"] for tier in said["tiers"] if tier["chosen"]] == [said["chosen"]] * (said["chosen"] is not None)
    assert {each["what"] for each in said["assumptions"]} <= set(said["inputs"])


def test_what_is_given_is_not_assumed() -> None:
    """Everything else is named, with the option that changes it."""
    said = planned(*BUSY)
    assumed = {each["what"]: each["option"] for each in said["assumptions"]}

    assert not {"characters_month", "peak_rps", "realtime_share"} & set(assumed)
    assert assumed["max_wait"] == "--max-wait"
    assert assumed["characters_request"] == "--characters-request"
    assert assumed["seconds_call_flash"] == "--seconds-call"


def test_text_names_the_choice_and_why_the_others_are_not_enough() -> None:
    """A line a plan, the chosen one marked, a reason a line, at most a hundred columns in the table."""
    done = plan(*BUSY)
    lines = done.stdout.splitlines()
    table = lines[lines.index(next(line for line in lines if line.startswith("Plan "))) :][: len(PLANS) + 1]

    assert done.exit_code == 0
    assert [line[2:].split()[0] for line in table[1:]] == list(PLANS)
    assert [line.split()[1] for line in table if line.startswith(">")] == ["pro"]
    assert all(len(line) <= 100 for line in table)
    assert "creator    standard:" in done.stdout
    assert "pro: 99.00 USD a month" in lines
    assert "assumed (--max-wait)" in done.stdout
    assert "payg: concurrency standard assumed (US, 2026-11-24)" in done.stdout


def test_a_pipe_gets_plain_text() -> None:
    """No escape sequence; and where the encoding knows no blocks, none is printed."""
    argv = (sys.executable, "-m", "generator", "plan", *SMALL)
    done = run(*argv, cwd=ROOT, PYTHONIOENCODING="ascii", FORCE_COLOR="", TTY_COMPATIBLE="")

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "####" in done.stdout and "█" not in done.stdout


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colour_unless_it_says_no(no_color: str, coloured: bool) -> None:
    """NO_COLOR is honoured; the bars are drawn either way."""
    env = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "NO_COLOR": no_color, "PYTHONIOENCODING": "utf-8"}
    argv = ["-m", "generator", "plan", *SMALL]
    said = pexpect.run(" ".join([sys.executable, *argv]), cwd=str(ROOT), env=env, timeout=60, encoding="utf-8")

    assert "█" in said
    assert ("\x1b[1;32m" in said or "\x1b[32m" in said) is coloured


def test_write_makes_answers_that_new_takes(tmp_path: Path) -> None:
    """Just the plan, and where to use it."""
    done = plan(*BUSY, "--write", tmp_path / "answers.yml")

    assert done.exit_code == 0
    assert copying.read(tmp_path / "answers.yml") == {"pricing_tier": "pro"}
    assert yaml.safe_load((tmp_path / "answers.yml").read_text()) == {"pricing_tier": "pro"}
    assert f"--answers {tmp_path / 'answers.yml'}" in done.stderr


def test_write_replaces_nothing(tmp_path: Path) -> None:
    """What is there stays, whatever it is; said before anything is computed."""
    (tmp_path / "answers.yml").write_text("project_name: Mine\n")
    done = plan(*SMALL, "--write", tmp_path / "answers.yml")

    assert (done.exit_code, done.stdout) == (1, "")
    assert one_line(done) == f"{tmp_path / 'answers.yml'} exists; name a file that does not"
    assert (tmp_path / "answers.yml").read_text() == "project_name: Mine\n"


def test_where_no_plan_is_enough_nothing_is_written(tmp_path: Path) -> None:
    """The report is whole, the exit code says it, and a contract is sized."""
    done = plan("--characters-month", "4e10", "--write", tmp_path / "answers.yml")

    assert done.exit_code == 1
    assert "No published plan is enough." in done.stdout
    assert "enterprise may be: ask for" in done.stdout
    assert one_line(done).endswith("was not written: no published plan is enough")
    assert not (tmp_path / "answers.yml").exists()


@pytest.mark.parametrize("argv", [("--peak-rps", "nan"), ("--realtime-share", "30"), ("--characters-month", "-5")])
def test_impossible_numbers_are_one_line(argv: tuple[str, ...]) -> None:
    """Which option, and its bounds; as JSON too."""
    done, as_json = plan(*argv), plan(*argv, "--json")

    assert (done.exit_code, done.stdout) == (1, "")
    assert one_line(done).startswith(f"{argv[0]} is a number from 0 to ")
    assert json.loads(as_json.stdout) == {"error": one_line(done)}


def test_no_number_at_all_is_wrong_usage() -> None:
    """As every command line does it."""
    done = plan("--peak-rps", "many")

    assert done.exit_code == 2
    assert "'many' is not a valid" in done.stderr


def test_the_catalogue_alone_decides_the_figures() -> None:
    """No plan's price stands in the code: each is what the catalogue says today."""
    said = planned(*SMALL)

    assert {tier["tier"]: tier["price_usd_month"] for tier in said["tiers"]} == {
        name: row["price_usd_month"] for name, row in FACTS["plans"].items()
    }


# ------------------------------------------------------------------------------------------------------- history


@pytest.fixture(scope="module")
def service(renders: Renders) -> Any:
    return import_rendered(home(renders.of(LIBRARY)).parent, "acme_voice")


@pytest.fixture
def books(service: Any, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Ten days of a rendered service: its sqlite file, and what its usage report says of the same."""
    from acme_voice.speech import usage  # type: ignore[import-not-found]
    from acme_voice.speech.ledger import Budgets, Row, Usage  # type: ignore[import-not-found]
    from acme_voice.speech.stores.disk_ledger import DiskLedger  # type: ignore[import-not-found]

    store = DiskLedger(tmp_path)
    for day in range(1, 11):
        date, busy = f"2026-11-{day:02}", 3 if day == 5 else 1
        for row, sums in {
            Row(date, "web", "eleven_multilingual_v2"): Usage(
                30_000 * busy, 0, 2.4 * busy, 0, 30_000 * busy, 0, 100 * busy
            ),
            Row(date, "web", "eleven_flash_v2_5"): Usage(5_000 * busy, 0, 0.4 * busy, 0, 10_000 * busy, 0, 100 * busy),
            Row(date, "jobs", "scribe_v2"): Usage(0, 0, 0.11, 0, 0, 1800, 6),
            Row(date, "web", "eleven_flash_v2"): Usage(requests=50, saved_credits=5_000),
        }.items():
            asyncio.run(store.add(row, sums))
    now = {"pools": {"standard": {"service_s": 1.5}, "flash": {"service_s": None}, "stt": {}}}
    report = usage.report(asyncio.run(store.rows()), budgets=Budgets(), day="2026-11-10", snapshot=now)
    store.close()
    (tmp_path / "usage.json").write_text(json.dumps(report))
    yield tmp_path / "ledger.sqlite", tmp_path / "usage.json"


def test_history_by_hand(books: tuple[Path, Path]) -> None:
    """Ten days, one of them three times as busy: 480,000 characters, a quarter by Flash, five hours heard."""
    past = history.read(books[0], FACTS)
    saved, bought = 50_000, 420_000  # credits
    called = 12 * 200 + 10 * 50  # requests, of which the cache answered its share
    each = 480_000 / (called * (1 - saved / (saved + bought)))

    assert (past.days, past.characters_month, past.realtime_share) == (10, 3 * 480_000, 0.25)
    assert (past.stt_hours, past.stt_file_seconds) == (15, 300)
    assert past.hit_rate == pytest.approx(saved / (saved + bought))
    assert past.characters_request == pytest.approx(each)
    assert past.busiest_rps == pytest.approx(3 * 40_000 / each / 86400)


def test_the_json_of_usage_says_the_same(books: tuple[Path, Path]) -> None:
    """And knows besides how long calls took, where it comes from a service that runs."""
    by_file, by_json = (history.read(path, FACTS) for path in books)

    assert by_json.seconds_call == {"standard": 1.5}
    for name in ("days", "characters_month", "realtime_share", "characters_request", "stt_hours", "busiest_rps"):
        assert getattr(by_json, name) == pytest.approx(getattr(by_file, name)), name


def test_from_ledger(books: tuple[Path, Path]) -> None:
    """What the books say is not assumed, what is given wins, and the peak says what it is made of."""
    said = planned("--from-ledger", books[1], "--realtime-share", "0.5")
    origin = {each["what"]: (each["origin"], each["why"]) for each in said["assumptions"]}

    assert said["inputs"]["characters_month"] == 1_440_000
    assert said["inputs"]["realtime_share"] == 0.5
    assert said["inputs"]["seconds_call_standard"] == 1.5
    assert origin["peak_rps"] == ("derived", "10 times the average of the busiest day")
    assert origin["stt_file_seconds"][0] == "ledger"
    assert said["cache_hit_rate"] == pytest.approx(50 / 470, abs=1e-6)
    assert said["savings"][1]["what"] == "the cache that answers 11% now"
    assert said["savings"][1]["saves_usd"] >= 0


def test_reading_leaves_the_ledger_as_it_was(books: tuple[Path, Path]) -> None:
    """It belongs to a service that may be running: not a byte is written, and no file appears beside it."""
    before = {path: path.read_bytes() for path in books[0].parent.iterdir() if path.is_file()}
    planned("--from-ledger", books[0])

    assert {path: path.read_bytes() for path in books[0].parent.iterdir() if path.is_file()} == before


def test_a_service_that_runs_is_read_to_its_last_entry(service: Any, tmp_path: Path) -> None:
    """What sqlite has not yet moved into the file counts."""
    from acme_voice.speech.ledger import Row, Usage
    from acme_voice.speech.stores.disk_ledger import DiskLedger

    store = DiskLedger(tmp_path)
    asyncio.run(store.add(Row("2026-11-24", "web", "eleven_multilingual_v2"), Usage(70, 0, 0.1, 0, 70, 0, 1)))
    try:
        assert history.read(tmp_path / "ledger.sqlite", FACTS).characters_month == 70 * 30
    finally:
        store.close()


def test_only_the_last_month_counts(tmp_path: Path) -> None:
    """A service that grew is planned for what it is now; models are told apart by all of the books."""
    row = {"stt_seconds": 0, "requests": 10, "credits": 2000, "saved_credits": 0}
    days = [{"day": "2025-01-01", "characters": 9e9} | row, {"day": "2026-11-23", "characters": 2000} | row]
    days.append({"day": "2026-11-24", "characters": 1000} | row)
    models = [{"model": "somebody_s_own", "characters": 3000} | row]
    (tmp_path / "usage.json").write_text(json.dumps({"by": {"day": days, "model": models}}))
    past = history.read(tmp_path / "usage.json", FACTS)

    assert (past.days, past.characters_month, past.realtime_share) == (2, 3000 / 2 * 30, 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"pricing_tier: pro\n",
        b"[1, 2]",
        b'{"by": {"day": [{"day": "yesterday"}], "model": []}}',
        b'{"by": {"day": [{"day": "2026-11-24", "characters": NaN, "stt_seconds": 0, "requests": 0, "credits": 0,'
        b'"saved_credits": 0}], "model": []}}',
        b"SQLite format 3\0 and then nothing",
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_no_history(tmp_path: Path, content: bytes) -> None:
    """One line that says what it should be."""
    (tmp_path / "file").write_bytes(content)
    done = plan("--from-ledger", tmp_path / "file")

    assert done.exit_code == 1
    assert one_line(done) == (
        f"{tmp_path / 'file'} is neither a service's ledger.sqlite nor the JSON of its usage --json"
    )


def test_other_paths_that_are_no_history(tmp_path: Path) -> None:
    """Nothing there, a folder, somebody else's database, and books without an entry."""
    sqlite3.connect(tmp_path / "other.sqlite").execute("CREATE TABLE usage (name)").connection.close()
    (tmp_path / "new.json").write_text('{"by": {"day": [], "model": []}}')
    said = {
        name: one_line(plan("--from-ledger", tmp_path / name)) for name in ("none", ".", "other.sqlite", "new.json")
    }

    assert said["none"].endswith("none: No such file or directory")
    assert said["."].endswith("Is a directory")
    assert "is neither" in said["other.sqlite"]
    assert said["new.json"].endswith("holds no usage yet")
