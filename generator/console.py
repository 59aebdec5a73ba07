"""How the command line speaks: results on stdout, everything else on stderr, colour on a terminal alone.

Rich does the drawing: it minds NO_COLOR, pipes and the terminal's width.  It is imported where it draws, for ``--help``
answers in a tenth of a second without it.
"""

import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_COLUMNS = 100  # what a table is laid out for where no terminal says how wide it is

HANGUP = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []  # Windows has none


def out() -> "Console":
    """Where what was asked for goes."""
    from rich.console import Console

    known = sys.stdout.isatty() or os.environ.get("COLUMNS")
    return Console(highlight=False, soft_wrap=True, width=None if known else PIPE_COLUMNS)


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    text: Sequence[str] = (),
    title: str = "",
) -> "Table":
    """Without lines; *numbers* stand to the right, *text* is folded where it must be, and nothing is ever cut."""
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=title or None, title_justify="left", title_style="bold", box=None, padding=(0, 1), pad_edge=False
    )
    roomy = out().width >= PIPE_COLUMNS
    for name in headers:
        side: Literal["left", "right"] = "right" if name in numbers else "left"
        made.add_column(name, header_style="dim", justify=side, overflow="fold", no_wrap=roomy and name not in text)
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def err() -> "Console":
    """Where progress, questions and warnings go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def as_data(value: Any) -> None:
    """What ``--json`` prints, and all that it prints."""
    typer.echo(json.dumps(value, indent=1))


def entry(word: str, what: str, style: str = "") -> None:
    """A line of a list that a person scans and a program greps: a word, and what it is about."""
    from rich.text import Text

    out().print(Text.assemble((f"{word:<9}", style), " ", visible(what)))


def as_tree(root: str, paths: Iterable[str]) -> None:
    """Files below *root*: drawn on a terminal, a path a line in a pipe."""
    if not sys.stdout.isatty():
        for path in paths:
            typer.echo(path)
        return
    from rich.text import Text
    from rich.tree import Tree

    branches = {"": Tree(Text(root))}
    for path in paths:
        parts = path.split("/")
        for depth, part in enumerate(parts):
            above, here = "/".join(parts[:depth]), "/".join(parts[: depth + 1])
            branches[here] = branches.get(here) or branches[above].add(Text(part))
    out().print(branches[""])


def as_diff(text: str) -> None:
    """Byte for byte in a pipe, for a patch has to fit; on a terminal in colour, and nothing that would steer it."""
    if not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
        return
    from rich.text import Text

    styles = {"+": "green", "-": "red", "@": "cyan", "d": "bold"}
    for line in text.split("\n")[:-1]:
        out().print(Text(visible(line), styles.get(line[:1], "")))


def visible(text: str) -> str:
    """Control characters as a terminal names them (^M), bytes that are no text as the replacement character."""
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", lambda c: "^" + chr(ord(c[0]) ^ 0x40), shown)


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


class _FileByFile(io.TextIOBase):
    """Copier's account of itself: its line for each file becomes one that moves on a terminal, nothing in a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.line = stream, ""

    def isatty(self) -> bool:
        return self.stream.isatty()

    def write(self, text: str) -> int:
        *whole, self.line = (self.line + text).split("\n")
        for line in whole:
            self._show(re.sub(r"\x1b\[[0-9;]*m", "", line))
        return len(text)

    def _show(self, line: str) -> None:
        per_file = re.match(r" +[a-z]+  \S", line)
        moving = self.isatty()
        if moving:
            self.stream.write("\r\x1b[K")
        if line.strip() and not per_file:
            self.stream.write(line + "\n")
        elif per_file and moving:
            self.stream.write(line.strip()[:78])
        self.stream.flush()


@contextmanager
def file_by_file() -> Iterator[None]:
    """Around Copier where it speaks for itself."""
    with redirect_stderr(_FileByFile(sys.stderr)):
        yield


@contextmanager
def stoppable() -> Iterator[None]:
    """A closed terminal or `kill` stops the block as Ctrl-C does: what it began is cleared away."""
    fatal = [number for number in (signal.SIGTERM, *HANGUP) if signal.getsignal(number) is signal.SIG_DFL]
    usual = {number: signal.signal(number, signal.default_int_handler) for number in fatal}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


@contextmanager
def one_line(*, as_json: bool = False, stopped: str = "stopped: nothing was written") -> Iterator[None]:
    """Whatever goes wrong inside becomes one line and exit code 1: nobody sees a traceback."""
    try:
        yield
    except (KeyboardInterrupt, typer.Abort):
        fail(stopped, as_json=as_json)
    except (typer.Exit, typer.BadParameter):
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
