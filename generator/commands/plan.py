"""``plan``: which plan of ElevenLabs is enough for a load, and what it costs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .. import console
from .options import Json

EXAMPLES = """
copier-elevenlabs plan --characters-month 1000000 --peak-rps 2 --realtime-share 0.3
copier-elevenlabs plan --stt-hours 200 --max-wait 10
copier-elevenlabs plan --from-ledger .speech/ledger.sqlite --write answers.yml
"""


def _number(about: str, metavar: str) -> Any:
    return typer.Option(help=about, metavar=metavar)


Number = float | None


def plan(
    characters_month: Annotated[Number, _number("Characters to speak in a month.", "N")] = None,
    peak_rps: Annotated[Number, _number("Requests to speak in a second, at the peak.", "R")] = None,
    realtime_share: Annotated[Number, _number("Share of them that is realtime, by Flash: 0 to 1.", "P")] = None,
    stt_hours: Annotated[Number, _number("Hours of speech to text in a month.", "H")] = None,
    max_wait: Annotated[Number, _number("Longest acceptable wait for a slot, in seconds.", "S")] = None,
    characters_request: Annotated[Number, _number("Characters of a request, on average.", "N")] = None,
    seconds_call: Annotated[Number, _number("Seconds that a call to speak takes, as you measured it.", "S")] = None,
    stt_file_seconds: Annotated[Number, _number("Length of a recording to transcribe, on average.", "S")] = None,
    batch_share: Annotated[Number, _number("Share of requests at batch priority: they may wait.", "P")] = None,
    reserved_interactive: Annotated[Number, _number("As SPEECH_RESERVED_INTERACTIVE: slots, or a share.", "R")] = None,
    from_ledger: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="History: a service's ledger.sqlite, or what its usage --json printed."),
    ] = None,
    as_json: Json = False,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the answer, for new --answers; a new file.")
    ] = None,
) -> None:
    """Which plan is enough for a load, and what it costs.  What is not given is assumed, and said so.

    Exit code 1 where no published plan is enough.
    """
    with console.one_line(as_json=as_json):
        from .. import catalogue
        from ..planning import answers, choose, export, history, load

        facts = catalogue.load()
        given = load.Given(
            characters_month=characters_month,
            peak_rps=peak_rps,
            realtime_share=realtime_share,
            stt_hours=stt_hours,
            max_wait=max_wait,
            characters_request=characters_request,
            seconds_call=seconds_call,
            stt_file_seconds=stt_file_seconds,
            batch_share=batch_share,
            reserved_interactive=reserved_interactive,
        )
        answers.refuse_what_is_there(write)
        past = history.read(from_ledger, facts) if from_ledger else None
        with console.doing("queueing", quiet=as_json):
            found = choose.plan(load.load(given, past, facts), facts)
            data = export.as_data(found)
        if as_json:
            console.as_data(data)
        else:
            from ..planning.draw import draw

            draw(found, console.out())
    with console.one_line():  # what --json prints has been said: the reason goes to standard error
        if write:
            answers.write(write, found)
            console.err().print(f"{write} written: copier-elevenlabs new DEST --answers {write}", markup=False)
    if not found.chosen:
        raise typer.Exit(1)
