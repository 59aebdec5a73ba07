"""Routes that spend money, and whether anything asks who calls."""

from collections.abc import Iterator

from .. import facts
from ..findings import Severity
from ..gates import Gates
from ..routes import routes
from ..rule import Case, Hit, Rule, at


def open_routes(case: Case) -> Iterator[Hit]:
    gates = Gates(case.project)
    for route in routes(case.project):
        spends = case.spending.within(route.handler)
        if spends and not gates.closed(route):
            what = spends[0].what if not spends[0].http else "ElevenLabs"
            price = f"{facts.usd_per_1000():.2f} USD per 1,000 characters"
            through = "" if spends[0].scope is route.handler else f" through {spends[0].scope.name}"
            yield at(
                route.handler.module, route.handler.node,
                f"{route.says} calls {what}{through}, and nothing asks who calls",
                why=f"whoever finds the address speaks on your bill, at {price}, as often as he likes",
            )  # fmt: skip


RULES = [
    Rule(
        "open-route", "A route that spends money asks nobody who he is", Severity.severe,
        "whoever finds the address speaks on your bill, as often as he likes",
        "a login, a key or a signed token before the call, and a budget for each caller behind it",
        open_routes,
    )
]  # fmt: skip
