"""The command line: each command does what its help says; what it can't do is one line and an exit code."""

import datetime
import hashlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

import speech as package
from speech import commands
from speech.__main__ import main
from speech.answers import CACHE_BACKEND, GATEWAY
from speech.catalogue import CATALOGUE, DEFAULT_VOICE, QUALITIES
from speech.testing.plugin import SandboxThread

Command = Callable[..., tuple[int, str, str]]
KEEPS = pytest.mark.skipif(CACHE_BACKEND == "memory", reason="nothing outlives the process")
KEY = "sk_0123456789abcdef"
SOURCE = Path(package.__file__).parents[package.__name__.count(".") + 1]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """``command("check", SPEECH_TIER="pro")`` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    root, environ = logging.getLogger(), dict(os.environ)
    level, handlers = root.level, root.handlers[:]

    def run(*argv: str, **variables: str) -> tuple[int, str, str]:
        root.handlers.clear()
        os.environ.update(variables)
        code = main(argv)
        return code, *capsys.readouterr()

    yield run
    root.handlers[:], root.level = handlers, level
    os.environ.clear()
    os.environ.update(environ)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """With examples that can be pasted."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    for name in ("serve", "sandbox", "speak", "transcribe", "usage", "check", "cache", "warm"):
        assert f"\n    {name}" in said
    assert f'python -m {package.__name__} speak "Hello"' in said


@pytest.mark.parametrize(
    "argv",
    [[], ["sing"], ["speak"], ["serve", "--port", "99999"], ["serve", "--workers", "0"], ["cache"], ["usage", "x"]],
)
def test_a_wrong_command_line_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And the usage of that very command."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert "usage: python -m" in capsys.readouterr().err


def test_wrong_settings_end_with_2_and_a_line_each(command: Command) -> None:
    """Before anything else happens."""
    code, out, err = command("speak", "Hello", SPEECH_TIER="gold", SPEECH_ENV="prod")
    assert (code, out) == (2, "")
    assert [line.split()[:2] for line in err.splitlines()] == [["error:", "SPEECH_ENV"], ["error:", "SPEECH_TIER"]]


def test_without_a_key_nothing_is_tried(command: Command) -> None:
    """The line says what to do."""
    for argv in (["speak", "Hello"], ["transcribe", __file__]):
        code, out, err = command(*argv, ELEVENLABS_API_KEY="your_elevenlabs_key_here")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "ELEVENLABS_API_KEY" in err and "--sandbox" in err


