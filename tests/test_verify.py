"""``verify``: a fresh render passes, and each thing that is broken in it is found, by name."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from rendering import ROOT, Renders, files, git, run
from typer.testing import CliRunner

from generator.cli import app
from generator.verifying import project as projects
from generator.verifying import running, scorecard, themes
from generator.verifying.checks import Result, Theme
from generator.verifying.running import Told

DISK = {"framework": "flask", "cache_backend": "disk", "metrics": "opentelemetry"}
REDIS = {"framework": "django", "cache_backend": "redis"}
LIBRARY = {"layout": "package", "framework": "none", "cache_backend": "memory"}


def only(*words: str) -> list[Theme]:
    """The themes, with those checks alone whose promise, or whose theme's name, is among the words."""
    chosen = []
    for theme in themes.ALL:
        acts = [replace(act, checks=tuple(c for c in act.checks if theme.name in words or said(c, words)))
                for act in theme.acts]  # fmt: skip
        if any(act.checks for act in acts):
            chosen.append(theme._replace(acts=tuple(act for act in acts if act.checks)))
    return chosen


def said(check: Any, words: tuple[str, ...]) -> bool:
    return any(word in check.promise for word in words)


def results(project: Path, *words: str) -> list[Result]:
    told = running.run(projects.find(project), only(*words), lambda _: None)
    return [result for theme in told for result in theme.results]


def cli(*argv: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "generator", "verify", *argv, cwd=ROOT, **env)


def test_a_fresh_render_passes_and_stays_as_it_was(renders: Renders, tmp_path: Path) -> None:
    """Whole, as its owner would run it: with settings of his own around that must not matter."""
    project = renders.own({}, tmp_path / "project")
    (project / ".env").write_text("ELEVENLABS_API_KEY=" + "sk_" + "ab" * 24 + "\n")
    (tmp_path / "scratch").mkdir()
    before = files(project)
    strange = {"SPEECH_ENV": "no such", "SPEECH_LIMITS": "{", "ELEVENLABS_BASE_URL": "https://127.0.0.1:9"}
    done = cli(project, "--json", TMPDIR=str(tmp_path / "scratch"), **strange)
    told = json.loads(done.stdout)
    checks = [check for theme in told["themes"] for check in theme["checks"]]

    assert [check for check in checks if check["state"] == "failed"] == []
    assert (done.returncode, told["passed"], len(told["themes"])) == (0, True, len(themes.ALL))
    assert sum(check["state"] == "passed" for check in checks) >= 55
    assert files(project) == before and not list(project.rglob("__pycache__"))
    assert git(project, "status", "--porcelain", "--ignored") == "!! .env"
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("answers", "words", "least"),
    [
        (DISK, ("drain", "worker", "only the admin"), 4),
        (REDIS, ("flash: 4 times", "interactive", "cost"), 12),
        (LIBRARY, ("errors", "drain", "security"), 20),
    ],
    ids=["flask-disk-opentelemetry", "django-redis", "package-none"],
)
def test_other_answers_pass(renders: Renders, answers: dict[str, Any], words: tuple[str, ...], least: int) -> None:
    """Another server, another store, and no service at all: by its Python API then."""
    if answers["cache_backend"] == "redis" and not (shutil.which("redis-server") or shutil.which("valkey-server")):
        pytest.skip("needs redis-server (or valkey-server) on the path: apt-get install redis-server")
    seen = results(renders.of(answers), *words)

    assert [result for result in seen if result.state == "failed"] == []
    assert sum(result.state == "passed" for result in seen) >= least


def test_what_a_library_has_not_is_not_passed(renders: Renders) -> None:
    """It says so, and why."""
    seen = results(renders.of(LIBRARY), "worker", "no CORS", "413 too_large")

    assert [result.state for result in seen] == ["not applicable"] * 3
    assert {result.seen for result in seen} == {"this project has no HTTP routes of its own"}


