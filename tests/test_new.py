"""`copier-elevenlabs new`: what can be seen before anything is written, and every prompt as an option."""

import json
import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pexpect
import yaml
from rendering import ROOT, SERVICES, Renders, Template, files, git, run

from generator.commands.options import CHANGEABLE, QUESTIONS


def new(template: Template, *argv: str | Path, cwd: Path | None = None) -> CompletedProcess[str]:
    """As installed from that checkout."""
    return run(sys.executable, "-m", "generator", "new", *argv, cwd=cwd or template.path, PYTHONPATH=str(template.path))


def test_every_prompt_is_an_option_too() -> None:
    """Those of copier.yml that may be asked, in its order; those that may change later are offered to update."""
    questions = yaml.safe_load((ROOT / "copier.yml").read_text())
    asked = [
        n for n, q in questions.items() if n[0] != "_" and q.get("when") is not False and q.get("ask") is not False
    ]
    once = {name for name in asked if "ask" in questions[name]}

    assert list(QUESTIONS) == asked
    assert list(CHANGEABLE) == [name for name in asked if name not in once]


def test_options_are_answers(template: Template, tmp_path: Path) -> None:
    """Each of them ends up in the answers file, and copier.yml judges its value."""
    service = ("--project-name", "Acme Voice", "--package-name", "acme", "--metrics", "none", "--no-deploy")
    both = ("--pricing-tier", "pro", "--framework", "flask", "--cache-backend", "redis", "--json")
    package = ("--layout", "package", "--package-dir", "src/shop", "--gateway")
    one = json.loads(new(template, tmp_path / "one", *service, *both).stdout)["answers"]
    two = json.loads(new(template, tmp_path / "two", *package, *both).stdout)["answers"]
    wrong = new(template, tmp_path / "three", *both, "--layout", "somewhere")

    assert (one["project_name"], one["package_name"], one["metrics"], one["deploy"]) == (
        "Acme Voice",
        "acme",
        "none",
        False,
    )
    assert (two["layout"], two["package_dir"], two["gateway"]) == ("package", "src/shop", True)
    for answers in (one, two):
        assert [answers[n] for n in ("pricing_tier", "framework", "cache_backend")] == ["pro", "flask", "redis"]
    assert "'somewhere' is not in" in json.loads(wrong.stdout)["error"]


def test_an_answer_given_twice(template: Template, tmp_path: Path) -> None:
    """Which of the two was meant, nobody can know."""
    done = new(template, tmp_path / "project", "--defaults", "--pricing-tier", "pro", "-d", "pricing_tier=free")

    assert done.returncode == 2
    assert "pricing_tier is given by --pricing-tier too" in done.stderr


def test_dry_run_lists_what_would_be_written(template: Template, renders: Renders, tmp_path: Path) -> None:
    """A path a line in a pipe; not even the folder is made."""
    done = new(template, tmp_path / "deep/project", "--defaults", "--project-name", "Acme Voice", "--dry-run")

    assert done.stdout.splitlines() == sorted(files(renders.of(SERVICES[0])))
    assert done.stderr == f"{len(done.stdout.splitlines())} files of v1.0.0, none written\n"
    assert os.listdir(tmp_path) == []


def test_diff_is_the_patch_that_makes_it(template: Template, renders: Renders, tmp_path: Path) -> None:
    """Every byte; nothing is written, in a folder that is there neither."""
    (tmp_path / "project").mkdir()
    done = new(template, tmp_path / "project", "--defaults", "--project-name", "Acme Voice", "--diff")
    as_json = new(template, tmp_path / "project", "--project-name", "Acme Voice", "--diff", "--json")
    (tmp_path / "patch").write_text(done.stdout)
    assert os.listdir(tmp_path / "project") == []
    git(tmp_path / "project", "init", "-q")
    git(tmp_path / "project", "apply", tmp_path / "patch")
    made, wanted = files(tmp_path / "project"), files(renders.of(SERVICES[0]))

    assert {n: c for n, c in made.items() if n[0] != "."} == {n: c for n, c in wanted.items() if n[0] != "."}
    assert json.loads(as_json.stdout)["diff"] == done.stdout
    assert json.loads(as_json.stdout)["path"] == str(tmp_path / "project")


def test_dry_run_refuses_as_new_does(template: Template, tmp_path: Path) -> None:
    """Before it renders anything."""
    (tmp_path / "mine.txt").write_text("mine\n")
    done = new(template, tmp_path, "--defaults", "--dry-run")

    assert done.returncode == 1
    assert done.stderr.startswith(f"copier-elevenlabs: {tmp_path} is not empty (mine.txt); for a project that exists")


def test_on_a_terminal_a_tree_is_drawn(template: Template, tmp_path: Path) -> None:
    """And NO_COLOR is minded, by the diff too, where a carriage return would be seen."""
    argv = ["-m", "generator", "new", str(tmp_path / "project"), "--defaults", "--dry-run"]
    terminal = pexpect.spawn(sys.executable, argv, cwd=str(template.path), encoding="utf-8", timeout=300)
    terminal.expect("├── ")
    terminal.expect("files of v1.0.0, none written")
    terminal.expect(pexpect.EOF)
    plain = pexpect.spawn(
        sys.executable,
        [*argv[:-1], "--diff"],
        cwd=str(template.path),
        encoding="utf-8",
        timeout=300,
        searchwindowsize=200,
        env=dict(os.environ) | {"NO_COLOR": "1", "TERM": "xterm"},
    )
    plain.expect(pexpect.EOF)

    assert "+++ b/pyproject.toml" in plain.before
    assert "\x1b[3" not in plain.before


def test_in_a_pipe_no_line_for_each_file(template: Template, tmp_path: Path) -> None:
    """What Copier says of a hundred files would hide what comes after; the next steps are kept."""
    done = new(template, tmp_path / "project", "--defaults")

    assert "create" not in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stderr.split("\n")[:2] == ["Copying from template version 1.0.0", "Next:"]
    assert "serve --sandbox" in done.stderr