def test_speak_and_transcribe(command: Command, speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """A file that is audio, and the words that are in it."""
    code, out, err = command("speak", "Hello there", "--out", "hello.mp3")
    assert (code, out) == (0, "") and "11 characters, 11 credits, 0.00088 USD, cache miss" in err
    code, out, err = command("transcribe", "hello.mp3")
    assert (code, out) == (0, "Hello there\n") and "USD" in err


def test_what_the_service_refuses_is_one_line(command: Command, speech_sandbox: SandboxThread) -> None:
    """And not a traceback."""
    for argv, why in (
        (["speak", ""], "text is empty"),
        (["speak", "x", "--voice", "../x"], "voice_id"),
        (["speak", "x", "--out", "no/such/folder.mp3"], "no/such/folder.mp3: No such file or directory"),
        (["transcribe", "missing.mp3"], "missing.mp3: No such file or directory"),
    ):
        code, out, err = command(*argv)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("error: ") and why in err


def test_the_sandbox_is_a_child_that_goes_with_the_command(tmp_path: Path) -> None:
    """It needs no key, and neither its audio nor its bill mixes with the real ones."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SPEECH_", "ELEVENLABS_"))}
    argv = [sys.executable, "-m", package.__name__, "speak", "Hello", "--sandbox"]
    done = subprocess.run(
        argv, env=environ | {"PYTHONPATH": str(SOURCE)}, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "speech.mp3").stat().st_size > 1000
    kept = {file.relative_to(tmp_path).parts[:2] for file in (tmp_path / ".speech").rglob("*")}
    assert all(".gitignore" in parts or "sandbox" in parts or len(parts) == 1 for parts in kept)


def test_importing_the_commands_loads_no_sdk(tmp_path: Path) -> None:
    """``--help`` and ``check`` answer at once: SDK, framework, server and exporter are loaded by whoever needs them."""
    heavy = ("elevenlabs", "fastapi", "uvicorn", "prometheus_client", "pytest")
    code = f"import sys, {package.__name__}.__main__; print([name for name in {heavy} if name in sys.modules])"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(
        argv, env=os.environ | {"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.skipif(GATEWAY, reason="there are routes here")
def test_serve_without_routes_ends_with_2(command: Command) -> None:
    """A library, worker or script has nothing to serve."""
    code, _, err = command("serve")
    assert (code, err.count("\n")) == (2, 1)


# ---------------------------------------------------------------------------------------------------------------- check


def test_check_fails_without_a_key(command: Command) -> None:
    """Or with the placeholder; with one and clients' keys everything is well, and the key is not shown."""
    keys = {"SPEECH_CLIENT_KEYS": "web:client-key-0123456789"}
    code, out, _ = command("check", **keys)
    assert code == 1 and "FAIL ELEVENLABS_API_KEY is not set" in out
    code, out, _ = command("check", ELEVENLABS_API_KEY="your_elevenlabs_key_here")
    assert code == 1 and "still the placeholder" in out
    code, out, _ = command("check", ELEVENLABS_API_KEY=KEY)
    assert code == 0 and "FAIL" not in out
    assert KEY not in out and "client-key-0123456789" not in out


@pytest.mark.skipif(not GATEWAY, reason="nobody calls over HTTP here")
def test_check_fails_without_client_keys(command: Command) -> None:
    """In development it is only worth a warning."""
    code, out, _ = command("check", ELEVENLABS_API_KEY=KEY)
    assert code == 1 and "FAIL SPEECH_CLIENT_KEYS" in out
    code, out, _ = command("check", SPEECH_ENV="development")
    assert code == 0 and "warn SPEECH_CLIENT_KEYS" in out


def test_check_tells_wrong_settings_as_findings(command: Command) -> None:
    """All of them, in the words of the start."""
    code, out, _ = command("check", SPEECH_TIER="gold", SPEECH_MODE="off")
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()] == [["FAIL", "SPEECH_MODE"], ["FAIL", "SPEECH_TIER"]]


