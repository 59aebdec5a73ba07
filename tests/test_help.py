"""`--help`, `--version`, completion, and docs/cli.md."""

import os
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from rendering import ROOT, run
from typer.main import get_group

from generator import docs
from generator.catalogue import load
from generator.cli import COMMANDS, app, name
from generator.commands.options import CHOICES, complete_answer

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


EVERY_HELP = """
import contextlib, io, sys
from generator.cli import COMMANDS, app, name
for argv in ([], *([name(module)] for module in COMMANDS)):
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as said:
        app([*argv, "--help"], prog_name="copier-elevenlabs")
    assert said.getvalue().startswith("Usage:")
print(sorted({'asyncio', 'copier', 'yaml', 'jinja2', 'rich', 'pydantic', 'importlib.metadata'} & set(sys.modules)))
"""


def test_no_help_loads_anything_heavy() -> None:
    """As quick as an empty Typer app's (`python -m benchmarks.help`): the work is imported when it is called for."""
    done = run(sys.executable, "-c", EVERY_HELP, cwd=ROOT)

    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_version() -> None:
    """The distribution's, and nothing else."""
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    done = cli("--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{said}\n", "")


def test_docs_are_what_the_code_generates() -> None:
    """docs/cli.md tells of no option that is no more: `make docs` after a change of a command."""
    assert docs.TARGET.read_text("utf-8") == docs.page()


@pytest.mark.parametrize("command", [name(module) for module in COMMANDS])
def test_every_parameter_says_what_it_is_for(command: str) -> None:
    """In the help and the docs; a value is called by a word in capitals, whatever Typer would call it."""
    context = GROUP.commands[command].make_context(command, [], resilient_parsing=True)
    records = docs.records(GROUP.commands[command], context)

    assert [names for names, said in records if not said] == []
    assert [names for names, _ in records if re.search(r"<|\b(INTEGER|FLOAT)\b", names)] == []


BASH = """
source <(copier-elevenlabs --show-completion bash)
complete_line() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _copier_elevenlabs_completion copier-elevenlabs
    echo "${COMPREPLY[@]}"
}
complete_line copier-elevenlabs ''
complete_line copier-elevenlabs new --def
complete_line copier-elevenlabs catalogue ''
complete_line copier-elevenlabs new x -d cache
complete_line copier-elevenlabs new x --framework f
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    """By the very script that `--show-completion` prints, run by bash."""
    program = tmp_path / "copier-elevenlabs"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m generator "$@"\n')
    program.chmod(0o755)
    done = run("bash", "--norc", "-c", BASH, PATH=f"{tmp_path}:{os.environ['PATH']}")
    commands, options, topics, answers, frameworks = (line.split() for line in done.stdout.splitlines())

    assert done.stderr == ""
    assert commands == [name(module) for module in COMMANDS]
    assert options == ["--defaults"]
    assert topics == ["plans", "models", "errors", "prices"]
    assert answers == ["cache_backend=memory", "cache_backend=disk", "cache_backend=redis"]
    assert frameworks == ["fastapi", "flask"]


def test_completion_knows_the_answers_that_there_are() -> None:
    """The questions of copier.yml, each with its choices; the plans are the catalogue's."""
    questions = yaml.safe_load((ROOT / "copier.yml").read_text("utf-8"))
    choices = {
        name: [c["value"] if isinstance(c, dict) else c for c in question["choices"].values()]
        for name, question in questions.items()
        if isinstance(question, dict) and isinstance(question.get("choices"), dict)
    }
    asked = [name for name, question in questions.items() if isinstance(question, dict) and "help" in question]

    assert {pair.partition("=")[0] for pair in complete_answer("")} == set(asked)
    assert {name: list(CHOICES[name]) for name in choices} == choices
    assert set(CHOICES["pricing_tier"]) == set(load()["plans"])
