"""Options that several commands share, so that they read alike everywhere."""

from pathlib import Path
from typing import Annotated, Any

import typer

Data = Annotated[list[str] | None, typer.Option("--data", "-d", metavar="NAME=VALUE", help="An answer; repeat it.")]
Answers = Annotated[Path | None, typer.Option(help="A YAML file of answers; --data wins.")]
Defaults = Annotated[bool, typer.Option("--defaults", help="Ask nothing: take the default where no answer is given.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show it as a diff.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before writing; takes defaults, as --defaults.")]
Json = Annotated[bool, typer.Option("--json", help="Say it as JSON; asks nothing.")]


def pairs(data: list[str]) -> dict[str, Any]:
    for item in data:
        if "=" not in item:
            raise typer.BadParameter(f"{item!r} is not NAME=VALUE", param_hint="--data")
        if item.startswith("born="):
            raise typer.BadParameter("born is recorded by the template, never given", param_hint="--data")
    return dict(item.split("=", 1) for item in data)
