"""``copier-elevenlabs``: thin over Copier where Copier is enough; what it can't do, each command's module says."""

from types import ModuleType
from typing import Annotated

import typer

from . import console
from .commands import add, assess, catalogue, new, plan, update, verify

COMMANDS = (new, add, update, plan, assess, verify, catalogue)
EXIT_CODES = """
0  fine
1  refused, failed, or something was found
2  wrong usage
3  an update left conflicts to resolve
"""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)


def as_it_stands(title: str, text: str) -> str:
    r"""For the end of a help text: Click wraps no line of a paragraph that starts with ``\b``."""
    lines = "\n".join(f"  {line}" for line in text.strip().splitlines())
    return f"\b\n{title}:\n{lines}"


def name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        with console.one_line():
            typer.echo(version("copier-elevenlabs"))
        raise typer.Exit


@app.callback(epilog=as_it_stands("Exit codes", EXIT_CODES))
def commands(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Render production ElevenLabs integration code, and keep it up to date."""


for module in COMMANDS:
    app.command(epilog=as_it_stands("Examples", module.EXAMPLES))(getattr(module, name(module)))


def main() -> None:
    app(prog_name="copier-elevenlabs")
