"""``new``: a project into a folder that is new or empty."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import console
from .options import Answers, Data, Defaults, Json, pairs

EXAMPLES = """
copier-elevenlabs new ../my-voice                                          # asks
copier-elevenlabs new ../my-voice --defaults -d pricing_tier=pro -d framework=flask
copier-elevenlabs new ../my-voice --answers answers.yml --json             # for programs
"""


def new(
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="Where to: a folder that is new or empty.")],
    data: Data = None,
    answers: Answers = None,
    defaults: Defaults = False,
    as_json: Json = False,
) -> None:
    """Render a new project from the committed template."""
    given = pairs(data or [])
    ask = not (defaults or as_json)
    with console.one_line(as_json=as_json):
        from .. import copying

        if ask and not sys.stdin.isatty():
            raise ValueError("no terminal here to ask at: say --defaults")
        told = copying.read(answers) | given if answers else given
        rendered = copying.render(dest, told, ask=ask, quiet=as_json)
    if as_json:
        console.as_data(rendered)
