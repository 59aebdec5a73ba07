"""Every offered set of answers: which files it brings, and that they are whole, clean and typed."""

import ast
import hashlib
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import OFFERED, PACKAGES, PAIRWISE, PLANS, ROOT, SERVICES, Renders, files, home, names, run

EXPECTED = yaml.safe_load((Path(__file__).parent / "expected_files.yaml").read_text())
CORE = "request errors faults clock catalogue limiter breaker retry cache ledger meter flight client".split()


def expected(answers: dict[str, Any]) -> set[str]:
    """Paths below the project, by the table in expected_files.yaml."""
    package, framework = answers["layout"] == "package", answers["framework"]
    gateway = framework != "none" and (not package or answers["gateway"])
    keeps = answers["cache_backend"] != "memory"
    conditions = {
        "always": True,
        answers["layout"]: True,
        "web": framework != "none",
        "web in a service": framework != "none" and not package,
        "gateway": gateway,
        "gateway, asgi": gateway and framework != "flask",
        "gateway, wsgi": gateway and framework == "flask",
        "asgi, service": framework not in ("none", "flask") and not package,
        "wsgi, service": framework == "flask" and not package,
        f"framework {framework}": True,
        f"framework {framework}, gateway": gateway,
        f"framework {framework}, service": not package,
        f"cache_backend {answers['cache_backend']}": True,
        f"cache_backend {answers['cache_backend']}, service": not package,
        "keeps": keeps,
        "gateway or keeps": gateway or keeps,
        "gateway or keeps, service": not package and (gateway or keeps),
        "metrics": answers["metrics"] != "none",
        "metrics, service": answers["metrics"] != "none" and not package,
        f"metrics {answers['metrics']}": True,
        f"metrics {answers['metrics']}, service": not package,
    }
    where = "app" if package else "src/acme_voice"
    return {path.replace("HOME", where) for name, paths in EXPECTED.items() if conditions.get(name) for path in paths}


REST = [pytest.param(row, marks=pytest.mark.full) for row in OFFERED if row not in PAIRWISE]
EVERY = pytest.mark.parametrize("answers", [*PAIRWISE, *REST], ids=lambda row: names([row])[0])


@EVERY
def test_brings_exactly_the_files_of_its_answers(renders: Renders, answers: dict[str, Any]) -> None:
    """No file too many, none too few, and no empty folder."""
    project = renders.of(answers)

    assert set(files(project)) == expected(answers)
    assert [folder for folder in project.rglob("*") if folder.is_dir() and not any(folder.iterdir())] == []


@EVERY
def test_is_whole_and_readable_by_its_tools(renders: Renders, answers: dict[str, Any]) -> None:
    """Python compiles, TOML and YAML load, no Jinja is left over, every text file ends in one line end."""
    for name, content in files(renders.of(answers)).items():
        text = content.decode("utf-8")
        if name.endswith(".py"):
            compile(text, name, "exec")
        elif name.endswith(".toml"):
            tomllib.loads(text)
        elif name.endswith((".yml", ".yaml")):
            yaml.safe_load(text)
        if not name.endswith((".html", ".lua", ".py")):
            assert not re.search(r"\{\{|\{%|\{#", text), name
        assert text == "" or (text.endswith("\n") and not text.endswith("\n\n")), name


@pytest.mark.full
def test_few_renders_hold_every_file(renders: Renders) -> None:
    """What is judged below, once for each pair of answers, is all the Python that anybody gets, but for answers.py."""
    few, every = (
        set[tuple[str, bytes]]().union(*(python(renders, row) for row in rows)) for rows in (PAIRWISE, OFFERED)
    )
    assert few == every


def python(renders: Renders, answers: dict[str, Any]) -> set[tuple[str, bytes]]:
    """Path in the package or beside it, and hash, of each Python file but answers.py, which differs everywhere."""
    return {
        (name.removeprefix("src/acme_voice/").removeprefix("app/"), hashlib.sha256(content).digest())
        for name, content in files(renders.of(answers)).items()
        if name.endswith(".py") and not name.endswith("speech/answers.py")
    }


def test_is_clean_by_its_own_rules(renders: Renders, tmp_path: Path) -> None:
    """ruff finds nothing, and would format nothing, by the configuration that is rendered."""
    projects = [renders.of(answers) for answers in PAIRWISE]
    for command in (["check"], ["format", "--check"]):
        done = run(sys.executable, "-m", "ruff", *command, "--no-cache", *projects)

        assert done.returncode == 0, done.stdout


