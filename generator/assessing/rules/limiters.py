"""Limits that each process keeps for itself, where there are several."""

import ast
import re
from collections.abc import Iterator

from .. import facts
from ..deployment import Processes, processes
from ..findings import Severity
from ..guards import LIMITERS, Guard, guards_around
from ..names import Known, Names
from ..rule import Case, Hit, Rule, at
from ..spending import Spend
from ..values import argument, bound_value

SHARED_OUT = re.compile(r"worker|process|replica|instance|WEB_CONCURRENCY", re.IGNORECASE)


def per_process(case: Case) -> Iterator[Hit]:
    many = processes(case.project)
    if many is None:
        return
    told: set[ast.Call] = set()
    for spend in case.spending.all:
        for guard in guards_of(spend, case):
            made = guard.known
            if (
                made
                and made.call
                and made.scope
                and made.call not in told
                and LIMITERS.match(made.name)
                and "Lock" not in made.name
                and not shared_out(made, case.project.meaning)
            ):
                told.add(made.call)
                yield at(made.scope.module, made.call, words(guard, many))


def guards_of(spend: Spend, case: Case) -> Iterator[Guard]:
    """Around the call, and around the calls of its function."""
    if spend.paid:
        yield from guards_around(spend.call, spend.scope, case.spending)
        for call, caller in case.spending.callers.get(spend.scope.key, []):
            yield from guards_around(call, caller, case.spending)


def shared_out(made: Known, meaning: Names) -> bool:
    """Divided by the number of processes already."""
    size = argument(made.call, "value", 0)
    if size is None or made.scope is None:
        return False
    said = ast.unparse(bound_value(size, made.scope, meaning) or size)
    return "/" in said and bool(SHARED_OUT.search(said))


def words(guard: Guard, many: Processes) -> str:
    limit = f"the {facts.USUAL_PLAN} plan takes {facts.limit('standard')} ({facts.limit('flash')} on Flash)"
    if many.number and guard.size:
        total = f"{guard.size * many.number:g} at once"
        return f"{guard.size:g} in each of {many.number} processes ({many.where}) is {total}: {limit}"
    count = str(many.number) if many.number else "several"
    return f"each of {count} processes ({many.where}) has a limit of its own: {limit}"


RULES = [
    Rule(
        "per-process-limiter", "A limit that each process keeps for itself", Severity.warning,
        "ElevenLabs counts by subscription: all processes together run over the limit, and get 429s that none expects",
        "one limiter for all of them (Redis, or a broker), or the plan's limit divided by the number of processes",
        per_process,
    )
]  # fmt: skip
