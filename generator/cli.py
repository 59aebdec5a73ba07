"""``copier-elevenlabs``: thin over Copier.  Plain ``copier copy`` does the same, with less care for what is there."""

import json
import re
import shutil
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from .source import SOURCE, offline

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True, add_completion=False)


@app.callback()
def commands() -> None:
    """Render production ElevenLabs integration code, and keep it up to date."""


@app.command()
def new(
    dest: Annotated[Path, typer.Argument(help="Where to: a folder that is new or empty.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", "-d", metavar="NAME=VALUE", help="An answer; repeat it.")
    ] = None,
    answers: Annotated[Path | None, typer.Option(help="A YAML file of answers; --data wins.")] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Ask nothing: take the default where no answer is given.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say what was rendered as JSON; asks nothing.")] = False,
) -> None:
    """Render a new project, from the committed state of this template."""
    given = pairs(data or [])
    ask = not (defaults or as_json)
    if ask and not sys.stdin.isatty():
        fail("no terminal here to ask at: say --defaults", as_json)
    try:
        rendered = render(dest, read(answers) | given if answers else given, ask=ask, quiet=as_json)
    except KeyboardInterrupt:
        fail("stopped: nothing was written", as_json)
    except Exception as error:  # noqa: BLE001 - whatever Copier, git or the disk says becomes one line
        fail(reason(error), as_json)
    if as_json:
        typer.echo(json.dumps(rendered, indent=1))


def pairs(data: list[str]) -> dict[str, Any]:
    for item in data:
        if "=" not in item:
            raise typer.BadParameter(f"{item!r} is not NAME=VALUE", param_hint="--data")
        if item.startswith("born="):
            raise typer.BadParameter("born is recorded by the template, never given", param_hint="--data")
    return dict(item.split("=", 1) for item in data)


def read(answers: Path) -> dict[str, Any]:
    """The answers of a YAML file, be it one that Copier recorded: what is not an answer there is left out."""
    import yaml

    try:
        loaded = yaml.safe_load(answers.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError(f"{answers} is not a YAML file") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"{answers} does not hold answers, such as pricing_tier: pro")
    return {str(name): value for name, value in loaded.items() if not str(name).startswith("_") and name != "born"}


def render(dest: Path, answers: dict[str, Any], *, ask: bool, quiet: bool) -> dict[str, Any]:
    """Render into *dest*, wholly or not at all."""
    refuse_what_is_there(dest)
    kept = set(dest.iterdir()) if dest.exists() else None
    made = next((parent for parent in reversed((dest, *dest.parents)) if not parent.exists()), dest)
    try:
        with offline(), warnings.catch_warnings(action="ignore"):
            import copier

            worker = copier.run_copy(SOURCE, dest, data=answers, vcs_ref="HEAD", defaults=not ask, quiet=quiet)
    except BaseException:
        for leftover in [made] if kept is None else set(dest.iterdir()) - kept:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        raise
    files = sorted(
        f.relative_to(dest).as_posix()
        for f in dest.rglob("*")
        if f.is_file() and ".git" not in f.relative_to(dest).parts
    )
    return {
        "path": str(dest.resolve()),
        "version": worker.template.commit,
        "answers": read(dest / worker.answers_relpath),
        "files": files,
    }


def refuse_what_is_there(dest: Path) -> None:
    """Copier would stop at the first file that differs, with half of its own already written."""
    if dest.exists() and not dest.is_dir():
        raise ValueError(f"{dest} is a file")
    there = sorted(f.name for f in dest.iterdir() if f.name != ".git") if dest.exists() else []
    if there:
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        hint = f"for a project that exists: copier copy -d layout=package {SOURCE} {dest}"
        raise ValueError(f"{dest} is not empty ({', '.join(there[:3])}{more}); {hint}")


def reason(error: Exception) -> str:
    """One line to mend it by."""
    said = str(error).strip()
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if fatal := re.search(r"fatal: (.*)", said):
        return f"git says: {fatal[1]}"
    said = re.sub(r"^Validation error for question '\w+': ", "", said)
    return said.splitlines()[0] if said else type(error).__name__


def fail(why: str, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"error": why}))
    else:
        typer.echo(f"copier-elevenlabs: {why}", err=True)
    raise typer.Exit(1)


def main() -> None:
    app(prog_name="copier-elevenlabs")
