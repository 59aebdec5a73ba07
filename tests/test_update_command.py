"""`copier-elevenlabs update`: says everything beforehand, then does exactly that, or nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pexpect
import pytest
import yaml
from rendering import (
    PACKAGES,
    PLANS,
    ROOT,
    SERVICES,
    Renders,
    Template,
    append,
    commit,
    edit_in_the_middle,
    files,
    git,
    run,
)
from typer.testing import CliRunner, Result

from generator.changes import File
from generator.cli import app
from generator.updating.applying import all_or_nothing, apply, put
from generator.updating.preview import foresee

SPEECH = "src/acme_voice/speech"
SOURCE = "gh:copier-elevenlabs/copier-elevenlabs"


def update(project: Path, *argv: str) -> Result:
    """In this process; from wherever the project says that it comes."""
    return CliRunner().invoke(app, ["update", str(project), *argv], prog_name="copier-elevenlabs")


def installed(template: Template, *argv: str | Path) -> CompletedProcess[str]:
    """As installed from that checkout: it stands in for the public address."""
    return run(sys.executable, "-m", "generator", *argv, cwd=template.path)


def told(result: Result) -> dict[str, Any]:
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def refusal(result: Result) -> str:
    """The one line that says why."""
    assert result.exit_code == 1, result.output
    assert (result.stdout, result.stderr.count("\n")) == ("", 1), result.output
    return result.stderr.strip().removeprefix("copier-elevenlabs: ")


def everything(project: Path) -> dict[str, bytes | str]:
    """All that an update could touch: files, what Git holds of them, and worktrees that it may have left."""
    index = (project / ".git/index").read_bytes()
    return {**files(project), ".git/index": index, ".git/worktrees": git(project, "worktree", "list")}


def recorded(project: Path) -> dict[str, Any]:
    found = yaml.safe_load(next(project.glob(".copier-answers*.yml")).read_text())
    assert isinstance(found, dict)
    return found


# --- what comes of it


@pytest.mark.parametrize(("old", "new"), [("creator", "enterprise"), ("payg", "free")])
def test_another_plan_gives_what_a_fresh_copy_gives(renders: Renders, tmp_path: Path, old: str, new: str) -> None:
    """copy(A) + update(B) == copy(B), every byte; over all pairs in `make test-all`."""
    project = renders.own(PACKAGES[0] | {"pricing_tier": old}, tmp_path / "project")
    said = told(update(project, "--pricing-tier", new, "--yes", "--json"))

    assert said["applied"]
    assert files(project) == files(renders.of(PACKAGES[0] | {"pricing_tier": new}))


@pytest.mark.full
@pytest.mark.parametrize("new", PLANS)
@pytest.mark.parametrize("old", PLANS)
def test_every_plan_to_every_other(renders: Renders, tmp_path: Path, old: str, new: str) -> None:
    """The same over every ordered pair, in a service."""
    project = renders.own(SERVICES[0] | {"pricing_tier": old}, tmp_path / "project")
    done = update(project, "--pricing-tier", new, "--yes")

    assert done.exit_code == 0, done.output
    assert files(project) == files(renders.of(SERVICES[0] | {"pricing_tier": new}))


def first_that_renders(clone: Path, dest: Path) -> str:
    """The oldest commit whose template renders with today's Copier."""
    import copier

    for found in git(clone, "log", "--reverse", "--format=%H", "--", "copier.yml").split():
        try:
            copier.run_copy(
                str(clone), dest, vcs_ref=found, defaults=True, quiet=True, data={"project_name": "Acme Voice"}
            )
        except Exception:  # noqa: BLE001 - whatever keeps it from rendering
            shutil.rmtree(dest, ignore_errors=True)
        else:
            return found
    raise AssertionError("no commit renders")


