"""``new``: a project into a folder that is new or empty."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import console
from .options import QUESTIONS, Answers, Defaults, Diff, DryRun, Json, answered_by

EXAMPLES = """
copier-elevenlabs new ../my-voice                                  # asks
copier-elevenlabs new ../my-voice --defaults --pricing-tier pro --framework flask --dry-run
copier-elevenlabs new ../my-voice --answers answers.yml --json     # for programs
"""


@answered_by(*QUESTIONS)
def new(
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="Where to: a folder that is new or empty.")],
    given: dict[str, Any],
    answers: Answers = None,
    defaults: Defaults = False,
    dry_run: DryRun = False,
    diff: Diff = False,
    as_json: Json = False,
) -> None:
    """Render a new project from the committed template.

    Asks what no option answers.  --diff is a --dry-run that shows the files' contents.
    """
    ask = not (defaults or as_json)
    with console.one_line(as_json=as_json):
        from .. import copying

        if ask and not sys.stdin.isatty():
            raise ValueError("no terminal here to ask at: say --defaults")
        told = copying.read(answers) | given if answers else given
        if dry_run or diff:
            rehearse(dest, told, ask=ask, diff=diff, as_json=as_json)
            return
        with console.stoppable(), console.file_by_file():
            rendered = copying.render(dest, told, ask=ask, quiet=as_json)
    if as_json:
        console.as_data(rendered)


def rehearse(dest: Path, told: dict[str, Any], *, ask: bool, diff: bool, as_json: bool) -> None:
    """Say what would be written."""
    from .. import copying
    from ..changes import unified

    with console.doing("rendering", quiet=ask or as_json):
        rendered, changes = copying.rehearse(dest, told, ask=ask)
    patch = "".join(map(unified, changes)) if diff else ""
    if as_json:
        console.as_data(rendered | ({"diff": patch} if diff else {}))
        return
    if diff:
        console.as_diff(patch)
    else:
        console.as_tree(str(dest), rendered["files"])
    typer.echo(f"{len(changes)} files of {rendered['version']}, none written", err=True)