def test_check_knows_when_a_voice_ends(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before that day it warns and names the successor; from then on it fails."""
    ends = next(row for row in CATALOGUE["voices"]["retiring"] if row["successor"] and row["voice_id"])
    day = datetime.date.fromisoformat(ends["retires"])
    for today, level in ((day - datetime.timedelta(1), "warn"), (day, "FAIL")):
        monkeypatch.setattr(commands, "today", today.isoformat)
        _, out, _ = command("check", SPEECH_VOICE_ID=ends["voice_id"])
        (line,) = [line for line in out.splitlines() if ends["voice_id"] in line]
        assert line.startswith(level) and ends["retires"] in line and ends["successor"] in line
    _, out, _ = command("check", SPEECH_VOICE_ID=DEFAULT_VOICE)
    assert f"ok   SPEECH_VOICE_ID is {DEFAULT_VOICE}" in out


def test_check_names_the_plan_and_its_limits(command: Command) -> None:
    """The numbers that would hold; and where nobody published any, that they are guessed."""
    _, out, _ = command("check", SPEECH_TIER="pro", SPEECH_LIMITS='{"flash": 7}')
    assert "ok   SPEECH_TIER is pro: 10 standard, 7 flash, 40 stt at once" in out
    for tier in ("enterprise", "payg"):
        _, out, _ = command("check", SPEECH_TIER=tier, SPEECH_LIMITS="")
        assert [line for line in out.splitlines() if line.startswith("warn") and "SPEECH_LIMITS" in line]


def test_check_names_files_changed_by_hand(tmp_path: Path) -> None:
    """Line ends don't count, and what was not rendered is not missed."""
    for name, text in (("a.py", b"a\r\n"), ("b.py", b"changed\n")):
        (tmp_path / name).write_bytes(text)
    known = {
        name: hashlib.sha256(text).hexdigest() for name, text in (("a.py", b"a\n"), ("b.py", b"b\n"), ("c.py", b""))
    }
    (tmp_path / "MANIFEST.json").write_text(json.dumps(known))
    level, line = commands._of_files(tmp_path)
    assert level == "warn" and line.endswith(": b.py")
    (tmp_path / "b.py").write_bytes(b"b\n")
    assert commands._of_files(tmp_path)[0] == "ok"


def test_check_uses_the_backend(command: Command, tmp_path: Path) -> None:
    """One that can't be written to would fail at the first call: here it fails at once."""
    _, out, _ = command("check")
    assert f"ok   cache_backend {CACHE_BACKEND}: 0 entries" in out
    if CACHE_BACKEND == "disk":
        (tmp_path / "file").touch()
        code, out, _ = command("check", SPEECH_CACHE_DIR=str(tmp_path / "file" / "below"))
        assert code == 1 and "FAIL cache_backend disk" in out


@pytest.mark.parametrize(("model", "level"), [("eleven_monolingual_v1", "FAIL"), ("eleven_turbo_v2", "warn")])
def test_check_knows_which_models_end(
    command: Command, monkeypatch: pytest.MonkeyPatch, model: str, level: str
) -> None:
    """What is retired fails, what is deprecated still speaks; both name the successor."""
    monkeypatch.setattr(commands, "CHOSEN", {model})
    _, out, _ = command("check")
    (line,) = [line for line in out.splitlines() if model in line]
    assert line.startswith(level) and f"use {CATALOGUE['models'][model]['successor']}" in line


# ---------------------------------------------------------------------------------------------- what outlives a process


@pytest.mark.skipif(CACHE_BACKEND != "memory", reason="there is a store to ask")
@pytest.mark.parametrize("argv", [["usage"], ["usage", "--json"], ["cache", "purge"], ["warm", "phrases.txt"]])
def test_in_memory_there_is_nothing_to_ask(command: Command, argv: list[str]) -> None:
    """The service has it: the line says how to ask that."""
    code, out, err = command(*argv)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "GET /usage" in err


@KEEPS
def test_usage_tells_what_was_spent(command: Command, speech_sandbox: SandboxThread) -> None:
    """By another process, in numbers or as JSON."""
    command("speak", "Hello")
    code, out, _ = command("usage", "--json")
    assert code == 0 and json.loads(out)["totals"]["credits"] == 5
    code, out, _ = command("usage")
    assert code == 0 and "credits" in out and "local" in out


@KEEPS
def test_usage_as_csv_is_a_line_for_each_day_caller_and_model(command: Command, speech_sandbox: SandboxThread) -> None:
    """And nothing else on standard output."""
    command("speak", "Hello")
    code, out, _ = command("usage", "--csv")
    head, row = out.splitlines()
    assert code == 0 and head.startswith("day,caller,model_id,credits,")
    assert row.split(",")[1:4] == ["local", QUALITIES["balanced"][0], "5"]


@KEEPS
def test_reconciling_gives_back_what_the_account_did_not_count(
    command: Command, speech_sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls without an answer, of which the account counted one; it is asked again when its count can't lag."""
    code, _, err = command("usage", "--reconcile")
    assert code == 0 and "the account: 0 of " in err and "nothing became uncertain" in err
    bill = 0
    for seed in range(9):  # until the coin has fallen on both its sides
        speech_sandbox.set(seed=seed, faults=["reset", "503", "503"])
        command("speak", f"uncertain {seed}")
        if 0 < (bill := speech_sandbox.state()["bill_credits"]) < 11 * (seed + 1):
            break
    uncertain = json.loads(command("usage", "--json")[1])["totals"]["uncertain_credits"]
    assert 0 < bill < uncertain
    for _ in range(2):
        code, _, err = command("usage", "--reconcile")
        assert code == 0 and "0 uncertain credits given back" in err and "10 minutes" in err
    monkeypatch.setattr(import_module(f"{package.__name__}.reconciling"), "LAG_S", 0.0)
    code, _, err = command("usage", "--reconcile")
    assert f"{uncertain - bill} uncertain credits given back, {bill} booked as billed: all of it is cleared" in err
    said = json.loads(command("usage", "--json")[1])
    assert (said["totals"]["credits"], said["totals"]["uncertain_credits"]) == (bill, 0)
    assert said["account"]["drift_credits"] == 0 and said["account"]["credits_used"] == bill


@KEEPS
def test_a_key_that_can_not_read_the_account_is_said_in_one_line(
    command: Command, speech_sandbox: SandboxThread
) -> None:
    """And usage goes on without it."""
    speech_sandbox.set(scopes=["text_to_speech"])
    code, out, err = command("usage", "--reconcile")
    assert (code, out) == (1, "") and "nothing was reconciled: the key may not read the account" in err
    code, out, _ = command("usage", "--json")
    assert code == 0 and "user_read" in json.loads(out)["account"]["why_not"]


@KEEPS
def test_purge_forgets_a_voice_or_all(command: Command, speech_sandbox: SandboxThread) -> None:
    """Audio only: the ledger stays."""
    other = CATALOGUE["voices"]["replacements"][0]["voice_id"]
    command("speak", "Hello")
    command("speak", "Hello", "--voice", other)
    assert command("cache", "purge", "--voice", other)[1] == "1 entries removed\n"
    assert command("cache", "purge")[1] == "1 entries removed\n"
    assert json.loads(command("usage", "--json")[1])["totals"]["credits"] == 10


@KEEPS
def test_warm_prices_asks_and_goes_on_where_it_stopped(
    command: Command, speech_sandbox: SandboxThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is spent before a yes, and nothing twice."""
    (tmp_path / "phrases.txt").write_text("Hello\n\nGood morning\nHello\n", "utf-8")
    with monkeypatch.context() as answering:
        answering.setattr("builtins.input", lambda _: "n")
        code, _, err = command("warm", "phrases.txt")
    assert code == 0 and "2 phrases to speak, 17 characters, at most 17 credits, 0.0014 USD" in err
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert "--yes" in command("warm", "phrases.txt")[2]  # nobody is there to ask
    assert speech_sandbox.state()["calls"] == 0
    code, _, err = command("warm", "phrases.txt", "--yes")
    assert code == 0 and "2 of 2 are in the cache" in err
    (tmp_path / "phrases.txt").write_text("Hello\nGood morning\nGood night\n", "utf-8")
    code, _, err = command("warm", "phrases.txt", "--yes")
    assert code == 0 and "1 phrases to speak" in err and "1 of 1" in err
    assert speech_sandbox.state()["calls"] == 3
    assert "cache hit" in command("speak", "Good night")[2]


@KEEPS
def test_warm_says_what_is_left(command: Command, speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """What failed is named once, with exit code 1; what can't be spoken at all is found before anything is paid."""
    (tmp_path / "phrases.txt").write_text("one\ntwo\n", "utf-8")
    speech_sandbox.set(faults=["401;kind=quota"])
    code, _, err = command("warm", "phrases.txt", "--yes")
    assert code == 1 and "phrases are left, 3 characters, at most 3 credits" in err and "run it again for them: " in err
    (tmp_path / "phrases.txt").write_text(f"three\n{'x' * 50_000}\n", "utf-8")
    calls = speech_sandbox.state()["calls"]
    code, _, err = command("warm", "phrases.txt", "--yes")
    assert code == 1 and "a phrase of 50000 characters can't be spoken" in err
    assert speech_sandbox.state()["calls"] == calls


@KEEPS
def test_warm_takes_phrases_with_wishes(command: Command, speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """Comments and blank lines are none; a line of JSON may name voice, model and settings; one that is wrong stops."""
    other = CATALOGUE["voices"]["replacements"][0]["voice_id"]
    lines = [
        "# greetings",
        "",
        "Hello",
        json.dumps({"text": "Hello", "voice_id": other, "voice_settings": {"speed": 1.1}}),
    ]
    (tmp_path / "phrases.txt").write_text("\n".join(lines), "utf-8")
    code, _, err = command("warm", "phrases.txt", "--yes")
    assert code == 0 and "2 phrases to speak, 10 characters" in err
    assert "2 of 2 are in the cache now; spent 10 credits, 0.0008 USD" in err
    code, _, err = command("warm", "phrases.txt", "--yes")
    assert code == 0 and "0 phrases to speak" in err and "2 are cached, and cost nothing" in err
    for line, why in (("{", "line 1 begins with { and is no JSON"), ('{"txt": "x"}', "line 1 has no text")):
        (tmp_path / "phrases.txt").write_text(line, "utf-8")
        code, _, err = command("warm", "phrases.txt", "--yes")
        assert (code, err) == (1, f"error: {why}\n")


@KEEPS
def test_warm_stops_at_a_budget(command: Command, speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """With the reason and what is left; with a larger one the rest is spoken, and nothing twice."""
    (tmp_path / "phrases.txt").write_text("\n".join(f"phrase number {n:02}" for n in range(20)), "utf-8")
    code, _, err = command("warm", "phrases.txt", "--yes", SPEECH_DAILY_BUDGET_USD="0.01")
    done = speech_sandbox.state()["calls"]
    assert code == 1 and f"{done} of 20 are in the cache now; spent {done * 16} credits" in err
    assert 0 < done < 20 and f"{20 - done} phrases are left, {(20 - done) * 16} characters" in err
    assert "exceed the budget of 0.01 USD" in err
    code, _, err = command("warm", "phrases.txt", "--yes", SPEECH_DAILY_BUDGET_USD="1")
    assert code == 0 and f"{20 - done} phrases to speak" in err and f"{done} are cached" in err
    assert (speech_sandbox.state()["calls"], speech_sandbox.state()["bill_credits"]) == (20, 320)


@KEEPS
def test_warm_after_ctrl_c_pays_nothing_twice(speech_sandbox: SandboxThread, tmp_path: Path) -> None:
    """What was sent ends in the cache; the rest is left for the next run."""
    speech_sandbox.set(latency_s=0.3)
    (tmp_path / "phrases.txt").write_text("\n".join(f"phrase number {n:02}" for n in range(30)), "utf-8")
    argv = [sys.executable, "-m", package.__name__, "warm", "phrases.txt", "--yes"]
    environ = os.environ | {"PYTHONPATH": str(SOURCE)}
    child = subprocess.Popen(argv, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 30
    while speech_sandbox.state()["calls"] < 8:
        assert time.monotonic() < until and child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130 and "of 30 are in the cache now; spent " in err and "Traceback" not in err
    first = speech_sandbox.state()["calls"]
    done = subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and f"{30 - first} phrases to speak" in done.stderr, done.stderr
    assert (speech_sandbox.state()["calls"], speech_sandbox.state()["bill_credits"]) == (30, 480)


@KEEPS
def test_warm_for_nobody_is_refused(command: Command, tmp_path: Path) -> None:
    """Where each caller has a cache of its own, what is warmed is nobody's."""
    (tmp_path / "phrases.txt").write_text("Hello", "utf-8")
    code, _, err = command("warm", "phrases.txt", ELEVENLABS_API_KEY=KEY, SPEECH_CACHE_SCOPE="caller")
    assert (code, err.count("\n")) == (1, 1) and "SPEECH_CACHE_SCOPE is caller" in err


def test_the_sandbox_command_is_the_stand_in() -> None:
    """It prints its address, serves, and ends quietly on Ctrl-C."""
    argv = [sys.executable, "-m", package.__name__, "sandbox"]
    environ = os.environ | {"PYTHONPATH": str(SOURCE), "SPEECH_ENV": "development"}
    child = subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout and child.stdout.readline().startswith("http://127.0.0.1:")
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=20) == ("", "") and child.returncode == 0