@pytest.mark.skipif(
    git(ROOT, "rev-parse", "--is-shallow-repository") == "true", reason="a shallow clone has no history"
)
def test_from_the_first_template_to_todays(tmp_path: Path) -> None:
    """copy(old) + update == copy(new), but for what was seeded once and is its owner's since."""
    clone = tmp_path / "template"
    git(tmp_path, "clone", "-q", str(ROOT), str(clone))
    for tag in git(clone, "tag").split():
        git(clone, "tag", "-d", tag)
    project = tmp_path / "project"
    oldest = first_that_renders(clone, project)
    commit(project)
    Template(clone).copy(tmp_path / "fresh", {})
    done = update(project, "--yes", "--json")
    seeded = {"README.md", "src/acme_voice/app.py"}

    assert done.exit_code == 0, done.output
    assert oldest.startswith(told(done)["from"])
    got, wanted = files(project), files(tmp_path / "fresh")
    assert {n: c for n, c in got.items() if n not in seeded} == {n: c for n, c in wanted.items() if n not in seeded}


RELEASE = {
    "template/{{ home_ }}/speech/faults.py": ('"""THE', '"""Second edition.  THE'),
    "template/{{ home_ }}/speech/retry.py": ('"""Try', '"""Second edition.  Try'),
}


def test_edits_survive_and_deleted_files_stay_deleted(changeable: Template, tmp_path: Path) -> None:
    """An edit in the middle of a file that the release changes too, a file that was not wanted, a mode, own files."""
    project = changeable.copy(tmp_path / "project", PACKAGES[0])
    faults, speech = project / "app/speech/faults.py", project / "app/speech"
    faults.write_text(edit_in_the_middle(faults))
    faults.chmod(0o755)
    (speech / "retry.py").unlink()
    (speech / "mine.py").write_text("mine = True\n")
    commit(project)
    changeable.release("v2.0.0", RELEASE)
    said = told(update(project, "--yes", "--json"))

    assert (said["from"], said["to"], said["conflicts"]) == ("v1.0.0", "v2.0.0", [])
    assert said["changed"] == [".copier-answers.elevenlabs.yml", "app/speech/faults.py"]
    assert "Second edition." in faults.read_text()
    assert "# mine, in the middle" in faults.read_text()
    assert faults.stat().st_mode & 0o777 == 0o755
    assert not (speech / "retry.py").exists()
    assert git(project, "status", "--porcelain", "-uall").split() == [
        "M",
        *said["changed"][:1],
        "M",
        *said["changed"][1:],
    ]


def test_crlf_stays(changeable: Template, tmp_path: Path) -> None:
    """A checkout with CRLF line ends shows only what the release changed."""
    project = changeable.copy(tmp_path / "project", PACKAGES[0])
    (project / ".gitattributes").write_text("* text=auto eol=crlf\n")
    commit(project)
    git(project, "rm", "-rq", "--cached", ".")
    git(project, "reset", "-q", "--hard")
    assert b"\r\n" in (project / "app/speech/faults.py").read_bytes()
    changeable.release("v2.0.0", RELEASE)
    said = told(update(project, "--yes", "--json"))

    assert said["conflicts"] == []
    assert set(git(project, "diff", "--name-only").split()) == {
        ".copier-answers.elevenlabs.yml",
        "app/speech/faults.py",
        "app/speech/retry.py",
    }
    assert git(project, "diff", "--numstat", "app/speech/faults.py").split()[:2] == ["1", "1"]


def test_what_git_ignores_is_updated_too(renders: Renders, tmp_path: Path) -> None:
    """`.env*` in a host's .gitignore hides our .env.example from git: edits in it are kept, and .env is not read."""
    project = renders.own(PACKAGES[0], tmp_path / "project")
    example = project / "app/speech/.env.example"
    (project / ".gitignore").write_text(".env*\n")
    git(project, "rm", "-q", "--cached", "app/speech/.env.example")
    commit(project)
    example.write_text(append(example, "MINE=1\n"))
    (project / "app/speech/.env").write_text("SECRET=" + "ab" * 24)
    said = told(update(project, "--pricing-tier", "pro", "--yes", "--json"))

    assert "app/speech/.env.example" in said["changed"]
    assert example.read_text().endswith("MINE=1\n")
    assert "# SPEECH_TIER=pro" in example.read_text()
    wanted = subprocess.run(["git", "hash-object", "app/speech/.env"], cwd=project, capture_output=True, text=True)
    assert run("git", "cat-file", "-e", wanted.stdout.strip(), cwd=project).returncode != 0


