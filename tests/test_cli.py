"""`copier-elevenlabs new`: what plain Copier does, with one line for whatever goes wrong."""

import json
import os
import shutil
import stat
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from rendering import SERVICES, Renders, Template, files, git, run


def new(template: Template, *argv: str | Path) -> CompletedProcess[str]:
    """As installed from that checkout."""
    return run(sys.executable, "-m", "generator", "new", *argv, cwd=template.path)


def one_line(done: CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("Copying from")]
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("copier-elevenlabs: ")


def test_renders_what_copier_renders(template: Template, renders: Renders, tmp_path: Path) -> None:
    """The same files; only the recorded source is the public address."""
    done = new(template, tmp_path / "deep/project", "--defaults", "-d", "project_name=Acme Voice")
    rendered, wanted = files(tmp_path / "deep/project"), files(renders.of(SERVICES[0]))
    recorded = yaml.safe_load(rendered.pop(".copier-answers.yml"))

    assert done.returncode == 0, done.stderr
    assert rendered == {name: content for name, content in wanted.items() if name != ".copier-answers.yml"}
    assert recorded["_src_path"] == "gh:copier-elevenlabs/copier-elevenlabs"
    assert recorded["_commit"] == "v1.0.0"


def test_ends_with_next_steps_to_paste(template: Template, tmp_path: Path) -> None:
    """What is printed last can be run as it stands."""
    done = new(template, tmp_path / "project", "--defaults", "-d", "project_name=Acme Voice")
    steps = done.stderr[done.stderr.index("Next:") :]

    assert f"cd {tmp_path / 'project'}" in steps
    assert "python -m acme_voice serve --sandbox" in steps


def test_json_says_what_was_rendered(template: Template, tmp_path: Path) -> None:
    """For programs: where, which version, which answers, which files; and nothing else on stdout."""
    done = new(template, tmp_path / "project", "--json", "-d", "pricing_tier=pro")
    said = json.loads(done.stdout)

    assert (done.returncode, done.stderr) == (0, "")
    assert (said["path"], said["version"]) == (str(tmp_path / "project"), "v1.0.0")
    assert said["answers"]["pricing_tier"] == "pro"
    assert set(said["files"]) == set(files(tmp_path / "project"))


def test_answers_file_and_data_together(template: Template, tmp_path: Path) -> None:
    """--data wins; what Copier records beside the answers is left out."""
    recorded = "_commit: v0\n_src_path: /elsewhere\nborn: service src/other\nproject_name: Other\npricing_tier: free\n"
    (tmp_path / "answers.yml").write_text(recorded)
    done = new(
        template, tmp_path / "project", "--json", "--answers", tmp_path / "answers.yml", "-d", "pricing_tier=pro"
    )
    answers = json.loads(done.stdout)["answers"]

    assert (answers["package_name"], answers["pricing_tier"]) == ("other", "pro")


def test_uncommitted_changes_are_never_rendered(changeable: Template, tmp_path: Path) -> None:
    """A project must be able to find the state that it came from again."""
    (changeable.path / "template/README.md.jinja").write_text("# Half an idea\n")
    (changeable.path / "template/stray.txt").write_text("never committed\n")
    done = new(changeable, tmp_path / "project", "--json")

    assert done.returncode == 0, done.stderr
    assert "Half an idea" not in (tmp_path / "project/README.md").read_text()
    assert not (tmp_path / "project/stray.txt").exists()
    assert "stray.txt" in git(changeable.path, "status", "--porcelain")


def test_a_checkout_ahead_of_its_tag_renders_its_last_commit(changeable: Template, tmp_path: Path) -> None:
    """What is committed counts, tagged or not."""
    changeable.release("v1.1.0", {"template/README.md.jinja": ("# {{ package_name }}", "# {{ package_name }} two")})
    git(changeable.path, "tag", "-d", "v1.1.0")
    new(changeable, tmp_path / "project", "--json")

    assert (tmp_path / "project/README.md").read_text().startswith("# my_voice two")


