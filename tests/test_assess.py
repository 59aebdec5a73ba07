"""`copier-elevenlabs assess`: what it finds, what it leaves alone, and how it says so."""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from subprocess import CompletedProcess

import jsonschema
import planted
import pytest
import yaml
from planted import Expected
from rendering import PACKAGES, ROOT, SERVICES, Answers, Renders, git, names, run

from generator.assessing import pins, project
from generator.assessing.assess import assess
from generator.assessing.findings import Severity
from generator.assessing.rules import RULES
from generator.assessing.rules.sdk import removed

SPEAKS = "from elevenlabs import ElevenLabs\nclient = ElevenLabs(timeout=10)\n"
DEFECT = "from elevenlabs import ElevenLabs\nclient = ElevenLabs()\n"
FLOOR = 0.95


def cli(*argv: str | Path, cwd: Path = ROOT, **env: str) -> CompletedProcess[str]:
    return run(sys.executable, "-m", "generator", "assess", *argv, cwd=cwd, **env)


def lay(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def found(root: Path, *rules: str) -> list[tuple[str, int, str]]:
    return [(f.file, f.line, f.rule) for f in assess(root, rules or RULES, planted.TODAY).findings]


@pytest.fixture(scope="session")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Counter[Expected], Counter[Expected]]]:
    """By planted project, what is expected and what was told."""
    root = tmp_path_factory.mktemp("planted")
    return {
        name: (planted.expected(name), planted.told(planted.judged(planted.lay_out(name, root / name))))
        for name in planted.PROJECTS
    }


def test_planted_defects_are_found_and_their_neighbours_left_alone(
    scores: dict[str, tuple[Counter[Expected], Counter[Expected]]],
) -> None:
    """Precision and recall over every planted project are above the floor; docs/assess.md says what they are."""
    every = [(wanted & got, wanted, got) for wanted, got in scores.values()]
    right, wanted, got = (sum(one[index].total() for one in every) for index in range(3))
    wrong = {name: ((wanted - got), (got - wanted)) for name, (wanted, got) in scores.items() if wanted != got}

    assert right / got > FLOOR, wrong
    assert right / wanted > FLOOR, wrong
    said = re.search(r"precision ([\d.]+), recall ([\d.]+) over (\d+) planted", (ROOT / "docs/assess.md").read_text())
    assert said
    assert said.groups() == (f"{right / got:.2f}", f"{right / wanted:.2f}", str(wanted))


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_several_planted_defects(
    rule: str, scores: dict[str, tuple[Counter[Expected], Counter[Expected]]]
) -> None:
    """No rule stands on one example."""
    wanted = [one for expected, _ in scores.values() for one in expected.elements() if one.rule == rule]

    assert len(wanted) >= 3


@pytest.mark.parametrize("answers", [SERVICES[0], PACKAGES[-12]], ids=names([SERVICES[0], PACKAGES[-12]]))
def test_nothing_in_what_we_render(renders: Renders, answers: Answers) -> None:
    """Our own code, read as anybody's: no finding, and it was read."""
    assessment = assess(renders.of(answers), RULES, planted.TODAY)

    assert assessment.findings == []
    assert assessment.unread == []
    assert any(module.dotted.endswith("speech.upstream") for module in assessment.project.modules)


OPEN_AND_GUARDED = {
    "fastapi": """\
from typing import Annotated

from fastapi import APIRouter, Depends

from .auth import current_user
from .speech import SpeechClient
from .speech.web import get_speech

router = APIRouter()
Speech = Annotated[SpeechClient, Depends(get_speech)]


@router.post("/say")
async def say(text: str, speech: Speech) -> bytes:
    return (await speech.synthesize(text)).data


@router.post("/guarded")
async def guarded(text: str, speech: Speech, user: str = Depends(current_user)) -> bytes:
    return (await speech.synthesize(text)).data
""",
    "flask": """\
from flask import Blueprint, request

from .auth import login_required
from .speech.web import get_speech

pages = Blueprint("pages", __name__)


@pages.post("/say")
def say() -> str:
    return hear()


def hear() -> str:
    return get_speech().transcribe(request.files["file"].read()).text


@pages.post("/guarded")
@login_required
def guarded() -> str:
    return hear()
""",
    "django": """\
from django.contrib.auth.decorators import login_required
from django.urls import path

from .speech.web import get_speech


def say(request):
    return get_speech.blocking().synthesize(request.POST["text"])


@login_required
def guarded(request):
    return get_speech.blocking().synthesize(request.POST["text"])


urlpatterns = [path("say", say), path("guarded", guarded)]
""",
    "litestar": """\
from litestar import post

from .auth import only_users
from .speech import SpeechClient


@post("/say")
async def say(data: str, speech: SpeechClient) -> list[bytes]:
    async with speech.stream(data) as chunks:
        return [chunk async for chunk in chunks]


@post("/guarded", guards=[only_users])
async def guarded(data: str, speech: SpeechClient) -> bytes:
    return (await speech.synthesize(data)).data
""",
}


