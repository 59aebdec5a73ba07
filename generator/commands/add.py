"""``add``: our package into a project that exists."""

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import console
from .options import Answers, Data, Defaults, Diff, DryRun, Json, Yes, pairs

if TYPE_CHECKING:
    from ..hosting.adding import Addition
    from ..hosting.detect import Host

EXAMPLES = """
copier-elevenlabs add
"""


def add(
    dest: Annotated[Path, typer.Argument(help="The project's folder, with nothing uncommitted in it.")],
    data: Data = None,
    answers: Answers = None,
    defaults: Defaults = False,
    dry_run: DryRun = False,
    diff: Diff = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put the integration into a project that you have, and touch nothing else.

    Its framework, package and dependencies are found by reading it. Everything is shown before it is written: the new
    package speech/ and the lines at the end of .gitignore and .env.example. Then come the lines to paste into your app.

    copier-elevenlabs add .

    copier-elevenlabs add . --dry-run --diff

    copier-elevenlabs add . --yes -d pricing_tier=pro -d package_dir=src/shop
    """
    given = pairs(data or [])
    ask = sys.stdin.isatty() and not (defaults or yes or as_json)
    with console.one_line(as_json=as_json):
        from .. import copying
        from ..hosting import adding

        if not (yes or dry_run) and (as_json or not sys.stdin.isatty()):
            raise ValueError("no terminal here to ask at: say --yes, or --dry-run to see it first")
        told = copying.read(answers) | given if answers else given
        host = adding.look(dest, told)
        if not as_json:
            show_host(host)
        if ask and host.package_dir.sure == "unsure":
            told["package_dir"] = which_package(host)
            host = adding.look(dest, told)
        with adding.staged(dest, host, adding.answers_for(host, told, ask=ask), ask=ask) as addition:
            patch = adding.diff(addition) if diff else ""
            if not as_json:
                show(addition, patch)
            if not (dry_run or yes or console.confirm("Write this?", otherwise="--yes")):
                console.fail("nothing was written")
            if not dry_run:
                adding.write(addition)
    if as_json:
        console.as_data(plain(addition, patch, dry_run=dry_run))
    elif not dry_run:
        show_steps(addition)


def which_package(host: "Host") -> str:
    question = f"Folder of your package ({', '.join(host.candidates) or 'none here: make one first'})"
    try:
        return str(typer.prompt(question, default=next(iter(host.candidates), None), err=True))
    except typer.Abort:
        raise KeyboardInterrupt from None


def show_host(host: "Host") -> None:
    """What was found, before anything is asked."""
    for name, guess in (
        ("framework", host.framework),
        ("package_dir", host.package_dir),
        ("dependencies", host.dependencies),
    ):
        why = guess.why if guess.sure == "sure" else f"{guess.why} ({guess.sure})"
        typer.echo(f"{name:<14}{guess.value or '?':<18}{why}")


def show(addition: "Addition", patch: str) -> None:
    """What will be written: as a diff, or as files by folder and lines."""
    typer.echo()
    if patch:
        typer.echo(patch.encode("utf-8", "surrogateescape"), nl=False)  # as bytes: line ends are part of it
    else:
        for folder, names in by_folder(addition.new).items():
            typer.echo(textwrap.fill(" ".join(names), 96, initial_indent=f"+ {folder}  ", subsequent_indent="    "))
        for one in addition.appended:
            typer.echo(f"{'new file' if one.before is None else 'at the end of'} {one.path}")
            typer.echo("".join(f"+ {line}\n" for line in one.lines), nl=False)
    for note in addition.notes:
        typer.echo(f"Note: {note}", err=True)


def by_folder(paths: list[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = {}
    for folder, _, name in (path.rpartition("/") for path in paths):
        folders.setdefault(f"{folder}/" if folder else "./", []).append(name)
    return folders


def show_steps(addition: "Addition") -> None:
    """What is left to do, to paste as it stands."""
    typer.echo("\nWritten. Next:")
    for step in addition.steps:
        typer.echo(f"\n{step.what}")
        typer.echo("".join(f"    {line}\n" for line in step.lines), nl=False)


def plain(addition: "Addition", patch: str, *, dry_run: bool) -> dict[str, Any]:
    host = addition.host
    guesses = {name: getattr(host, name)._asdict() for name in ("framework", "package_dir", "dependencies")}
    return {
        "path": str(addition.dest.resolve()),
        "version": addition.version,
        "dry_run": dry_run,
        "detected": guesses | {"app": host.app and host.app._asdict(), "candidates": host.candidates},
        "answers": addition.answers,
        "written": addition.new,
        "appended": {one.path: one.lines for one in addition.appended},
        "notes": addition.notes,
        "next": [step._asdict() for step in addition.steps],
    } | ({"diff": patch} if patch else {})
