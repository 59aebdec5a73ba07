"""``assess``: an existing project, before our rules."""

from pathlib import Path
from typing import Annotated

import typer

from .. import console
from .options import Json

Select = Annotated[str, typer.Option(metavar="RULES", help="Only these rules, with commas between.")]
Ignore = Annotated[str, typer.Option(metavar="RULES", help="All but these rules, with commas between.")]
Sarif = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write SARIF 2.1.0, for code hosts and editors.")]

EXAMPLES = """
copier-elevenlabs assess                                 # the project in this folder
copier-elevenlabs assess src --ignore no-timeout,retired-voice
copier-elevenlabs assess . --sarif elevenlabs.sarif
"""


def assess(
    path: Annotated[Path, typer.Argument(help="A project's folder, or one file.")] = Path("."),
    select: Select = "",
    ignore: Ignore = "",
    sarif: Sarif = None,
    as_json: Json = False,
) -> None:
    """Read an existing project: what costs money or leaks.

    Each finding says where, why, and how to mend it. Nothing of the project is run. Exit code 1 where something is
    severe.

    A comment "# assess: ignore[rule-id]" on a line, or alone on the one above it, quiets a rule there. docs/assess.md
    has the rules.
    """
    from ..assessing.rules import RULES

    chosen = rules(select, "--select", list(RULES)) or list(RULES)
    left = [name for name in chosen if name not in rules(ignore, "--ignore", list(RULES))]
    with console.one_line(as_json=as_json, stopped="stopped"):
        severe = run(path, left, sarif, as_json=as_json)
    raise typer.Exit(1 if severe else 0)


def run(path: Path, left: list[str], sarif: Path | None, *, as_json: bool) -> int:
    """Assess, tell, and say how much is severe."""
    import json
    from datetime import date
    from importlib.metadata import version

    from ..assessing import assess as assessing
    from ..assessing import report
    from ..assessing.sarif import log
    from ..assessing.suggest import suggest

    with console.doing("Reading ..."):
        assessment = assessing.assess(path, left, date.today())
        suggestion = suggest(assessment, path)
    if sarif:
        sarif.write_text(json.dumps(log(assessment, version("copier-elevenlabs")), indent=1) + "\n", "utf-8")
    if as_json:
        console.as_data(report.as_data(assessment, suggestion))
    else:
        report.show(assessment, suggestion)
    return assessment.severe


def rules(given: str, option: str, known: list[str]) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"no rule {name!r}; there are {', '.join(known)}", param_hint=option)
    return names