@pytest.mark.parametrize("framework", OPEN_AND_GUARDED)
def test_an_open_route_that_speaks_through_our_client_is_told(renders: Renders, tmp_path: Path, framework: str) -> None:
    """The rendered client minds its limits and retries, but who may call it is the host's affair."""
    answers = {"layout": "package", "framework": framework, "cache_backend": "memory", "gateway": False}
    project = renders.own(answers | {"metrics": "prometheus"}, tmp_path / "project")
    lay(project, {"app/routes.py": OPEN_AND_GUARDED[framework]})

    findings = assess(project, RULES, planted.TODAY).findings

    assert [(finding.file, finding.rule) for finding in findings] == [("app/routes.py", "open-route")]
    assert " calls SpeechClient." in findings[0].what
    assert "guarded" not in "".join(OPEN_AND_GUARDED[framework].splitlines()[: findings[0].line])


def test_no_key_is_ever_shown_whole(tmp_path: Path) -> None:
    """Neither on a terminal, nor as JSON or SARIF, nor where the key is a default."""
    root = planted.lay_out("keys", tmp_path / "keys")
    shown = "".join(
        (
            cli(root).stdout,
            cli(root, "--json", "--sarif", tmp_path / "it.sarif").stdout,
            (tmp_path / "it.sarif").read_text(),
        )
    )

    assert "key-hardcoded" in shown
    assert not [value for value in planted.KEYS.values() if value in shown]


def test_exit_code_says_whether_anything_is_severe(tmp_path: Path) -> None:
    """0 with warnings alone, 1 with something severe, 2 for a rule that there is not, in one line."""
    lay(tmp_path, {"a.py": DEFECT, "b/a.py": "import elevenlabs\nelevenlabs.set_api_key('x')\n"})
    wrong = cli(tmp_path, "--select", "no-timeout,no-such")

    assert cli(tmp_path / "a.py").returncode == 0
    assert cli(tmp_path).returncode == 1
    assert cli(tmp_path, "--ignore", "removed-sdk-call").returncode == 0
    assert cli(tmp_path, "--select", "no-timeout").returncode == 0
    assert wrong.returncode == 2
    assert "no rule 'no-such'" in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_path_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """Whatever the mistake, one line and exit code 1; no files at all is no mistake."""
    missing = cli(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    empty = cli(tmp_path / "empty")

    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert (empty.returncode, empty.stdout.strip()) == (0, "nothing found in 0 files, 0 read as code")


def test_json_has_each_finding_with_why_and_mend(tmp_path: Path) -> None:
    """What a program needs, and nothing else on stdout."""
    said = json.loads(cli(lay(tmp_path, {"a.py": DEFECT, "requirements.txt": "elevenlabs\nredis\n"}), "--json").stdout)
    (finding,) = said["findings"]

    assert (finding["file"], finding["line"], finding["column"]) == ("a.py", 2, 10)
    assert (finding["rule"], finding["severity"]) == ("no-timeout", "warning")
    assert "240 s" in finding["what"] and finding["why"] and finding["mend"] and finding["fingerprint"]
    assert said["counts"] == {"severe": 0, "warning": 1, "note": 0}


def test_sarif_is_valid_by_the_public_schema(tmp_path: Path) -> None:
    """Every planted finding as SARIF 2.1.0: relative URIs, rules with help, a fingerprint each."""
    root = planted.lay_out("fastapi_shop", tmp_path / "a shop")
    cli(root, "--sarif", tmp_path / "it.sarif")
    log = json.loads((tmp_path / "it.sarif").read_text("utf-8"))
    schema = json.loads((ROOT / "tests/data/sarif-2.1.0-rtm.5.json").read_text("utf-8"))
    jsonschema.validate(log, schema, format_checker=jsonschema.FormatChecker())
    results = log["runs"][0]["results"]

    assert len(results) == planted.expected("fastapi_shop").total()
    assert not [one for one in results if ":" in one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]]
    assert {one["id"] for one in log["runs"][0]["tool"]["driver"]["rules"] if one["help"]["text"]} == set(RULES)
    assert len({one["partialFingerprints"]["copierElevenlabs/v1"] for one in results}) == len(results)