# --- what is said beforehand


def test_names_an_edited_file_that_another_answer_removes(renders: Renders, tmp_path: Path) -> None:
    """Copier deletes it without a word.  Plain, rendered and test files alike; what nobody touched is not named."""
    project = renders.own(SERVICES[0], tmp_path / "project")
    mine = [f"{SPEECH}/web/fastapi.py", "tests/speech/test_web_fastapi_install.py"]
    for name in mine:
        (project / name).write_text(edit_in_the_middle(project / name))
    commit(project)
    done = update(project, "--framework", "litestar", "--dry-run")
    said = told(update(project, "--framework", "litestar", "--dry-run", "--json"))

    assert sorted(said["removed_though_edited"]) == mine
    assert f"removed   {mine[0]}, though it was edited" in done.stdout.splitlines()
    assert f"removed   {SPEECH}/web/fastapi_routes.py" in done.stdout.splitlines()
    assert "answer    framework: fastapi -> litestar" in done.stdout.splitlines()
    assert "\x1b" not in done.stdout


def test_a_rehearsal_writes_nothing(renders: Renders, tmp_path: Path) -> None:
    """--dry-run leaves files, index and worktrees as they are; its diff is the patch that an update would be."""
    project = renders.own(PACKAGES[0], tmp_path / "project")
    before = everything(project)
    said = told(update(project, "--framework", "flask", "--dry-run", "--diff", "--json"))
    (tmp_path / "patch").write_text(said["diff"])

    assert everything(project) == before
    assert not said["applied"]
    git(project, "apply", tmp_path / "patch")
    assert files(project) == files(renders.of(PACKAGES[0] | {"framework": "flask"}))


def test_names_answers_that_nobody_changed(renders: Renders, tmp_path: Path) -> None:
    """The gateway is forgotten where there is no framework: Copier would not ask, nor say so."""
    project = renders.own(PACKAGES[0] | {"gateway": True}, tmp_path / "project")
    done = update(project, "--framework", "none", "--dry-run")
    said = told(update(project, "--framework", "none", "--dry-run", "--json"))

    assert said["answers_reset"] == {"gateway": {"from": True, "to": None}}
    assert "reset     gateway: true -> not asked, asked by nobody" in done.stdout.splitlines()


def test_names_a_plan_that_vanished(changeable: Template, tmp_path: Path) -> None:
    """It turns into the default, which is another bill."""
    project = changeable.copy(tmp_path / "project", PACKAGES[0] | {"pricing_tier": "scale"})
    commit(project)
    plans = (changeable.path / "generator/catalogue/plans.yaml").read_text()
    scale = plans[plans.index("  scale:\n") : plans.index("  business:\n")]
    changeable.release("v2.0.0", {"generator/catalogue/plans.yaml": (scale, "")})
    said = told(update(project, "--dry-run", "--json"))

    assert said["answers_reset"] == {"pricing_tier": {"from": "scale", "to": "creator"}}


def test_names_what_was_moved(changeable: Template, tmp_path: Path) -> None:
    """An update looks for files where it put them, and in vain; also when they moved twice."""
    project = changeable.copy(tmp_path / "project", PACKAGES[0])
    commit(project)
    for folder in ("lib", "lib2"):
        (project / folder).mkdir()
        git(project, "mv", "app/speech" if folder == "lib" else "lib/speech", f"{folder}/speech")
        commit(project)
    changeable.release("v2.0.0", RELEASE)
    done = update(project, "--dry-run")

    assert done.exit_code == 0, done.output
    assert "moved     app is lib2 now: nothing of this reaches it there" in done.stdout.splitlines()