def covering(renders: Renders) -> Iterator[tuple[dict[str, Any], Path]]:
    """As few renders as hold every Python file that occurs in any of them: each distinct content once.

    But for answers.py, which is another one for each answer set: its lines come with the files that they import.
    """
    contents = {name: python(renders, row) for name, row in zip(names(PAIRWISE), PAIRWISE, strict=True)}
    missing = set.union(*contents.values())
    while missing:
        best = max(contents, key=lambda name: len(contents[name] & missing))
        missing -= contents[best]
        answers = PAIRWISE[names(PAIRWISE).index(best)]
        yield answers, renders.of(answers)


def test_types_hold_in_every_distinct_file(renders: Renders, tmp_path: Path) -> None:
    """mypy --strict, over a few renders that hold every file there is."""
    cache, config = ROOT / ".mypy_cache/rendered", tmp_path / "mypy.ini"
    config.write_text("[mypy]\nstrict = True\n[mypy-django.*]\nignore_missing_imports = True\n")  # which has no types
    for answers, project in covering(renders):
        package = home(project).name
        strict = [sys.executable, "-m", "mypy", f"--config-file={config}", f"--cache-dir={cache}"]
        done = run(
            *strict, "-p", f"{package}.speech" if answers["layout"] == "package" else package, cwd=home(project).parent
        )

        assert done.returncode == 0, f"{answers}\n{done.stdout}{done.stderr}"
        if answers["layout"] == "service":
            tests = run(*strict, "--exclude", "conftest", "tests", cwd=project, MYPYPATH=str(home(project)))

            assert tests.returncode == 0, f"{answers}\n{tests.stdout}{tests.stderr}"


def test_core_is_the_same_for_everybody(renders: Renders) -> None:
    """Floors 0 to 2 differ by no byte, so that what was tested once holds for all."""
    for name in CORE:
        assert len({(home(renders.of(answers)) / f"speech/{name}.py").read_bytes() for answers in PAIRWISE}) == 1, name


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_is_a_value(renders: Renders, plan: str) -> None:
    """Another plan changes the answers and one comment of .env.example: never a set of files."""
    default, other = files(renders.of(SERVICES[0])), files(renders.of(SERVICES[0] | {"pricing_tier": plan}))
    changed = {name for name in default.keys() | other.keys() if default.get(name) != other.get(name)}

    assert changed <= {".copier-answers.yml", ".env.example", "src/acme_voice/speech/answers.py"}
    assert f'"{plan}"'.encode() in other["src/acme_voice/speech/answers.py"]


def code_lines(source: bytes) -> int:
    """Lines that hold code: no blanks, comments or docstrings."""
    tree = ast.parse(source)
    documented = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    docs = {
        line
        for node in documented
        if ast.get_docstring(node) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    blank = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
        tokenize.ENCODING,
    }
    tokens = tokenize.tokenize(BytesIO(source).readline)
    code = {line for token in tokens if token.type not in blank for line in range(token.start[0], token.end[0] + 1)}
    return len(code - docs)


def test_core_can_be_read_in_an_hour(renders: Renders) -> None:
    """A package on memory without gateway: at most 35 files and 2,500 lines of code, without testing/ and data."""
    speech = home(renders.of(next(a for a in PACKAGES if a["framework"] == "fastapi" and not a["gateway"]))) / "speech"
    counted = {
        name: content
        for name, content in files(speech).items()
        if not name.startswith("testing/") and not name.endswith(".json")
    }
    lines = {name: code_lines(content) for name, content in counted.items() if name.endswith(".py")}

    assert len(counted) <= 35, sorted(counted)
    assert sum(lines.values()) <= 2500, lines


@pytest.mark.parametrize("layout", ["service", "package"])
def test_environment_is_described_alike(renders: Renders, layout: str) -> None:
    """One .env.example for every answer that may change, but for the plan's name."""
    rows = SERVICES if layout == "service" else PACKAGES
    where = ".env.example" if layout == "service" else "app/speech/.env.example"

    assert len({(renders.of(answers) / where).read_bytes() for answers in rows}) == 1


def test_environment_example_names_every_variable(renders: Renders) -> None:
    """What settings.py reads and what .env.example describes are the same names."""
    project = renders.of(SERVICES[0])
    described = set(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", (project / ".env.example").read_text(), re.M))
    read = set(
        re.findall(r"\"((?:SPEECH_|ELEVENLABS_|REDIS_)[A-Z_]+)\"", (home(project) / "speech/settings.py").read_text())
    )

    assert {name for name in read if not name.endswith("_FILE")} == described


@pytest.mark.parametrize("seeded", ["README.md", "src/acme_voice/app.py"])
def test_seeded_files_follow_no_answer_that_may_change(renders: Renders, seeded: str) -> None:
    """They are never updated, so they must be right after every change of answers."""
    rows = [*SERVICES, SERVICES[0] | {"pricing_tier": "pro"}]
    found = {files(renders.of(answers)).get(seeded) for answers in rows} - {None}

    assert len(found) == 1