def test_fingerprints_stay_when_lines_move(tmp_path: Path) -> None:
    """A code host goes on knowing a finding when something is written above it; two equal lines stay apart."""
    first = lay(tmp_path / "1", {"a.py": DEFECT + "client = ElevenLabs()\n"})
    later = lay(tmp_path / "2", {"a.py": "# new\n\n" + DEFECT + "if True:\n    client = ElevenLabs()\n"})
    marks = [assess(root, RULES, planted.TODAY).marks for root in (first, later)]

    assert marks[0] == marks[1]
    assert len(set(marks[0])) == 2


def test_a_comment_quiets_one_rule_on_its_line_or_the_next(tmp_path: Path) -> None:
    """And no other rule, nor further lines."""
    code = "from elevenlabs import ElevenLabs\n{}a = ElevenLabs(){}\n"
    quiet = [code.format("", "  # assess: ignore[no-timeout]"), code.format("# assess: ignore[no-timeout]\n", "")]
    quiet += [code.format("", "  # assess: ignore"), code.format("", "  # assess: ignore[key-logged, no-timeout]")]
    loud = [code.format("", "  # assess: ignore[key-logged]"), code.format("b = 1  # assess: ignore[no-timeout]\n", "")]
    told = [found(lay(tmp_path / str(index), {"a.py": text})) for index, text in enumerate(quiet + loud)]

    assert [len(one) for one in told] == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("today", "severity"), [(date(2026, 11, 24), Severity.warning), (date(2026, 12, 31), Severity.severe)]
)
def test_a_default_voice_is_severe_from_its_last_day(tmp_path: Path, today: date, severity: Severity) -> None:
    """Warned of before, with the days that are left."""
    lay(tmp_path, {"a.py": SPEAKS + 'VOICE = "EXAVITQu4vr4xnSDxMaL"\n'})
    (finding,) = assess(tmp_path, ["retired-voice"], today).findings

    assert finding.severity is severity
    assert "Talia" in finding.mend
    assert ("in 37 days" in finding.what) == (severity is Severity.warning)


@pytest.mark.parametrize(
    ("name", "content", "version"),
    [
        ("requirements.txt", "elevenlabs==1.2.3\n", "1.2.3"),
        ("requirements.txt", "elevenlabs[pyaudio]>=1.0,<2  # kept\n", "1.59.0"),
        ("requirements/base.in", "Elevenlabs ~= 0.2.20\n", "0.2.27"),
        ("pyproject.toml", '[project]\ndependencies = ["elevenlabs>=2.1,<2.9"]\n', "2.8.0"),
        ("pyproject.toml", '[tool.poetry.dependencies]\nelevenlabs = "^1.5"\n', "1.59.0"),
        ("pyproject.toml", '[dependency-groups]\ntts = ["elevenlabs"]\n', "2.78.0"),
        ("uv.lock", '[[package]]\nname = "elevenlabs"\nversion = "2.15.0"\n', "2.15.0"),
        ("Pipfile.lock", '{"default": {"elevenlabs": {"hashes": [], "version": "==0.2.26"}}}', "0.2.26"),
        (".venv/lib/python3.12/site-packages/elevenlabs-1.7.0.dist-info/METADATA", "", "1.7.0"),
        ("a.py", SPEAKS, "2.78.0"),
    ],
)
def test_the_version_of_the_sdk_is_read(tmp_path: Path, name: str, content: str, version: str) -> None:
    """From locks, environments, pins and ranges: the newest release that an installation of today would choose."""
    lay(tmp_path, {name: content})

    assert str(pins.version_of_sdk(project.read(tmp_path)).version) == version


