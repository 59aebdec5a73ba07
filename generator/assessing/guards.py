"""What holds the number of calls in flight: semaphores and their like, around a call or anywhere on the way to it."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from . import facts
from .names import Known
from .spending import Spend, Spending
from .syntax import Scope
from .values import argument, number_of

LIMITERS = re.compile(
    r"^(?:asyncio|threading|multiprocessing|anyio|trio|asyncio\.locks|gevent\.lock|eventlet\.semaphore)\."
    r"(?:Bounded)?(?:Semaphore|CapacityLimiter|Lock|RLock)\(\)|^aiolimiter\.AsyncLimiter\(\)|^pyrate_limiter\.\w+\(\)"
)
CALLED_SO = re.compile(
    r"sem(?:aphore)?s?(?:_|$|\()|limit|throttl|slot|gate(?:_|$|\()|bulkhead|lease|permit|capacity|concurren",
    re.IGNORECASE,
)


class Guard(NamedTuple):
    """*known* is where it was made, where that can be told; *size* how many it lets in."""

    said: str
    known: Known | None
    size: float | None


def guards_around(node: ast.AST, scope: Scope, spending: Spending) -> list[Guard]:
    """``with`` blocks around *node* in its function, what its function acquires, and its decorators."""
    return spending.once(("guards", node, scope.key), lambda: list(_guards_around(node, scope, spending)), [])


def _guards_around(node: ast.AST, scope: Scope, spending: Spending) -> Iterator[Guard]:
    for above in (node, *scope.module.above(node)):
        if above is scope.node:
            break
        if isinstance(above, (ast.With, ast.AsyncWith)):
            for item in above.items:
                yield from as_guard(item.context_expr, scope, spending)
        elif isinstance(above, ast.Call):
            yield from guards_of_call(above, scope, spending)
    for call in scope.calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("acquire", "__aenter__", "__enter__"):
            yield from as_guard(call.func.value, scope, spending)
    if isinstance(scope.node, ast.Lambda) and scope.parent:
        yield from guards_around(scope.node, scope.parent, spending)
    for decorator in scope.decorators:
        yield from as_guard(decorator, scope.parent or scope, spending)
        yield from guards_of_helper(decorator, scope.parent or scope, spending)


def guards_of_call(call: ast.Call, scope: Scope, spending: Spending) -> Iterator[Guard]:
    """What holds the work that is given to a call: the helper's own, or ``run_sync(..., limiter=...)``."""
    yield from guards_of_helper(call.func, scope, spending)
    for keyword in call.keywords:
        if keyword.arg == "limiter":
            yield from as_guard(keyword.value, scope, spending)


def guards_of_helper(function: ast.expr, scope: Scope, spending: Spending) -> Iterator[Guard]:
    """The project's own ``limiter.run(job)`` and ``@limited``: what they hold while they call what they were given."""
    for call, where in spending.calls_of_given(function, scope):
        yield from guards_around(call, where, spending)


def as_guard(expr: ast.expr, scope: Scope, spending: Spending) -> Iterator[Guard]:
    known = spending.meaning.of(expr, scope)
    said = ast.unparse(expr)
    if known and known.call is None and LIMITERS.match(known.name):
        known = next(iter(spending.handed(expr, scope)), known)
    manager = spending.meaning.function(expr, scope)
    opened = [node for node in manager.nodes if isinstance(node, ast.Yield)] if manager else []
    if manager and opened and (held := guards_around(opened[0], manager, spending)):
        yield from held
    elif known and LIMITERS.match(known.name):
        size = (
            argument(known.call, "value", 0)
            or argument(known.call, "total_tokens")
            or argument(known.call, "initial_value")
        )
        number = number_of(size, known.scope, spending.meaning) if known.scope else None
        yield Guard(said, known, 1 if "Lock" in known.name else number)
    elif known and (inside := limiters_in(known, spending)):
        yield from inside
    elif CALLED_SO.search(said.replace("concurrent.futures", "")):
        yield Guard(said, known, None)


def limiters_in(known: Known, spending: Spending) -> list[Guard]:
    """Of a class of the project's own that keeps one."""
    owner = spending.meaning.classes.get(known.name.removesuffix("()"))
    kept = [(value, where) for values in owner.attributes.values() for where, value in values] if owner else []
    made = [(value, where) for value, where in kept if LIMITERS.match(spending.meaning.name(value, where))]
    return [guard for value, where in made for guard in as_guard(value, where, spending)]


class Open(NamedTuple):
    """A paid call with nothing on the way to it that bounds it below *most* at once."""

    spend: Spend
    too_wide: Guard | None


def unguarded(scope: Scope, spending: Spending, depth: int = 3) -> Iterator[Open]:
    """Paid calls of a function, and of those it calls, that nothing bounds."""
    yield from (found for spend in spending.direct(scope) if spend.paid and (found := opened(spend, scope, spending)))
    if depth:
        for call, inner in spending.called(scope):
            if inner is not scope and not bounding(guards_around(call, scope, spending)):
                yield from unguarded(inner, spending, depth - 1)


def opened(spend: Spend, scope: Scope, spending: Spending) -> Open | None:
    guards = guards_around(spend.call, scope, spending)
    if spend.http and spend.known.call is not None and argument(spend.known.call, "limits") is not None:
        return None
    if spend.http and has_bounded_connector(spend):
        return None
    return None if bounding(guards) else Open(spend, guards[0] if guards else None)


def has_bounded_connector(spend: Spend) -> bool:
    connector = argument(spend.known.call, "connector")
    return connector is not None and "limit" in ast.unparse(connector)


def bounding(guards: Iterator[Guard] | list[Guard]) -> bool:
    """One that lets in more than any plan does bounds nothing."""
    return any(guard.size is None or guard.size <= facts.highest_limit("flash") for guard in guards)
