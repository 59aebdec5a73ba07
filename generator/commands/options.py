"""Options that several commands share, so that they read alike everywhere."""

from pathlib import Path
from typing import Annotated, Any

import typer

# For completion, which has no time to ask copier.yml; a test compares them.
CHOICES = {
    "layout": ("service", "package"),
    "pricing_tier": ("creator", "free", "payg", "starter", "pro", "scale", "business", "enterprise"),
    "framework": ("fastapi", "flask", "django", "litestar", "none"),
    "cache_backend": ("memory", "disk", "redis"),
    "gateway": ("false", "true"),
    "metrics": ("prometheus", "opentelemetry", "none"),
    "deploy": ("false", "true"),
}


def complete_answer(incomplete: str) -> list[str]:
    """Whole pairs: bash takes what stands behind a = for another word."""
    given = [f"{name}={value}" for name, values in CHOICES.items() for value in values]
    return [pair for pair in (*given, "project_name=", "package_name=", "package_dir=") if pair.startswith(incomplete)]


Data = Annotated[
    list[str] | None,
    typer.Option("--data", "-d", metavar="NAME=VALUE", help="An answer; repeat it.", autocompletion=complete_answer),
]
Answers = Annotated[Path | None, typer.Option(metavar="FILE", help="A YAML file of answers; --data wins.")]
Defaults = Annotated[bool, typer.Option("--defaults", help="Ask nothing: take the default where no answer is given.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show it as a diff.")]
Json = Annotated[bool, typer.Option("--json", help="Say it as JSON; asks nothing.")]


def pairs(data: list[str]) -> dict[str, Any]:
    for item in data:
        if "=" not in item:
            raise typer.BadParameter(f"{item!r} is not NAME=VALUE", param_hint="--data")
        if item.startswith("born="):
            raise typer.BadParameter("born is recorded by the template, never given", param_hint="--data")
    return dict(item.split("=", 1) for item in data)
