"""`copier-elevenlabs add`: into projects that exist, which keep every byte but for the lines that were shown."""

import json
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pexpect
import pytest
from hosts import FASTAPI, FLASK, HOSTS, MONOREPO, OTHERS, WORKER, Host, build
from rendering import Template, commit, files, git, run
from test_runs import free_port, started

RECORD = ".copier-answers.elevenlabs.yml"


def add(template: Template, *argv: str | Path) -> CompletedProcess[str]:
    """As installed from that checkout, without a terminal."""
    return run(sys.executable, "-m", "generator", "add", *argv, cwd=template.path)


def added(template: Template, project: Path, *argv: str) -> dict[str, Any]:
    done = add(template, project, "--yes", "--json", *argv)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def refused(done: CompletedProcess[str], *, code: int = 1) -> str:
    """The one line on stderr."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == code, done.stdout + done.stderr
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    return lines[0].removeprefix("copier-elevenlabs: ")


def environment(host: Host, **more: str) -> dict[str, str]:
    ours = {"PYTHONPATH": host.path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "SPEECH_ENV": "development"}
    return ours | more


def own_tests(project: Path, host: Host) -> None:
    done = run(sys.executable, *host.tests, cwd=project / host.folder, **environment(host))
    assert done.returncode == 0, done.stdout + done.stderr


def paste(project: Path, step: dict[str, Any]) -> None:
    """The printed lines, into the printed file, after the printed line."""
    lines = (project / step["file"]).read_bytes().splitlines()
    at = step["after"]
    lines[at:at] = [line.encode() for line in step["lines"]]
    (project / step["file"]).write_bytes(b"\n".join(lines) + b"\n")


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_a_host_keeps_its_bytes_and_tests_and_speaks(template: Template, tmp_path: Path, host: Host) -> None:
    """Detected; only the shown lines appended; its tests pass before and after; its app speaks."""
    project = build(tmp_path / "host", host.tree)
    own_tests(project, host)
    before = files(project)
    said = added(template, project)

    assert {name: said["detected"][name]["value"] for name in ("framework", "package_dir", "dependencies")} == {
        "framework": host.framework,
        "package_dir": host.package_dir,
        "dependencies": host.dependencies,
    }
    assert only_what_was_shown(before, files(project), said)
    assert said["next"][0]["lines"][0].startswith(host.installs)

    for step in said["next"]:
        if step["file"]:
            paste(project, step)
    own_tests(project, host)
    if not host.serve:
        return
    with (project / host.routes).open("a") as routes:
        routes.write(host.route)
    assert says_hello(project, host)


def only_what_was_shown(before: dict[str, bytes], after: dict[str, bytes], said: dict[str, Any]) -> bool:
    assert set(after) - set(before) - set(said["appended"]) == set(said["written"])
    assert set(before) <= set(after)
    for name, content in before.items():
        tail = after[name].removeprefix(content)
        assert after[name].startswith(content)
        assert bool(tail) == (name in said["appended"])
    for name, lines in said["appended"].items():
        old, new = before.get(name, b""), after[name]
        encoding = "utf-16" if old.startswith(b"\xff\xfe") else "utf-8"
        end = "\r\n" if "\r\n" in old.decode(encoding) else "\n"
        ended = old.decode(encoding).endswith(("\n", "\ufeff")) or not old
        wanted = end.join(lines) + end if ended else end + end.join(lines)
        assert new[len(old) :].decode("utf-16-le" if encoding == "utf-16" else encoding) == wanted
    return True


def says_hello(project: Path, host: Host) -> bool:
    """Through the host's own application, on the rendered sandbox."""
    port, sandbox_port = free_port(), free_port()
    folder, module = project / host.folder, host.package_dir.rpartition("/")[2]
    sandbox = ("-m", f"{module}.speech", "sandbox", "--port", str(sandbox_port))
    env = environment(
        host, ELEVENLABS_BASE_URL=f"http://127.0.0.1:{sandbox_port}", ELEVENLABS_API_KEY="any-key-will-do"
    )
    with started(*sandbox, cwd=folder, port=sandbox_port, env=env):
        if host.framework == "none":
            done = run(sys.executable, *host.serve, cwd=folder, **env)
            return done.stdout.strip() == "HELLO audio/mpeg"
        with started(*host.serve, str(port), cwd=folder, port=port, env=env):
            said = httpx.get(f"http://127.0.0.1:{port}/say/hello", timeout=60)
    return (said.status_code, said.headers["content-type"]) == (200, "audio/mpeg")


