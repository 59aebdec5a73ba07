"""Every prompt once, through a real terminal."""

import os
import signal
import sys
from pathlib import Path

import pexpect
import pytest
import yaml
from rendering import Template

PROMPTS = [
    ("Where does it go", ""),
    ("What is it called", "Acme Voice"),
    ("Name of the Python package", ""),
    ("Your ElevenLabs plan", ""),
    ("Web framework", ""),
    ("Where do audio and the ledger live", ""),
    ("Metrics", ""),
    ("Dockerfile", "n"),
]
DOWN, ENTER = "\x1b[B", "\r"


def start(template: Template, dest: Path) -> "pexpect.spawn[str]":
    argv = ["-m", "generator", "new", str(dest)]
    return pexpect.spawn(
        sys.executable, argv, cwd=str(template.path), encoding="utf-8", timeout=60, dimensions=(50, 200)
    )


def test_all_prompts_with_their_defaults(template: Template, tmp_path: Path) -> None:
    """In the order of the contract; Enter takes the default, and a typed name is taken."""
    terminal = start(template, tmp_path / "project")
    for question, answer in PROMPTS:
        terminal.expect(question)
        if answer == "Acme Voice":
            terminal.send("\x15")  # clear the default that is offered for editing
            terminal.send("\x08" * len("My Voice"))
        terminal.send(answer if answer == "n" else answer + ENTER)
    terminal.expect("serve --sandbox")
    terminal.expect(pexpect.EOF)
    terminal.close()

    recorded = yaml.safe_load((tmp_path / "project/.copier-answers.yml").read_text())
    assert terminal.exitstatus == 0
    assert (recorded["project_name"], recorded["package_name"], recorded["pricing_tier"]) == (
        "Acme Voice",
        "acme_voice",
        "creator",
    )


def test_arrow_keys_choose(template: Template, tmp_path: Path) -> None:
    """One step down is the second choice, and what it is for stands beside it."""
    terminal = start(template, tmp_path / "project")
    for question, _ in PROMPTS[:6]:
        terminal.expect(question)
        terminal.send(ENTER)
    terminal.expect("Metrics")
    terminal.expect(r"opentelemetry - metrics and traces")
    terminal.send(DOWN + ENTER)
    terminal.expect("Dockerfile")
    terminal.send("n")
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert yaml.safe_load((tmp_path / "project/.copier-answers.yml").read_text())["metrics"] == "opentelemetry"


@pytest.mark.parametrize("answered", [0, 3, 6])
def test_ctrl_c_leaves_nothing(template: Template, tmp_path: Path, answered: int) -> None:
    """At any prompt: one line, exit code 1, no folder."""
    terminal = start(template, tmp_path / "new/project")
    for question, _ in PROMPTS[:answered]:
        terminal.expect(question)
        terminal.send(ENTER)
    terminal.expect(PROMPTS[answered][0])
    terminal.sendcontrol("c")
    terminal.expect("stopped: nothing was written")
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert terminal.exitstatus == 1
    assert not (tmp_path / "new").exists()


def test_interrupted_while_writing_leaves_nothing(template: Template, tmp_path: Path) -> None:
    """Ctrl-C with half of the files there: Copier would leave them."""
    argv = ["-m", "generator", "new", str(tmp_path / "new/project"), "--defaults"]
    terminal = pexpect.spawn(sys.executable, argv, cwd=str(template.path), encoding="utf-8", timeout=60)
    terminal.expect("create")
    os.kill(terminal.pid, signal.SIGINT)
    terminal.expect("stopped: nothing was written")
    terminal.expect(pexpect.EOF)
    terminal.close()

    assert terminal.exitstatus == 1
    assert not (tmp_path / "new").exists()
