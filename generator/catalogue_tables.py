"""The catalogue as tables: of 100 columns, so that a terminal and a pipe show every fact whole."""

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from .catalogue import CERTAIN, TOPICS, Ending, facts
from .console import table

if TYPE_CHECKING:
    from rich.table import Table

HOLDS = {
    "plans": "price, credits, requests at once of every plan",
    "models": "limits, price, state of every model; voices that end",
    "errors": "what the API says when it refuses, who is to blame",
    "prices": "list prices in USD, and what is billed how",
}
POOLS = ("standard", "flash", "stt", "stt_realtime")
ORIGIN = ("source", "read", "sure")
Known = dict[str, Any]


def of(known: Known, topic: str | None, ending: list[Ending]) -> Iterator["Table"]:
    """Everything that the command prints of *topic*; an overview of None."""
    shown = {"plans": (plans,), "models": (speaking, listening), "errors": (errors,), "prices": (prices,)}
    for show in shown.get(topic or "", (overview,)):
        yield show(known)
    for _, alike in groupby(ending, key=lambda end: (end.part, end.ends)):
        yield retiring(list(alike))
    shown_facts = [fact.content for part in TOPICS.get(topic or "", ()) for fact in facts(known[part])]
    yield sources(known, [*shown_facts, *(end.fact for end in ending)])


def overview(known: Known) -> "Table":
    def row(topic: str) -> list[str]:
        found = [fact for part in TOPICS[topic] for fact in facts(known[part])]
        sure = sum(fact.content["sure"] in CERTAIN for fact in found)
        days = [str(fact.content["read"]) for fact in sorted(found, key=lambda fact: fact.read)]
        return [topic, str(len(found)), str(sure), days[0], days[-1], HOLDS[topic]]

    headers = ("topic", "facts", "sure", "oldest", "newest", "what")
    title = f"copier-elevenlabs catalogue {'|'.join(TOPICS)}"
    return table(headers, map(row, TOPICS), numbers=("facts", "sure"), text=("what",), title=title)


def plans(known: Known) -> "Table":
    def row(name: str, plan: Known) -> list[str]:
        slots = [number(plan["concurrency"][pool], "limit") for pool in POOLS]
        return [name, number(plan, "price_usd_month"), number(plan, "credits_month"), *slots, *origin(plan)]

    numbers = ("USD", "credits", *POOLS)
    rows = [row(name, plan) for name, plan in known["plans"].items()]
    title = "Plans: a month's price and credits, and requests at once by pool (? is not sure, - nobody says)"
    return table(("plan", *numbers, *ORIGIN), rows, numbers=numbers, title=title)


def speaking(known: Known) -> "Table":
    def row(name: str, model: Known) -> list[str]:
        cells = [number(model, key) for key in ("max_characters", "usd_per_1000_characters", "languages")]
        return [name, model.get("pool", "-"), *cells, model["status"], *origin(model)]

    numbers = ("longest", "USD/1k", "lang")
    rows = [row(name, model) for name, model in known["models"].items() if model["kind"] == "tts"]
    title = "Text to speech: longest text and USD per 1,000 characters, languages"
    return table(("model", "pool", *numbers, "state", *ORIGIN), rows, numbers=numbers, title=title)


def listening(known: Known) -> "Table":
    rows = [
        [name, model["pool"], number(model, "usd_per_hour"), model["status"], *origin(model)]
        for name, model in known["models"].items()
        if model["kind"] != "tts"
    ]
    headers = ("model", "pool", "USD/hour", "state", *ORIGIN)
    return table(headers, rows, numbers=("USD/hour",), title="Speech to text")


def errors(known: Known) -> "Table":
    def row(error: Known) -> list[str]:
        code = error["legacy_status"] or error["code"] or error["type"] or "(no code)"
        source, read, sure = origin(error)
        said = [str(error["http"]), f"{code}\n{error['when']}", error["billed"], error["retry"], error["blame"]]
        return [*said, f"{sure} {read}\n{source}"]

    headers = ("http", "code, and when", "billed", "retry", "blame", "sure, read, source")
    return table(headers, map(row, known["errors"]["rows"]), text=("code, and when",), title="Refusals")


def prices(known: Known) -> "Table":
    def row(part: str, price: Known) -> list[str]:
        return [f"{part.replace('_', ' ')}: {words(price)}", *origin(price)]

    rows = [
        row(part, price)
        for part, found in known["prices"].items()
        for price in (found if isinstance(found, list) else [found])
    ]
    rows += [
        row("stt", {"model": name} | {key: model[key] for key in ("usd_per_hour", *ORIGIN)})
        for name, model in known["models"].items()
        if "usd_per_hour" in model
    ]
    return table(("what is known", *ORIGIN), rows, text=("what is known",), title="Prices")


def retiring(alike: list[Ending]) -> "Table":
    """What ends on one day, or some day."""
    part, ends, left = alike[0].part, alike[0].ends, alike[0].days_left
    rows = [
        [
            " ".join(dict.fromkeys((end.name, end.id or "(id not known)"))),
            end.state,
            end.successor or "-",
            *origin(end.fact),
        ]
        for end in alike
    ]
    if left is None:
        when = f"{part} to be replaced, no day announced"
    else:
        when = f"{part} end on {ends}, in {left} days" if left > 0 else f"{part} ended on {ends}"
    headers = ("use no more", "state", "instead", *ORIGIN)
    return table(headers, rows, text=("state",), title=f"{len(alike)} {when}")


def sources(known: Known, shown: list[Known]) -> "Table":
    used = {one for fact in shown for one in origin(fact)[0].split()}
    rows = [
        [name, "; ".join(source[key] for key in ("where", "note") if key in source), str(source["read"])]
        for name, source in known["sources"].items()
        if name in used
    ]
    return table(("source", "where", "read"), rows, text=("where",), title="Sources")


def origin(fact: Known) -> tuple[str, str, str]:
    source = fact["source"]
    return " ".join(source) if isinstance(source, list) else source, str(fact["read"]), fact["sure"]


def number(fact: Known, name: str) -> str:
    value = fact.get(name)
    if value is None:
        return "-"
    return f"{value:,}" if fact["sure"] in CERTAIN else f"{value:,}?"


def words(fact: Known) -> str:
    """A row of whatever shape in one line; a name that comes first needs no label."""
    (label, first), *more = ((name, value) for name, value in fact.items() if name not in ORIGIN)
    said = [first if isinstance(first, str) else in_words(label, first)]
    return ", ".join(said + [in_words(name, value) for name, value in more])


def in_words(name: str, value: Any) -> str:
    label = name.replace("_", " ")
    return f"{value} USD{label.removeprefix('usd')}" if label.startswith("usd") else f"{label}: {plain(value)}"


def plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