def test_says_that_there_is_nothing_to_do(template: Template, renders: Renders, tmp_path: Path) -> None:
    """By exit code 0 and one line, from the recorded place and from the public address."""
    project = renders.own(PACKAGES[0], tmp_path / "project")
    installed(template, "new", tmp_path / "service", "--defaults")
    commit(tmp_path / "service")
    by_path, by_address = update(project, "--yes"), installed(template, "update", tmp_path / "service", "--yes")

    assert (by_path.exit_code, by_address.returncode) == (0, 0)
    assert by_path.stdout == f"nothing to do: {project} is at v1.0.0, with these answers\n"
    assert by_address.stdout == f"nothing to do: {tmp_path / 'service'} is at v1.0.0, with these answers\n"


# --- conflicts


def conflicting(changeable: Template, project: Path) -> Path:
    """A project whose owner rewrote a line that the next release rewrites too."""
    changeable.copy(project, PACKAGES[0])
    faults = project / "app/speech/faults.py"
    faults.write_text(faults.read_text().replace('"""', '"""Mine.  ', 1))
    commit(project)
    changeable.release("v2.0.0", RELEASE)
    return faults


def test_conflicts_are_named_and_end_in_exit_code_3(changeable: Template, tmp_path: Path) -> None:
    """Before, with their hunks, and after; and git status knows of them, as after `copier update`."""
    project = tmp_path / "project"
    faults = conflicting(changeable, project)
    by_copier = shutil.copytree(project, tmp_path / "by-copier")
    before = update(project, "--dry-run", "--diff")
    done = update(project, "--yes")
    run(sys.executable, "-m", "copier", "update", "--defaults", "-a", ".copier-answers.elevenlabs.yml", cwd=by_copier)

    assert (before.exit_code, done.exit_code) == (3, 3)
    assert "conflict  app/speech/faults.py" in before.stdout.splitlines()
    assert "+<<<<<<< before updating" in before.stdout.splitlines()
    assert "updated, with conflicts in app/speech/faults.py: choose between the markers" in done.stderr
    assert git(project, "status", "--porcelain") == git(by_copier, "status", "--porcelain")
    assert git(project, "ls-files", "-u") == git(by_copier, "ls-files", "-u") != ""
    assert files(project) == files(by_copier)
    git(project, "checkout", "--theirs", "app/speech/faults.py")
    assert '"""Second edition.' in faults.read_text()


def test_a_failure_in_the_middle_leaves_everything_as_it_was(changeable: Template, tmp_path: Path) -> None:
    """All files are written when it turns out that another git holds the index: all of them go back."""
    project = tmp_path / "project"
    conflicting(changeable, project)
    before = everything(project)
    (project / ".git/index.lock").touch()
    reason = refusal_of_json(update(project, "--yes", "--json"))
    (project / ".git/index.lock").unlink()

    assert "index.lock" in reason
    assert everything(project) == before
    assert git(project, "status", "--porcelain", "--ignored") == ""