def test_updates_by_plain_copier_leave_another_templates_answers_alone(changeable: Template, tmp_path: Path) -> None:
    """Each template has a record of its own; ours comes forward with `copier update -a`, and edits stay."""
    project = build(tmp_path / "host", FASTAPI.tree)
    added(changeable, project, "-d", "pricing_tier=pro")
    edited = project / "src/shop/speech/breaker.py"
    edited.write_text(edited.read_text() + "# mine\n")
    commit(project, "added")
    changeable.release("v2.0.0", {"template/{{ home_ }}/speech/faults.py": ('"""', '"""Second edition.  ')})
    here = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{changeable.path}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/copier-elevenlabs/copier-elevenlabs.git",
        "COPIER_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = run(sys.executable, "-m", "copier", "update", "-a", RECORD, "--defaults", cwd=project, **here)

    assert done.returncode == 0, done.stderr
    assert "Second edition." in (project / "src/shop/speech/faults.py").read_text()
    assert edited.read_text().endswith("# mine\n")
    assert (project / ".copier-answers.yml").read_bytes() == OTHERS
    changed = set(git(project, "diff", "--name-only", "HEAD").splitlines())
    assert changed == {RECORD, "src/shop/speech/faults.py"}


def test_renders_what_copier_renders(template: Template, tmp_path: Path) -> None:
    """The same bytes as by plain Copier, but for the recorded source; what git would do to them is said."""
    project = build(tmp_path / "host", {**WORKER.tree, ".gitignore": "*.json\n", ".env": "A=1\n"})
    said = added(template, project, "-d", "cache_backend=disk", "-d", "metrics=none")
    plain = template.copy(tmp_path / "plain", said["answers"])
    wanted, got = files(plain), files(project)

    assert set(said["written"]) == set(wanted)
    assert [name for name, content in wanted.items() if got[name] != content] == [RECORD]
    assert "your .gitignore keeps jobs/speech/MANIFEST.json and 2 more out" in said["notes"][0]
    assert ".env is tracked" in said["notes"][1]


def test_dry_run_writes_nothing_and_its_diff_is_what_is_written(template: Template, tmp_path: Path) -> None:
    """`--diff` is a patch that git applies: line ends, and files without one, and all."""
    project = build(tmp_path / "host", FLASK.tree)
    before = files(project)
    said = json.loads(add(template, project, "--dry-run", "--diff", "--json").stdout)
    assert files(project) == before

    (tmp_path / "added.patch").write_bytes(said["diff"].encode())
    git(project, "apply", "--whitespace=nowarn", str(tmp_path / "added.patch"))
    patched = files(project)
    git(project, "stash", "-u", "-q")
    added(template, project)

    assert patched == files(project)
    assert patched[".gitignore"] == before[".gitignore"] + b"\r\n.env*\r\n!.env.example\r\n.speech/"


def test_says_before_it_writes_and_ends_with_lines_to_paste(template: Template, tmp_path: Path) -> None:
    """In a pipe: no colour, what was found, each file and line, then the steps, all of the package that was named."""
    project = build(tmp_path / "host", MONOREPO.tree)
    done = add(template, project, "--yes", "--package-dir", "apps/mill/mill", "-d", "cache_backend=redis")
    found, shown, left = done.stdout.partition("+ ./")[0], done.stdout, done.stdout.partition("Written. Next:")[2]

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "framework     none" in found and "apps/mill/mill" in found
    assert "+ apps/mill/mill/speech/stores/" in shown and "new file .gitignore\n+ .env*" in shown
    assert "# REDIS_URL=" in shown
    assert "also into [project] dependencies of pyproject.toml" in left
    assert "cd apps/mill && pip install -r mill/speech/requirements.txt" in left
    assert "cd apps/mill && python -m mill.speech speak" in left


# --- refused, in one line, with every byte as it was ---