WRONG = {
    "unknown plan": (["-d", "pricing_tier=gold"], "'gold' is not in"),
    "of another layout": (["-d", "layout=package", "-d", "deploy=yes"], "deploy is only for layout=service"),
    "unknown answer": (["-d", "teir=pro"], 'unknown answer "teir"'),
    "keyword": (["-d", "package_name=class"], '"class" is a word of Python itself'),
    "line break": (["-d", "package_name=a\nb"], '"a\\nb" is not lower-case'),
    "no file": (["--answers", "/nonexistent.yml"], "/nonexistent.yml: No such file or directory"),
}


@pytest.mark.parametrize(("argv", "said"), WRONG.values(), ids=WRONG)
def test_refusals_are_one_line(template: Template, tmp_path: Path, argv: list[str], said: str) -> None:
    """The reason alone, exit code 1, nothing written."""
    done = new(template, tmp_path / "new/project", "--defaults", *argv)

    assert done.returncode == 1
    assert said in one_line(done)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"{", "is not a YAML file"), (b"\xff\xfe", "is not a YAML file"), (b"just words", "does not hold answers")],
)
def test_a_file_that_holds_no_answers(template: Template, tmp_path: Path, content: bytes, said: str) -> None:
    """Says which file, and what it should hold."""
    (tmp_path / "answers.yml").write_bytes(content)
    done = new(template, tmp_path / "project", "--defaults", "--answers", tmp_path / "answers.yml")

    assert done.returncode == 1
    assert f"{tmp_path / 'answers.yml'} {said}" in one_line(done)


@pytest.mark.parametrize("argv", [["--nope"], ["-d", "teir"], ["-d", "born=service src/my_voice"]])
def test_wrong_usage_is_exit_code_2(template: Template, tmp_path: Path, argv: list[str]) -> None:
    """As every command line does it."""
    done = new(template, tmp_path / "project", "--defaults", *argv)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "project").exists()


def test_refusal_as_json(template: Template, tmp_path: Path) -> None:
    """A program reads the reason where it reads the rest."""
    done = new(template, tmp_path / "project", "--json", "-d", "pricing_tier=gold")

    assert done.returncode == 1
    assert "'gold' is not in" in json.loads(done.stdout)["error"]


def test_refuses_a_folder_that_is_not_empty(template: Template, tmp_path: Path) -> None:
    """Names what is there, changes nothing, and says what to do instead."""
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (tmp_path / name).write_text("mine\n")
    done = new(template, tmp_path, "--defaults")

    assert done.returncode == 1
    assert f"{tmp_path} is not empty (a.txt, b.txt, c.txt and 1 more)" in one_line(done)
    assert "copier-elevenlabs add" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt", "c.txt", "d.txt"]


def test_a_fresh_repository_is_as_good_as_empty(template: Template, tmp_path: Path) -> None:
    """`git init` first is a habit, not a project."""
    git(tmp_path, "init", "-q", "project")
    done = new(template, tmp_path / "project", "--defaults")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "project/pyproject.toml").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the file system asks no such user")
def test_unwritable_folder(template: Template, tmp_path: Path) -> None:
    """Its path and the system's reason."""
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = new(template, tmp_path / "project", "--defaults")
    tmp_path.chmod(stat.S_IRWXU)

    assert done.returncode == 1
    assert "Permission denied" in one_line(done)


def test_destination_below_a_file(template: Template, tmp_path: Path) -> None:
    """A path that cannot be made is one line too."""
    (tmp_path / "file").write_text("")
    done = new(template, tmp_path / "file/project", "--defaults")

    assert done.returncode == 1
    assert "Not a directory" in one_line(done)


def test_neither_checkout_nor_wheel(template: Template, tmp_path: Path) -> None:
    """A downloaded archive has no history to render from."""
    shutil.copytree(template.path, tmp_path / "archive", ignore=shutil.ignore_patterns(".git"))
    done = new(Template(tmp_path / "archive"), tmp_path / "project", "--defaults")

    assert done.returncode == 1
    assert "neither a git checkout nor an installed wheel" in one_line(done)


def test_without_a_terminal_it_says_so(template: Template, tmp_path: Path) -> None:
    """It never waits for answers that nobody can give."""
    done = run(sys.executable, "-m", "generator", "new", tmp_path / "project", cwd=template.path)

    assert done.returncode == 1
    assert one_line(done) == "no terminal here to ask at: say --defaults"