def refusal_of_json(result: Result) -> str:
    assert result.exit_code == 1, result.output
    return str(told(result)["error"])


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError, SystemExit])
def test_stopped_anywhere_all_is_as_it_was(tmp_path: Path, stop: type[BaseException]) -> None:
    """Content, permissions and links come back; what was new goes, with the folders made for it."""
    (tmp_path / "secret").write_text("a\n")
    (tmp_path / "secret").chmod(0o640)
    os.symlink("secret", tmp_path / "link")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/gone").write_text("b\n")
    before = {path: (path.lstat().st_mode, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    names = ("secret", "link", "deep/gone", "new/folder/file")
    with pytest.raises(stop), all_or_nothing(tmp_path / name for name in names):
        put(tmp_path / "new/folder/file", File(b"c\n"), below=tmp_path)
        put(tmp_path / "secret", File(b"other\n", "100755"), below=tmp_path)
        put(tmp_path / "link", File(b"elsewhere", "120000"), below=tmp_path)
        put(tmp_path / "deep/gone", None, below=tmp_path)
        assert not (tmp_path / "deep").exists()
        raise stop
    after = {path: (path.lstat().st_mode, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}

    assert after == before
    assert not (tmp_path / "new").exists()


def test_ctrl_c_at_the_question_leaves_nothing(renders: Renders, tmp_path: Path) -> None:
    """One line, exit code 1; the preview stood above the question."""
    project = renders.own(PACKAGES[0], tmp_path / "project")
    before = everything(project)
    terminal = ask(project, "--pricing-tier", "pro")
    terminal.expect("app/speech/answers.py")
    terminal.expect("Apply this")
    terminal.sendcontrol("c")
    terminal.expect("stopped: nothing was written")
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert terminal.exitstatus == 1
    assert everything(project) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_stopped_while_it_looks_leaves_nothing(renders: Renders, tmp_path: Path, number: signal.Signals) -> None:
    """No worktree stays behind either, whether it is Ctrl-C or `kill`."""
    project = renders.own(PACKAGES[0], tmp_path / "project")
    before = everything(project)
    terminal = ask(project, "--pricing-tier", "pro")
    while not list((project / ".git").glob("worktrees/*/index")):
        assert terminal.isalive()
        time.sleep(0.01)
    os.kill(terminal.pid, number)
    terminal.expect("stopped: nothing was written")
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert terminal.exitstatus == 1
    assert everything(project) == before


@pytest.mark.parametrize(("answer", "applied"), [("y", True), ("", False)])
def test_asks_before_it_writes(renders: Renders, tmp_path: Path, answer: str, applied: bool) -> None:
    """Enter alone is no."""
    project = renders.own(PACKAGES[0], tmp_path / "project")
    terminal = ask(project, "--pricing-tier", "pro")
    terminal.expect("Apply this")
    terminal.send(answer + "\r")
    terminal.expect("updated: look at it" if applied else "stopped: nothing was written")
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert terminal.exitstatus == (0 if applied else 1)
    assert (recorded(project)["pricing_tier"] == "pro") is applied


def ask(project: Path, *argv: str) -> "pexpect.spawn[str]":
    """At a terminal."""
    command = ["-m", "generator", "update", str(project), *argv]
    return pexpect.spawn(sys.executable, command, cwd=str(ROOT), encoding="utf-8", timeout=300, dimensions=(60, 160))


def test_what_changed_since_the_preview_is_not_overwritten(renders: Renders, tmp_path: Path) -> None:
    """Somebody works on while the question stands there: refused, also when it was committed since."""
    project = renders.own(PACKAGES[0], tmp_path / "project")
    what = foresee(project, {"pricing_tier": "pro"})
    (project / "app/speech/answers.py").write_text("mine = True\n")
    for _ in range(2):
        before = everything(project)
        with pytest.raises(ValueError, match="the project has changed since the preview"):
            apply(what)
        assert everything(project) == before
        commit(project)


# --- whose project it is


def test_the_right_answers_file_by_itself(template: Template, host: Path) -> None:
    """Beside the one of another template; plain `copier update` would take that."""
    (host / ".copier-answers.yml").write_text("_src_path: gh:somebody/else\n_commit: v3.0.0\nname: x\n")
    template.copy(host, {"layout": "package"})
    commit(host)
    theirs = (host / ".copier-answers.yml").read_bytes()
    done = update(host, "--pricing-tier", "pro", "--yes")

    assert done.exit_code == 0, done.output
    assert yaml.safe_load((host / ".copier-answers.elevenlabs.yml").read_text())["pricing_tier"] == "pro"
    assert (host / ".copier-answers.yml").read_bytes() == theirs


def test_in_a_monorepo_the_folder_decides(renders: Renders, tmp_path: Path) -> None:
    """One of two projects, with the rest of the repository dirty and a submodule in it; from above, it says where."""
    for name in ("apps/one", "apps/two"):
        shutil.copytree(renders.of(PACKAGES[0]), tmp_path / "repo" / name)
    commit(tmp_path / "repo")
    library = tmp_path / "library"
    library.mkdir()
    commit(library)
    git(tmp_path / "repo", "-c", "protocol.file.allow=always", "submodule", "add", "-q", library, "apps/one/vendored")
    commit(tmp_path / "repo")
    (tmp_path / "repo/apps/two/mine.txt").write_text("not committed\n")
    from_above = refusal(update(tmp_path / "repo", "--yes"))
    said = told(update(tmp_path / "repo/apps/one", "--pricing-tier", "pro", "--yes", "--json"))

    assert from_above.endswith(f"say copier-elevenlabs update {tmp_path}/repo/apps/one or {tmp_path}/repo/apps/two")
    assert "app/speech/answers.py" in said["changed"]
    assert recorded(tmp_path / "repo/apps/one")["pricing_tier"] == "pro"
    assert recorded(tmp_path / "repo/apps/two")["pricing_tier"] == "creator"


def no_git(project: Path) -> None:
    shutil.rmtree(project / ".git")


def no_commit(project: Path) -> None:
    no_git(project)
    git(project, "init", "-q")


def dirty(project: Path) -> None:
    (project / "notes.txt").write_text("mine\n")


def unresolved(project: Path) -> None:
    git(project, "checkout", "-qb", "other")
    for branch, text in (("other", "a"), ("main", "b")):
        git(project, "checkout", "-q", branch)
        (project / "app/speech/answers.py").write_text(text)
        git(project, "commit", "-qam", text)
    run("git", "merge", "-q", "other", cwd=project)


def untracked(project: Path) -> None:
    (project / ".gitignore").write_text(".copier*\n")
    git(project, "rm", "-q", "--cached", ".copier-answers.elevenlabs.yml")
    commit(project)


def somebody_elses(project: Path) -> None:
    (project / ".copier-answers.elevenlabs.yml").write_text("_src_path: gh:somebody/else\n_commit: v1.0.0\n")


def nobodys(project: Path) -> None:
    (project / ".copier-answers.elevenlabs.yml").unlink()


def of_no_repository(project: Path) -> None:
    file = project / ".copier-answers.elevenlabs.yml"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("_commit")))


def twice(project: Path) -> None:
    shutil.copy(project / ".copier-answers.elevenlabs.yml", project / ".copier-answers.yml")


def broken(project: Path) -> None:
    (project / ".copier-answers.elevenlabs.yml").write_text("<<<<<<< before updating\n: [\n")


def gone(project: Path) -> None:
    shutil.rmtree(project)


REFUSED: dict[Callable[[Path], None], str] = {
    no_git: "is not under git: git init, git add -A and git commit first",
    no_commit: "nothing is committed in",
    dirty: "has uncommitted changes (notes.txt): commit or stash them first",
    unresolved: "has unresolved conflicts (app/speech/answers.py): resolve and commit them first",
    untracked: ".copier-answers.elevenlabs.yml is ignored by git: git add -f it and commit",
    somebody_elses: "comes of gh:somebody/else, not of this template; copier-elevenlabs add",
    nobodys: "was not rendered by this template; copier-elevenlabs add",
    of_no_repository: "records no _commit",
    twice: "are both ours: say which by copier update -a",
    broken: "is not a YAML file",
    gone: "is not a folder",
}


@pytest.mark.parametrize(("state", "why"), REFUSED.items(), ids=[state.__name__ for state in REFUSED])
def test_refusals_are_one_line(renders: Renders, tmp_path: Path, state: Callable[[Path], None], why: str) -> None:
    """What can't be updated safely, and what to do instead."""
    project = renders.own(PACKAGES[0], tmp_path / "project")
    state(project)

    assert why in refusal(update(project, "--yes"))


WRONG = {
    "unknown plan": (["--pricing-tier", "gold"], "'gold' is not in"),
    "another path": (["-d", "package_dir=lib"], "fixed at birth: package app; move the folder with git mv"),
    "another layout": (["-d", "layout=service"], "fixed at birth: package app"),
}


@pytest.mark.parametrize(("argv", "why"), WRONG.values(), ids=WRONG)
def test_wrong_answers_are_one_line(renders: Renders, tmp_path: Path, argv: list[str], why: str) -> None:
    """Nothing is touched: plain Copier would leave the tree half updated."""
    project = renders.own(PACKAGES[0], tmp_path / "project")
    before = everything(project)

    assert why in refusal(update(project, "--yes", *argv))
    assert everything(project) == before


def test_without_a_terminal_it_says_so(renders: Renders, tmp_path: Path) -> None:
    """It never waits for a yes that nobody can give."""
    project = renders.own(PACKAGES[0], tmp_path / "project")

    assert refusal(update(project)) == "no terminal here to ask at: say --yes or --dry-run"
    assert refusal_of_json(update(project, "--json")) == "no terminal here to ask at: say --yes or --dry-run"


# --- where it comes from


def test_a_source_that_is_gone_is_replaced(template: Template, tmp_path: Path) -> None:
    """By the public address, as a part of the update: previewed, in no commit of ours, and from there it goes on."""
    project = Template(Path(shutil.copytree(template.path, tmp_path / "checkout"))).copy(
        tmp_path / "project", PACKAGES[0]
    )
    commit(project)
    (tmp_path / "checkout").rename(tmp_path / "moved")
    before = git(project, "rev-parse", "HEAD")
    seen = installed(template, "update", project, "--dry-run")
    done = installed(template, "update", project, "--yes", "--json")

    assert f"source    {tmp_path}/checkout is not to be reached: {SOURCE} from now on" in seen.stdout.splitlines()
    assert json.loads(done.stdout)["changed"] == [".copier-answers.elevenlabs.yml"]
    assert recorded(project)["_src_path"] == SOURCE
    assert git(project, "rev-parse", "HEAD") == before
    commit(project)
    assert installed(template, "update", project, "--pricing-tier", "pro", "--yes").returncode == 0
    assert recorded(project)["pricing_tier"] == "pro"


def test_an_address_that_does_not_answer_is_not_replaced_unasked(
    template: Template, renders: Renders, tmp_path: Path
) -> None:
    """The network may be down: --yes is no yes to another source.  Whoever looks is offered it."""
    project = renders.own(PACKAGES[0], tmp_path / "project")
    file = project / ".copier-answers.elevenlabs.yml"
    lost = "https://127.0.0.1:9/fork.git"
    file.write_text(file.read_text().replace(recorded(project)["_src_path"], lost))
    commit(project)
    before = everything(project)
    refused = installed(template, "update", project, "--yes")
    offered = installed(template, "update", project, "--dry-run")

    assert refused.returncode == 1
    assert refused.stderr == (
        f"copier-elevenlabs: {lost} does not answer; without --yes you are asked whether to leave it\n"
    )
    assert f"source    {lost} is not to be reached: {SOURCE} from now on" in offered.stdout.splitlines()
    assert everything(project) == before


def test_an_older_command_on_a_newer_project(changeable: Template, template: Template, tmp_path: Path) -> None:
    """One line that says what to upgrade; other answers make no difference."""
    changeable.release("v1.1.0", RELEASE)
    project = tmp_path / "project"
    installed(changeable, "new", project, "--defaults")
    commit(project)
    for argv in ([], ["--pricing-tier", "pro"]):
        done = installed(template, "update", project, "--yes", *argv)
        assert done.returncode == 1
        assert done.stderr == (
            "copier-elevenlabs: this project comes of v1.1.0, this copier-elevenlabs holds v1.0.0: upgrade it\n"
        )


def test_ahead_of_the_newest_release(changeable: Template, tmp_path: Path) -> None:
    """Of a source that has tags, a commit between two of them: no downgrade, but other answers are given."""
    changeable.release("v1.1.0", RELEASE)
    git(changeable.path, "tag", "-d", "v1.1.0")
    import copier

    project = tmp_path / "project"
    copier.run_copy(str(changeable.path), project, vcs_ref="HEAD", data=PACKAGES[0], defaults=True, quiet=True)
    commit(project)
    told_nothing = refusal(update(project, "--yes"))
    done = update(project, "--pricing-tier", "pro", "--yes")

    assert told_nothing.startswith("nothing newer to update to: You are downgrading from 1.0.0.post1")
    assert done.exit_code == 0, done.output
    assert recorded(project)["pricing_tier"] == "pro"
    assert "Second edition." in (project / "app/speech/faults.py").read_text()