def test_nothing_that_its_repository_names_is_run(template: Template, tmp_path: Path) -> None:
    """Git's file monitor is a program, and whose program that is nobody asked."""
    project, ran = build(tmp_path / "host", WORKER.tree), tmp_path / "ran"
    (tmp_path / "watch").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (tmp_path / "watch").chmod(0o755)
    git(project, "config", "core.fsmonitor", str(tmp_path / "watch"))
    done = add(template, project, "--defaults", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert not ran.exists()


NOTHING = ["--yes"]
REFUSED: dict[str, tuple[dict[str, str], list[str], str]] = {
    "dirty": ({"new.txt": ""}, NOTHING, "uncommitted changes in new.txt: commit or stash first"),
    "many dirty": ({f"{n}.txt": "" for n in "abcde"}, NOTHING, "a.txt, b.txt, c.txt and 2 more"),
    "nobody to ask": ({}, [], "no terminal here to ask at: say --defaults"),
    "no such folder": ({}, [*NOTHING, "-d", "package_dir=src/shpo"], "src/shpo is not a folder of {dest} (src/shop?)"),
    "a bad folder": ({}, [*NOTHING, "-d", "package_dir=../host"], "is not a plain path"),
    "tests": ({}, [*NOTHING, "-d", "package_dir=tests"], "tests and ops hold files of a service"),
    "a service": ({}, [*NOTHING, "-d", "layout=service"], "copier-elevenlabs new"),
    "a bad answer": ({}, [*NOTHING, "-d", "pricing_tier=gold"], "'gold' is not in"),
    "no answer": ({}, [*NOTHING, "-d", "teir=pro"], "teir"),
    "impossible": ({}, [*NOTHING, "-d", "framework=none", "-d", "gateway=true"], "gateway"),
    "no answers file": ({}, [*NOTHING, "--answers", "/nonexistent.yml"], "No such file"),
    "added": ({RECORD: "", "+": ""}, NOTHING, "it was added before; copier-elevenlabs update"),
    "ours": ({"src/shop/speech/MANIFEST.json": "{}", "+": ""}, NOTHING, "ours already: copier-elevenlabs update"),
    "theirs": ({"src/shop/speech/say.py": "", "+": ""}, NOTHING, "src/shop/speech is there, and not ours"),
    "their module": ({"src/shop/speech.py": "", "+": ""}, NOTHING, "src/shop/speech.py is there, and not ours"),
}


@pytest.mark.parametrize(("more", "argv", "why"), REFUSED.values(), ids=REFUSED)
def test_refusals_are_one_line(
    template: Template, tmp_path: Path, more: dict[str, str], argv: list[str], why: str
) -> None:
    """What is in the way and what to do; nothing is written."""
    project = build(tmp_path / "host", FASTAPI.tree)
    for name, content in more.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)
    if "+" in more:
        commit(project)
    before = files(project)
    done = add(template, project, *argv)

    assert why.format(dest=project) in refused(done)
    assert files(project) == before


def test_no_folder_and_no_package(template: Template, tmp_path: Path) -> None:
    """A path that is none, and a project whose package can't be known: which it could be, or how to make one."""
    script = build(tmp_path / "script", {"app.py": "from flask import Flask\n\napp = Flask(__name__)\n"})
    two = build(tmp_path / "two", {"a/__init__.py": "", "b/__init__.py": ""})

    assert "does not exist" in refused(add(template, tmp_path / "nope", "--yes"))
    assert "is not a folder" in refused(add(template, script / "app.py", "--yes"))
    assert "mkdir voice" in refused(add(template, script, "--yes"))
    assert "several packages (a, b): say --package-dir" in refused(add(template, two, "--yes"))
    (script / "app").mkdir()
    assert "app.py hides app/" in refused(add(template, script, "--yes", "-d", "package_dir=app"))
    assert "two applications" not in json.loads(add(template, two, "--yes", "--json").stdout)["error"]


def test_a_flat_script_without_git(template: Template, tmp_path: Path) -> None:
    """A folder made for it is enough; that updates need git is said."""
    (tmp_path / "voice").mkdir()
    (tmp_path / "app.py").write_text("from flask import Flask\n\napp = Flask(__name__)\n")
    said = added(template, tmp_path, "-d", "package_dir=voice")
    paste(tmp_path, next(step for step in said["next"] if step["file"] == "app.py"))
    done = run(sys.executable, "-c", "import app; print(app.app.extensions['speech'])", cwd=tmp_path)

    assert said["notes"] == ["not under git: nothing shows what was added, and updates need it (git init, commit)"]
    assert "Blocking" in done.stdout, done.stderr


