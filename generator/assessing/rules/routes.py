"""Routes that spend money, and whether anything asks who calls."""

from collections.abc import Iterator

from .. import facts
from ..findings import Severity
from ..gates import Gates
from ..routes import routes
from ..rule import Case, Hit, Rule, at
from ..spending import Spending
from ..syntax import Scope


def open_routes(case: Case) -> Iterator[Hit]:
    gates = Gates(case.project)
    price = f"{facts.usd_per_1000():.2f} USD per 1,000 characters"
    for route in routes(case.project):
        what = spends(route.handler, case.spending)
        if what and not gates.closed(route):
            yield at(
                route.handler.module, route.handler.node,
                f"{route.says} calls {what}, and nothing asks who calls",
                why=f"whoever finds the address speaks on your bill, at {price}, as often as he likes",
            )  # fmt: skip


def spends(handler: Scope, spending: Spending) -> str:
    """What a route pays for, in the words of a finding; empty where it pays for nothing."""
    paid = spending.within(handler)
    if not paid:
        return spending.ours_within(handler)
    what = "ElevenLabs" if paid[0].http else paid[0].what
    return what if paid[0].scope is handler else f"{what} through {paid[0].scope.name}"


RULES = [
    Rule(
        "open-route", "A route that spends money asks nobody who he is", Severity.severe,
        "whoever finds the address speaks on your bill, as often as he likes",
        "a login, a key or a signed token before the call, and a budget for each caller behind it",
        open_routes,
    )
]  # fmt: skip