def test_what_is_called_removed_is_not_in_the_sdk_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told of 2.x: gone from the installed SDK, and each successor is there; told of 3: still there."""
    import elevenlabs

    client = elevenlabs.ElevenLabs(api_key="none")

    def has(dotted: str) -> bool:
        value: object = client
        for part in dotted.split("."):
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True

    for name, known in removed()["methods"].items():
        assert has(name) == (known["without"] == "3.0.0"), name
        if known["without"] != "3.0.0":
            assert has(known["instead"]), known["instead"]
    for name in removed()["functions"]:
        assert not callable(getattr(elevenlabs, name, None)), name


def test_files_that_cant_be_parsed_are_named_and_their_text_is_read(tmp_path: Path) -> None:
    """Python 2, broken code, a broken notebook, a huge file: not assessed as code; keys are found all the same."""
    key = planted.key()
    lay(
        tmp_path,
        {
            "old.py": f'import elevenlabs\nprint "hello"\nKEY = "{key}"\n',
            "broken.ipynb": '{"cells": [elevenlabs',
            "deep.py": "import elevenlabs\nx = " + "(" * 5000 + ")" * 5000,
            "huge.py": SPEAKS + "#" * 2_100_000,
            "a.py": SPEAKS,
        },
    )
    assessment = assess(tmp_path, RULES, planted.TODAY)

    assert [one.file for one in assessment.unread] == ["broken.ipynb", "deep.py", "huge.py", "old.py"]
    assert [(f.file, f.line, f.rule) for f in assessment.findings] == [("old.py", 3, "key-hardcoded")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    """By byte order mark or coding line; with columns in characters."""
    coding = f"# -*- coding: {encoding} -*-\n" if encoding in ("latin-1", "cp1252") else "\n"
    lay(
        tmp_path, {"a.py": (coding + 'from elevenlabs import ElevenLabs\né = "ü"; c = ElevenLabs()\n').encode(encoding)}
    )
    told = assess(tmp_path, RULES, planted.TODAY)

    if encoding == "utf-16":  # Python itself reads no UTF-16; nor do the bytes say who is in it
        assert told.findings == []
    else:
        assert [(f.rule, f.line, f.column) for f in told.findings] == [("no-timeout", 3, 14)]


def test_loops_devices_and_unreadable_files_stop_nothing(tmp_path: Path) -> None:
    """Symbolic links in circles, to nowhere and to outside; pipes; binary; no permission; CRLF."""
    lay(tmp_path, {"app/a.py": DEFECT.replace("\n", "\r\n"), "app/x.json": b"\x00\x01elevenlabs", "locked.py": DEFECT})
    (tmp_path / "app/again").symlink_to(tmp_path / "app")
    (tmp_path / "app/self.py").symlink_to("self.py")
    (tmp_path / "nowhere.py").symlink_to("gone.py")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "locked.py").chmod(0)
    told = found(tmp_path)

    assert ("app/a.py", 2, "no-timeout") in told
    assert {file for file, _, _ in told} <= {"app/a.py", "locked.py"}  # root reads what nobody else may


def test_environments_vendored_code_and_caches_are_left_out(tmp_path: Path) -> None:
    """Also by pyvenv.cfg under any name, and with and without Git."""
    skipped = "node_modules/x build/lib dist vendor/y .tox/py app/__pycache__ my_env/lib site-packages/z".split()
    lay(tmp_path, {f"{folder}/a.py": DEFECT for folder in skipped} | {"my_env/pyvenv.cfg": "", "a.py": SPEAKS})
    without_git = found(tmp_path)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A", "-f")

    assert without_git == []
    assert found(tmp_path) == []


def test_gitignore_is_read_as_git_reads_it(tmp_path: Path) -> None:
    """Negations, nested files, anchors: the same files with Git and, by pathspec, without."""
    rules = {".gitignore": "*.py\n!keep.py\n/made/\n", "sub/.gitignore": "!here.py\n/keep.py\n"}
    lay(tmp_path, rules | {name: DEFECT for name in ("a.py", "keep.py", "made/keep.py", "sub/here.py", "sub/keep.py")})
    by_pathspec = found(tmp_path)
    git(tmp_path, "init", "-q")

    assert by_pathspec == [("keep.py", 2, "no-timeout"), ("sub/here.py", 2, "no-timeout")]
    assert found(tmp_path) == by_pathspec


@pytest.mark.parametrize("under_git", [True, False])
def test_an_env_file_that_is_ignored_is_not_told(tmp_path: Path, under_git: bool) -> None:
    """It is not there yet, and the code reads it: only .gitignore says what would become of it."""
    reads = f"from dotenv import load_dotenv\nload_dotenv()\n{SPEAKS}"
    if under_git:
        git(tmp_path, "init", "-q")
    lay(tmp_path, {"a.py": reads})
    assert found(tmp_path, "env-not-ignored") == [("a.py", 2, "env-not-ignored")]

    lay(tmp_path, {".gitignore": ".env\n"})
    assert found(tmp_path, "env-not-ignored") == []


def test_a_folder_that_its_repository_ignores_is_read(tmp_path: Path) -> None:
    """Somebody who names it means it: Git's list of it is empty."""
    git(lay(tmp_path, {".gitignore": "scratch/\n", "scratch/a.py": DEFECT}), "init", "-q")

    assert found(tmp_path / "scratch") == [("a.py", 2, "no-timeout")]