# --- wholly, or not at all ---

BREAKING = """
import os, signal, sys
from pathlib import Path
from generator.hosting import adding

dest, interrupted = Path(sys.argv[1]), sys.argv[2] == "interrupted"
left = None

def stop(event, given):
    global left
    if event != "open" or left is None or not str(given[0]).startswith(str(dest)) or given[1] not in ("w", "a"):
        return
    left -= 1
    if left < 0 and interrupted:
        os.kill(os.getpid(), signal.SIGINT)
    elif left < 0:
        raise OSError(28, "No space left on device", str(given[0]))

def bytes_of():
    return {str(f): f.is_dir() or f.read_bytes() for f in sorted(dest.rglob("*"))}

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(stop)
host = adding.look(dest, {})
before = bytes_of()
with adding.staged(dest, host, adding.answers_for(host, {}, ask=False), ask=False) as addition:
    for writes in range(len(addition.new) + len(addition.appended)):
        left = writes
        try:
            adding.write(addition)
            print("written in spite of it after", writes)
        except (OSError, KeyboardInterrupt):
            left = None
            if bytes_of() != before:
                print("changed after", writes, set(bytes_of()) ^ set(before))
    print("broken", writes + 1, "times")
    left = None
    adding.write(addition)
"""


@pytest.mark.parametrize("how", ["interrupted", "full"])
def test_stopped_at_any_file_leaves_every_byte(template: Template, tmp_path: Path, how: str) -> None:
    """A full disk, or Ctrl-C, at each file in turn, new or appended to: all is as it was, and it can be done again."""
    project = build(tmp_path / "host", FLASK.tree)
    done = run(sys.executable, "-c", BREAKING, project, how, cwd=template.path)
    written = len(set(files(project)) - set(FLASK.tree))

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"broken {written + 2} times"]
    assert written > 50


def at_a_terminal(template: Template, project: Path, *argv: str) -> "pexpect.spawn[str]":
    return pexpect.spawn(
        sys.executable,
        ["-m", "generator", "add", str(project), *argv],
        cwd=str(template.path),
        encoding="utf-8",
        timeout=120,
        dimensions=(60, 160),
    )


def test_at_a_terminal_it_asks_and_ctrl_c_leaves_nothing(template: Template, tmp_path: Path) -> None:
    """What could not be known is asked, then Copier's questions; Ctrl-C there, and at the last question, undoes all."""
    project = build(tmp_path / "host", {"a/__init__.py": "", "b/__init__.py": "", "c.txt": "kept\n"})
    before = files(project)
    terminal = at_a_terminal(template, project)
    terminal.expect("Folder of your package")
    terminal.sendline("b")
    terminal.expect("Your ElevenLabs plan")
    terminal.sendcontrol("c")
    terminal.expect("stopped: nothing was written")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert (terminal.exitstatus, files(project)) == (1, before)

    told = ("package_dir=b", "pricing_tier=pro", "framework=none", "cache_backend=memory", "metrics=none")
    terminal = at_a_terminal(template, project, *(word for answer in told for word in ("-d", answer)))
    terminal.expect("Write this")
    terminal.sendcontrol("c")
    terminal.expect("stopped: nothing was written")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert (terminal.exitstatus, files(project)) == (1, before)


def test_at_a_terminal_yes_writes(template: Template, tmp_path: Path) -> None:
    """Every question by its default, then the last one: y."""
    project = build(
        tmp_path / "host", {"shop/__init__.py": "", "shop/main.py": "import fastapi\napi = fastapi.FastAPI()\n"}
    )
    terminal = at_a_terminal(template, project)
    for question in ("Your ElevenLabs plan", "audio and the ledger", "HTTP routes", "Metrics"):
        terminal.expect(question)
        terminal.send("\r" if question != "HTTP routes" else "y")
    terminal.expect("Write this")
    terminal.sendline("y")
    terminal.expect("install\\(api\\)")
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert terminal.exitstatus == 0
    assert (project / "shop/speech/web/fastapi_routes.py").exists()
    assert b"SPEECH_CLIENT_KEYS=" in (project / ".env.example").read_bytes()