BREAKS = {
    "one call more than the limit": (
        "src/acme_voice/speech/limiter.py",
        "self._in_flight + self._weight(ticket) <= self.allowance.limit and",
        "self._in_flight + self._weight(ticket) <= self.allowance.limit + 1 and",
        "flash: 4 times the plan",
    ),
    "the key in a log": (
        "src/acme_voice/speech/upstream.py",
        "        return self._sdk\n",
        '        logger.debug("calling with %s", self._api_key)\n        return self._sdk\n',
        "logs everything in its own way",
    ),
    "the key in our own log": (
        "src/acme_voice/speech/logs.py",
        "        for spelling in self._spellings:\n",
        '        text += f" {self._spellings}"\n        for spelling in []:\n',
        "in any log line",
    ),
    "no breaker": (
        "src/acme_voice/speech/breaker.py",
        "self._states = self._breaker._enter()",
        "self._states = ONLY_WATCHED",
        "opens the breaker",
    ),
    "an old price": (
        "src/acme_voice/speech/catalogue.json",
        '"usd_per_1000_characters": 0.08',
        '"usd_per_1000_characters": 0.1',
        "every price",
    ),
    "twice the price": ("src/acme_voice/speech/catalogue.py", "/ 1000, 9)", "/ 500, 9)", "each model costs"),
    ".env under git": (".gitignore", ".env*\n!.env.example\n", "", "git ignores .env"),
    "anybody is the admin": (
        "src/acme_voice/speech/web/auth.py",
        "given, found = _hash(_key(headers, basic)), None",
        "given, found = _hash(_key(headers, basic)), ADMIN",
        "without a key that is known",
    ),
    "voice settings are not in the key": (
        "src/acme_voice/speech/request.py",
        "_plain(self.fields)",
        '_plain({n: v for n, v in self.fields.items() if n != "voice_settings"})',
        "other voice settings",
    ),
    "a refund for what timed out": (
        "src/acme_voice/speech/faults.py",
        '"timeout": Verdict("budget", "ill", "uncertain"',
        '"timeout": Verdict("budget", "ill", "free"',
        "what timed out",
    ),
    "no drain": (
        "src/acme_voice/speech/web/server_uvicorn.py",
        "self.should_exit = await self._drained(speech, self._ends_at - time.monotonic())",
        "self.should_exit = True",
        "SIGTERM",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_break_is_caught_and_named(renders: Renders, tmp_path: Path, what: str) -> None:
    name, old, new, promise = BREAKS[what]
    project = shutil.copytree(renders.of({}), tmp_path / "broken", ignore=shutil.ignore_patterns("__pycache__"))
    text = (project / name).read_text("utf-8")
    assert old in text, f"{name} has changed: say here how to break it now"
    (project / name).write_text(text.replace(old, new), "utf-8")
    (result,) = results(project, promise)

    assert result.state == "failed", result
    assert result.seen and result.expected and result.look


def test_a_failure_ends_with_1_and_says_where_to_look(
    renders: Renders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = renders.own({}, tmp_path / "project")
    (project / ".gitignore").write_text("")
    (project / "src/acme_voice/speech/limiter.py").open("a").write("# ours\n")
    monkeypatch.setattr(themes, "ALL", only("git ignores", "every price"))
    done = CliRunner().invoke(app, ["verify", str(project)])

    assert done.exit_code == 1
    assert "security: git ignores .env" in done.output
    assert re.search(r"expected +ignored: \.env.*\n +look at +\.gitignore\n", done.output)
    assert "changed by hand, for an update to merge: limiter.py" in done.output
    assert "1 of 2 checks failed" in done.output.splitlines()[-1]


def test_what_does_not_start_is_said_in_its_own_words(renders: Renders, tmp_path: Path) -> None:
    """Of every check that needed it, and at once."""
    project = shutil.copytree(renders.of({}), tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    (project / "src/acme_voice/app.py").write_text("raise RuntimeError('DATABASE_URL is not set')\n")
    seen = results(project, "drain")

    assert {result.state for result in seen} == {"failed"} and len(seen) == 2
    assert all("RuntimeError: DATABASE_URL is not set" in result.seen for result in seen)
    assert all("serve --sandbox" in result.look for result in seen)


def test_the_scorecard_is_a_line_a_theme_and_fits(renders: Renders) -> None:
    """Plain in a pipe, in 100 columns, every theme on a line of its own."""
    from rich.console import Console

    told = []
    for theme in themes.ALL:
        checks = [check for act in theme.acts for check in act.checks]
        told.append(Told(theme, 1.5, [Result(theme.name, check.promise, "passed", "seen") for check in checks]))
    console = Console(width=100, record=True, file=open(os.devnull, "w"), highlight=False)
    scorecard.draw(scorecard.Scorecard(projects.find(renders.of({})), told, 40.0, []), console)
    lines = console.export_text().splitlines()

    assert [line.split()[0] for line in lines[2 : 2 + len(told)]] == [theme.name for theme in themes.ALL]
    assert max(map(len, lines)) <= 100
    assert re.fullmatch(r"all \d+ checks passed, in 40 s", lines[-1])


@pytest.mark.parametrize("what", ["nothing there", "another template's", "without its code", "without requirements"])
def test_what_cannot_be_verified_is_said_in_one_line(renders: Renders, tmp_path: Path, what: str) -> None:
    project = tmp_path / "project"
    if what == "another template's":
        project.mkdir()
        (project / ".copier-answers.yml").write_text("_src_path: gh:another/template\n")
    elif what == "without its code":
        project.mkdir()
        shutil.copy(renders.of({}) / ".copier-answers.yml", project)
    elif what == "without requirements":
        shutil.copytree(renders.of({}), project)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    done = cli(project)
    expected = {
        "without its code": "rendered into src/acme_voice/speech",
        "without requirements": "lacks elevenlabs<3,>=2.78, h11",
    }

    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert expected.get(what, "is no project of copier-elevenlabs") in done.stderr


def test_a_redis_of_others_is_left_as_it_was(renders: Renders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """REDIS_URL is used, and cleaned up after: by key, for others may be at work there."""
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if not server:
        pytest.skip("needs redis-server (or valkey-server) on the path: apt-get install redis-server")
    socket = tmp_path / "redis.sock"
    argv = [server, "--port", "0", "--unixsocket", str(socket), "--save", ""]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=tmp_path) as child:
        try:
            with redis.Redis(unix_socket_path=str(socket), retry=Retry(ConstantBackoff(0.05), 200)) as theirs:
                theirs.set("theirs", "kept")
                monkeypatch.setenv("REDIS_URL", f"unix://{socket}")
                seen = results(renders.of(REDIS), "settings", "are a hit")
                left = theirs.keys()
        finally:
            child.kill()

    assert {result.state for result in seen} == {"passed"}
    assert left == [b"theirs"]


def test_redis_that_is_nowhere_is_said_in_one_line(renders: Renders) -> None:
    done = cli(renders.of(REDIS), PATH=str(Path(sys.executable).parent))

    assert done.returncode == 1
    assert "set REDIS_URL, or put redis-server" in done.stderr and len(done.stderr.splitlines()) == 1


def living_in(folder: Path) -> list[str]:
    """Command lines of the processes that work there."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="sees the children in /proc")
@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_process_and_no_file(renders: Renders, tmp_path: Path, word: signal.Signals) -> None:
    """In the middle of it, with services up."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    argv = [sys.executable, "-m", "generator", "verify", str(renders.of({}))]
    env = os.environ | {"TMPDIR": str(scratch)}
    with subprocess.Popen(argv, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        ends = time.monotonic() + 60
        while not any("serve" in line for line in living_in(scratch)) and time.monotonic() < ends:
            time.sleep(0.05)
        assert len(living_in(scratch)) >= 2
        child.send_signal(word)
        stdout, stderr = child.communicate(timeout=60)

    assert (child.returncode, stdout, stderr) == (1, "", "copier-elevenlabs: stopped: nothing is left running\n")
    assert living_in(scratch) == []
    assert list(scratch.iterdir()) == []
