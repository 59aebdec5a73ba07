"""How the command line speaks: results on stdout, everything else on stderr, colour on a terminal alone.

Rich does the drawing: it minds NO_COLOR, pipes and the terminal's width.  It is imported where it draws, for ``--help``
answers in a tenth of a second without it.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console


def out() -> "Console":
    """Where what was asked for goes."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def err() -> "Console":
    """Where progress, questions and warnings go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def as_data(value: Any) -> None:
    """What ``--json`` prints, and all that it prints."""
    typer.echo(json.dumps(value, indent=1))


@contextmanager
def doing(what: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Long work: a line that moves on a terminal, nothing in a pipe.  Gives what changes the line."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    with err().status(what) as status:
        yield lambda now: status.update(now)


def confirm(question: str, *, otherwise: str) -> bool:
    """Ask at a terminal; without one, fail and say which option decides it (*otherwise*)."""
    if not sys.stdin.isatty():
        raise ValueError(f"no terminal here to ask at: say {otherwise}")
    return typer.confirm(question, err=True)


@contextmanager
def one_line(*, as_json: bool = False, stopped: str = "stopped: nothing was written") -> Iterator[None]:
    """Whatever goes wrong inside becomes one line and exit code 1: nobody sees a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        fail(stopped, as_json=as_json)
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:  # noqa: BLE001 - whatever Copier, git or the disk says
        fail(reason(error), as_json=as_json)


def reason(error: Exception) -> str:
    """One line to mend it by."""
    said = str(error).strip()
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if fatal := re.search(r"fatal: (.*)", said):
        return f"git says: {fatal[1]}"
    said = re.sub(r"^Validation error for question '\w+': ", "", said)
    return said.splitlines()[0] if said else type(error).__name__


def fail(why: str, *, as_json: bool = False, code: int = 1) -> NoReturn:
    if as_json:
        as_data({"error": why})
    else:
        typer.echo(f"copier-elevenlabs: {why}", err=True)
    raise typer.Exit(code)
