"""Options that several commands share, so that they read alike everywhere."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Command = Callable[..., None]

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


def choices_of(question: str) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [value for value in CHOICES[question] if value.startswith(incomplete)]

    return complete


Data = Annotated[
    list[str] | None,
    typer.Option("--data", "-d", metavar="NAME=VALUE", help="An answer; repeat it.", autocompletion=complete_answer),
]
Answers = Annotated[Path | None, typer.Option(metavar="FILE", help="A YAML file of answers; --data wins.")]
Defaults = Annotated[bool, typer.Option("--defaults", help="Ask nothing: take the default where no answer is given.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show it as a diff.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before writing; takes defaults, as --defaults.")]
Json = Annotated[bool, typer.Option("--json", help="Say it as JSON; asks nothing.")]

# Every prompt is an option too.  Which values are right is copier.yml's to say.
QUESTIONS: dict[str, Any] = {
    "layout": Annotated[
        str | None,
        typer.Option(metavar="NAME", help="service (a whole project) or package.", autocompletion=choices_of("layout")),
    ],
    "project_name": Annotated[str | None, typer.Option(metavar="TEXT", help="What a service is called.")],
    "package_name": Annotated[str | None, typer.Option(metavar="NAME", help="Python package of a service.")],
    "package_dir": Annotated[str | None, typer.Option(metavar="FOLDER", help="Folder of the package it goes into.")],
    "pricing_tier": Annotated[
        str | None,
        typer.Option(
            metavar="PLAN",
            help="Your ElevenLabs plan, such as creator; `catalogue plans`.",
            autocompletion=choices_of("pricing_tier"),
        ),
    ],
    "framework": Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="fastapi, flask, django, litestar or none.", autocompletion=choices_of("framework")
        ),
    ],
    "cache_backend": Annotated[
        str | None,
        typer.Option(metavar="NAME", help="memory, disk or redis.", autocompletion=choices_of("cache_backend")),
    ],
    "gateway": Annotated[bool | None, typer.Option(help="The HTTP routes too, in a package.")],
    "metrics": Annotated[
        str | None,
        typer.Option(metavar="NAME", help="prometheus, opentelemetry or none.", autocompletion=choices_of("metrics")),
    ],
    "deploy": Annotated[bool | None, typer.Option(help="Dockerfile and the like, in a service.")],
}
CHANGEABLE = ("project_name", "pricing_tier", "framework", "cache_backend", "gateway", "metrics", "deploy")


def answered_by(*questions: str) -> Callable[[Command], Command]:
    """Give a command --data and an option for each of these questions: it gets all of them as *given*."""

    def decorate(command: Command) -> Command:
        def with_answers(data: list[str] | None = None, **options: Any) -> None:
            flags = {name: options.pop(name) for name in questions}
            command(given=together(pairs(data or []), flags), **options)

        own = [p for p in inspect.signature(command).parameters.values() if p.name != "given"]
        answers = [option(name, QUESTIONS[name]) for name in questions]
        ordered = [own[0], option("data", Data), *answers, *own[1:]]
        with_answers.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined] # what Typer goes by
        with_answers.__annotations__ = {}
        with_answers.__name__, with_answers.__doc__ = command.__name__, command.__doc__
        return with_answers

    return decorate


def option(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=annotation)


def together(data: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """All that was given, however it was given."""
    said = {name: value for name, value in flags.items() if value is not None}
    if twice := sorted(said.keys() & data.keys()):
        flag = "--" + twice[0].replace("_", "-")
        raise typer.BadParameter(f"{twice[0]} is given by {flag} too", param_hint="--data")
    return data | said


def pairs(data: list[str]) -> dict[str, Any]:
    for item in data:
        if "=" not in item:
            raise typer.BadParameter(f"{item!r} is not NAME=VALUE", param_hint="--data")
        if item.startswith("born="):
            raise typer.BadParameter("born is recorded by the template, never given", param_hint="--data")
    return dict(item.split("=", 1) for item in data)
