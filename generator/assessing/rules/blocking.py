"""What stops an event loop: the blocking client, blocking HTTP and sleep, called in async code or one call below it."""

import ast
from collections.abc import Iterator

from ..findings import Severity
from ..names import Names
from ..rule import Case, Hit, Rule, at
from ..spending import ASYNC_HTTP, CLIENT, HTTP, LAZY, Spending
from ..syntax import Module, Scope

SLEEPS = {"time.sleep"}
PLAYS = {
    "elevenlabs.play",
    "elevenlabs.save",
    "elevenlabs.stream",
    "elevenlabs.play.play",
    "elevenlabs.play.save",
    "elevenlabs.play.stream",
}
THREADS = {
    "to_thread",
    "run_in_executor",
    "run_in_threadpool",
    "run_sync",
    "sync_to_async",
    "iterate_in_threadpool",
    "submit",
}
# They read an iterator in a thread of their own.
READERS = THREADS | {"StreamingResponse", "StreamingHttpResponse", "Stream", "EventSourceResponse"}


def blocking(case: Case) -> Iterator[Hit]:
    for module in case.project.served:
        for scope in module.scopes.values():
            if scope.is_async:
                yield from in_async(case, module, scope)


def in_async(case: Case, module: Module, scope: Scope) -> Iterator[Hit]:
    meaning = case.project.meaning
    below = {call: inner for call, inner in case.spending.called(scope) if meaning.name(call.func, scope) == inner.key}
    for call in scope.calls:
        if last_of(call.func) in THREADS:
            yield from through_thread(call, scope, meaning)
        elif (name := meaning.name(call.func, scope)) and is_lazy(name):
            if not read_elsewhere(call, scope, meaning):
                yield at(module, call, f"{short(name)} of the blocking client is read in async code")
        elif what := stops(name, module):
            yield at(module, call, f"{what} in async code")
        elif (inner := below.get(call)) and not inner.is_async:
            yield from one_below(case, call, scope, inner)


def one_below(case: Case, call: ast.Call, scope: Scope, inner: Scope) -> Iterator[Hit]:
    found = next(iter(stops_inside(inner, case.spending)), None)
    if found and not (makes_generator(inner) and read_elsewhere(call, scope, case.project.meaning)):
        yield at(scope.module, call, f"{last_of(call.func)}() is called in async code, and blocks: {found}")


def stops(name: str, module: Module) -> str:
    """What blocks here, in words; empty where nothing does."""
    if name in SLEEPS:
        return "time.sleep"
    if name in PLAYS:
        return f"{name}, which waits for the audio,"
    if (made := CLIENT.match(name)) and not made[1] and ("." in made[2] or made[2] in LAZY):
        return f"{made[2]} of the blocking client"
    if name == "elevenlabs.generate":
        return "elevenlabs.generate"
    if HTTP.match(name) and not name.startswith(ASYNC_HTTP):
        return f"{name.replace('()', '')}, blocking HTTP,"
    return ""


def is_lazy(name: str) -> bool:
    made = CLIENT.match(name)
    return bool(made and not made[1] and made[2] in LAZY and not made[3])


def short(name: str) -> str:
    return name.replace("elevenlabs.ElevenLabs().", "")


def stops_inside(scope: Scope, spending: Spending, depth: int = 2) -> Iterator[str]:
    """What blocks in a blocking function, or in those that it calls."""
    for call in scope.calls:
        name = spending.meaning.name(call.func, scope)
        if is_lazy(name):
            if not only_returned(call, scope):
                yield f"{short(name)} of the blocking client"
        elif what := stops(name, scope.module):
            yield what.rstrip(",")
    if depth:
        for call, inner in spending.called(scope):
            if not inner.is_async and inner is not scope and spending.meaning.name(call.func, scope) == inner.key:
                yield from stops_inside(inner, spending, depth - 1)


def makes_generator(scope: Scope) -> bool:
    return any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in scope.nodes)


def only_returned(call: ast.Call, scope: Scope) -> bool:
    return isinstance(scope.module.parents.get(call), ast.Return)


def through_thread(call: ast.Call, scope: Scope, meaning: Names) -> Iterator[Hit]:
    """A thread that only makes the generator: nothing is sent before somebody reads it."""
    for arg in call.args:
        known = meaning.of(arg, scope) if isinstance(arg, (ast.Name, ast.Attribute, ast.Call)) else None
        if known and is_lazy(known.name) and not read_elsewhere(call, scope, meaning):
            what = f"{last_of(call.func)}({short(known.name)}) only makes a generator there: it blocks where it is read"
            yield at(
                scope.module,
                call,
                what,
                mend="read it in the thread too: to_thread(lambda: b''.join(client.text_to_speech.convert(...)))",
            )
            return


def read_elsewhere(call: ast.expr, scope: Scope, meaning: Names) -> bool:
    """Is this generator handed to a thread, or to a response that reads it in one, and never read here?"""
    above = scope.module.parents.get(call)
    node: ast.AST = call
    while isinstance(above, (ast.Await, ast.Starred, ast.keyword, ast.NamedExpr)):
        node, above = above, scope.module.parents.get(above)
    if isinstance(above, ast.Call):
        return node is not above.func and last_of(above.func) in READERS
    if isinstance(above, ast.Return):
        return isinstance(node, ast.Call) and last_of(node.func) not in THREADS
    if isinstance(above, ast.Assign) and len(above.targets) == 1 and isinstance(above.targets[0], ast.Name):
        return all(handed_on(use, scope, meaning) for use in uses(above.targets[0].id, scope))
    return isinstance(above, ast.Expr) and not isinstance(node, ast.Await)


def uses(name: str, scope: Scope) -> Iterator[ast.Name]:
    for node in scope.nodes:
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
            yield node


def handed_on(use: ast.Name, scope: Scope, meaning: Names) -> bool:
    above = scope.module.parents.get(use)
    if isinstance(above, (ast.keyword, ast.Starred)):
        above = scope.module.parents.get(above)
    return isinstance(above, ast.Call) and (
        last_of(above.func) in READERS or meaning.name(above.func, scope) in PLAYS  # those are told themselves
    )


def last_of(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


RULES = [
    Rule(
        "blocking-in-async", "A blocking call in async code", Severity.severe,
        "while it waits, every other request of this process waits: health checks, streams and timeouts included",
        "AsyncElevenLabs (or httpx.AsyncClient, asyncio.sleep), or the whole call in asyncio.to_thread",
        blocking,
    )
]  # fmt: skip