def test_nothing_of_the_project_is_run(tmp_path: Path) -> None:
    """Neither its modules nor what its repository names for Git to run."""
    ran = tmp_path / "ran"
    root = lay(
        tmp_path / "p",
        {"a.py": f"{DEFECT}open({str(ran)!r}, 'w')\n", "setup.py": f"import elevenlabs\nopen({str(ran)!r}, 'w')\n"},
    )
    git(root, "init", "-q")
    lay(root, {"watch": f"#!/bin/sh\ntouch {ran}\n"})
    (root / "watch").chmod(0o755)
    git(root, "config", "core.fsmonitor", str(root / "watch"))
    assert found(root)

    assert not ran.exists()


ROUND_AND_ROUND = """\
import asyncio
import logging
from contextlib import contextmanager

from elevenlabs import ElevenLabs
from fastapi import APIRouter

client = ElevenLabs(timeout=10)
MOST, ALSO = ALSO, MOST
slots = asyncio.Semaphore(MOST)
router = APIRouter()


def run(job, left=3):
    try:
        return run(lambda: job(), left - 1) if left else job()
    except Exception:
        return again(job)


def again(job):
    return run(lambda: job())


@contextmanager
def limited():
    with also_limited():
        yield


@contextmanager
def also_limited():
    with limited():
        yield


def decorated(function):
    @decorated
    def inner(*args):
        return function(*args)

    return inner


def masked(key):
    return masked(key[1:]) if len(key) > 4 else told(key)


def told(key):
    return masked(key)


class One(Other):
    pass


class Other(One):
    @router.post("/speak")
    @decorated
    async def speak(self, text, api_key):
        logging.info("with %s", masked(api_key))
        async with slots:
            with limited():
                return await asyncio.gather(*(asyncio.to_thread(run, lambda: speak(text)) for _ in range(1000)))


@decorated
def speak(text):
    return b"".join(client.text_to_speech.convert("OZ0L6eISlOejga3XjDFt", text=text))
"""


def test_what_leads_to_itself_is_read_to_its_end(tmp_path: Path) -> None:
    """Helpers, context managers, decorators, masks, numbers and classes that go round: one answer, no traceback."""
    told = found(lay(tmp_path, {"a.py": ROUND_AND_ROUND}))

    assert ("a.py", 60, "open-route") in told


def test_only_what_elevenlabs_reaches_is_parsed(tmp_path: Path) -> None:
    """Ten thousand files would take minutes; who imports who imports a client is read, its namesakes are not."""
    names_ = [f"other/m{index}/models.py" for index in range(200)]
    lay(tmp_path, {name: "import json\nclass A: pass\n" for name in names_})
    lay(
        tmp_path,
        {
            "app/tts.py": SPEAKS,
            "app/models.py": "from .tts import client\n",
            "app/main.py": "from app.models import client\n",
        },
    )
    assessment = assess(tmp_path, RULES, planted.TODAY)

    assert {module.source.name for module in assessment.project.modules} == {
        "app/tts.py",
        "app/models.py",
        "app/main.py",
    }
    assert len(assessment.project.names) == 203


def test_report_is_plain_in_a_pipe_and_says_what_add_would_be_given(tmp_path: Path) -> None:
    """No colours; by file; the sum in a line; then a command that can be pasted."""
    root = planted.lay_out("litestar_desk", tmp_path / "desk")
    done = cli(root, FORCE_COLOR="", COLUMNS="80")
    lines = done.stdout.rstrip().split("\n")

    assert "\x1b" not in done.stdout
    assert "desk/app.py" in lines
    assert re.search(r"^\d+ severe, \d+ warnings in \d+ files, \d+ read as code$", done.stdout, re.MULTILINE)
    assert lines[-1].strip().startswith(f"copier-elevenlabs add {root} -d framework=litestar -d package_dir=desk")


def test_every_rule_is_in_the_docs() -> None:
    """docs/assess.md has a section for each, in the same order, with severity, why, mend and an example."""
    text = (ROOT / "docs/assess.md").read_text("utf-8")
    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]

    assert [section.splitlines()[0].strip("`") for section in sections] == list(RULES)
    for section, rule in zip(sections, RULES.values(), strict=True):
        flat = " ".join(section.split())
        assert rule.severity.name in flat, rule.id
        assert rule.why in flat, rule.id
        assert rule.mend in flat, rule.id
        assert "```" in section, rule.id


def test_ids_are_those_of_the_contract() -> None:
    """They stand in people's comments and CI: none is renamed or dropped."""
    promised = yaml.safe_load(
        "[key-hardcoded, key-logged, env-not-ignored, no-timeout, doubled-retries, blocking-in-async, unbounded-fanout,"
        " per-process-limiter, repeated-synthesis, open-route, retired-model, retired-voice, removed-sdk-call]"
    )

    assert set(promised) <= set(RULES)
