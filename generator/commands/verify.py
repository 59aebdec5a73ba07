"""``verify``: does a rendered project keep its promises?"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from .. import console
from .options import Json

EXAMPLES = """
copier-elevenlabs verify ../my-voice
copier-elevenlabs verify . --json    # for programs
"""


def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A project that was rendered here.")],
    as_json: Json = False,
) -> None:
    """Start a rendered project on its sandbox and put it to the test.

    Limits under load, every error path, security, cost, drain and recovery; a scorecard. Needs no key, touches none of
    its files, ends with 1 if anything fails.

    It runs by the project's .venv, else by the environment that is active.
    """
    with console.one_line(as_json=as_json, stopped="stopped: nothing is left running"), _told_to_end():
        from ..verifying import project, running, scorecard, themes
        from ..verifying.manifest import changed

        began, found = time.monotonic(), project.find(path)
        checks, nth = sum(len(act.checks) for theme in themes.ALL for act in theme.acts), count(1)
        with console.doing(f"verifying {found.path.name}", quiet=as_json) as tell:
            told = running.run(found, themes.ALL, lambda what: tell(f"{next(nth)} of {checks}  {what}"))
        card = scorecard.Scorecard(found, told, time.monotonic() - began, changed(found))
        if as_json:
            console.as_data(scorecard.as_data(card))
        else:
            scorecard.draw(card, console.out())
    raise typer.Exit(int(bool(card.failed)))


@contextmanager
def _told_to_end() -> Iterator[None]:
    """A terminal that is closed and a job that is cancelled are a Ctrl-C too."""
    words = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {word: signal.signal(word, lambda *_: signal.raise_signal(signal.SIGINT)) for word in words}
    try:
        yield
    finally:
        for word, handler in before.items():
            signal.signal(word, handler)
