"""``copier-elevenlabs``: thin over Copier where Copier is enough; what it can't do, each command's module says."""

import typer

from .commands import add, assess, catalogue, new, plan, update, verify

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True, add_completion=False)


@app.callback()
def commands() -> None:
    """Render production ElevenLabs integration code, and keep it up to date."""


for command in (new.new, add.add, update.update, plan.plan, assess.assess, verify.verify, catalogue.catalogue):
    app.command()(command)


def main() -> None:
    app(prog_name="copier-elevenlabs")
