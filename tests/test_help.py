"""`--help`, `--version`, completion, and docs/cli.md."""

import re
import shlex
import sys
import tomllib
from subprocess import CompletedProcess

import pytest
from rendering import ROOT, run
from typer.main import get_group

from generator.cli import COMMANDS, app, name

GROUP = get_group(app)
EXAMPLES = [line for module in COMMANDS for line in module.EXAMPLES.strip().splitlines()]


def cli(*argv: str, **env: str) -> CompletedProcess[str]:
    return run(sys.executable, "-m", "generator", *argv, cwd=ROOT, **env)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_understood(example: str) -> None:
    """Its command, options and values are those that there are."""
    program, command, *argv = shlex.split(example, comments=True)

    assert program == "copier-elevenlabs"
    GROUP.commands[command].make_context(command, argv, parent=GROUP.make_context(program, [command]))


@pytest.mark.parametrize("command", [name(module) for module in COMMANDS])
def test_help_ends_with_examples_as_they_are_typed(command: str) -> None:
    """Nothing is re-wrapped, so that a line can be pasted; nothing is wider than 100 columns."""
    done = cli(command, "--help")
    lines = [line.strip() for line in done.stdout.splitlines()]
    examples = [line for line in EXAMPLES if line.split()[1] == command]

    assert (done.returncode, done.stderr) == (0, "")
    assert lines[lines.index("Examples:") + 1 :] == examples
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


def test_help_lists_every_command_with_a_whole_sentence() -> None:
    """In the order in which one meets them; and the exit codes."""
    listed = re.findall(r"^  ([a-z]+)  +(.*)$", cli("--help").stdout.partition("Commands:")[2], re.M)

    assert [command for command, _ in listed] == [name(module) for module in COMMANDS]
    assert [what for _, what in listed if what.endswith("...")] == []


def test_version() -> None:
    """The distribution's, and nothing else."""
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    done = cli("--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{said}\n", "")
