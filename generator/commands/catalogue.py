"""``catalogue``: the vendor's facts, each with where it comes from, how old that is and how sure."""

from typing import Annotated, Any, Literal

import typer

from .. import console
from .options import Json

EXAMPLES = """
copier-elevenlabs catalogue                  # what there is, and what retires soon
copier-elevenlabs catalogue plans
copier-elevenlabs catalogue models --json    # with every source, day and how sure
"""

Topic = Literal["plans", "models", "errors", "prices"]


def catalogue(
    topic: Annotated[Topic | None, typer.Argument(metavar="[TOPIC]", help="plans, models, errors or prices.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is known of ElevenLabs' plans, models, errors, prices.

    Each fact says where it comes from, of which day that is and how sure: "documented" by ElevenLabs, "live" (seen in a
    real answer or bill), "sdk" (read in the SDK); "reported", "inferred", "assumed" and "unknown" are less.

    Without a topic it says what retires soon: voices, models and plans that should be used no more.
    """
    with console.one_line(as_json=as_json):
        from ..catalogue import TOPICS, endings, load

        known = load()
        ending = [end for end in endings(known) if topic is None or end.part in TOPICS[topic]]
        if as_json:
            parts = TOPICS[topic] if topic else [part for part in known if part != "sources"]
            said: dict[str, Any] = {part: known[part] for part in parts}
            console.as_data(said | {"endings": [end.as_data() for end in ending], "sources": known["sources"]})
            return

        from .. import catalogue_tables

        for shown in catalogue_tables.of(known, topic, ending):
            console.out().print(shown, "")
