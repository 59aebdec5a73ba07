"""As many calls at once as there are texts, rows or listeners."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from .. import facts
from ..findings import Severity
from ..guards import Guard, Open, as_guard, bounding, guards_around, guards_of_call, unguarded
from ..names import Names, last_name
from ..rule import Case, Hit, Rule, at
from ..spending import CLIENT, LAZY, PAID, Spend, Spending
from ..syntax import Scope
from ..values import argument, number_of, text_of

GATHERS = {
    "asyncio.gather",
    "asyncio.wait",
    "asyncio.as_completed",
    "asyncio.tasks.gather",
    "tqdm.asyncio.tqdm_asyncio.gather",
    "tqdm.asyncio.tqdm.gather",
}
STARTS = {
    "create_task",
    "ensure_future",
    "start_soon",
    "submit",
    "run_in_executor",
    "run_coroutine_threadsafe",
    "apply_async",
    "spawn",
    "to_thread",
}
POOLS = {
    "concurrent.futures.ThreadPoolExecutor": "max_workers",
    "multiprocessing.pool.ThreadPool": "processes",
    "multiprocessing.Pool": "processes",
    "concurrent.futures.ProcessPoolExecutor": "max_workers",
    "gevent.pool.Pool": "size",
    "gevent.threadpool.ThreadPool": "maxsize",
    "eventlet.GreenPool": "size",
}
MAPPERS = {"tqdm.contrib.concurrent.thread_map", "tqdm.contrib.concurrent.process_map"}
MAPS = {"map", "imap", "imap_unordered", "starmap"}
BATCHES = ("batch", "chunk", "group", "slice", "window", "islice")


class Started(NamedTuple):
    """What is started once for each of *over*."""

    what: ast.expr
    over: list[ast.expr]


def unbounded(case: Case) -> Iterator[Hit]:
    for module in case.project.served:
        for scope in module.scopes.values():
            for call in scope.calls:
                yield from next(
                    (
                        [hit]
                        for started in started_by(call, scope, case.project.meaning)
                        if (hit := judge(call, started, scope, case))
                    ),
                    [],
                )


def started_by(call: ast.Call, scope: Scope, meaning: Names) -> Iterator[Started]:
    name, last = meaning.name(call.func, scope), last_name(call.func)
    if name in GATHERS:
        for arg in call.args:
            yield from gathered(arg.value if isinstance(arg, ast.Starred) else arg, scope)
    elif last in STARTS:
        if (loops := loops_around(call, scope)) and not awaited(call, scope) and not in_gather(call, scope, meaning):
            yield Started(call, loops)
    elif name == "threading.Thread" and (loops := loops_around(call, scope)):
        if target := argument(call, "target", 1):
            yield Started(target, loops)
    elif isinstance(call.func, ast.Call) and meaning.name(call.func.func, scope) == "joblib.Parallel":
        for arg in call.args:
            yield from gathered(arg, scope)
    elif name in MAPPERS and len(call.args) > 1:
        yield Started(call.args[0], [call.args[1]])
    elif last in MAPS and len(call.args) > 1 and isinstance(call.func, ast.Attribute):
        yield Started(call, [call.args[1]])


def in_gather(call: ast.Call, scope: Scope, meaning: Names) -> bool:
    return any(
        isinstance(above, ast.Call) and meaning.name(above.func, scope) in GATHERS for above in scope.module.above(call)
    )


def gathered(expr: ast.expr, scope: Scope) -> Iterator[Started]:
    match expr:
        case (
            ast.ListComp(elt=elt, generators=generators)
            | ast.GeneratorExp(elt=elt, generators=generators)
            | ast.SetComp(elt=elt, generators=generators)
        ):
            yield Started(elt, [one.iter for one in generators])
        case ast.Call(func=ast.Name(id="map"), args=[function, over, *_]):
            yield Started(function, [over])
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[inner]):
            yield from gathered(inner, scope)
        case ast.Name(id=name):
            yield from listed(name, scope)
        case _:
            return


def listed(name: str, scope: Scope) -> Iterator[Started]:
    """A list of tasks that was built before: by a comprehension, or by ``append`` in a loop."""
    for node in scope.nodes:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            if not isinstance(node.value, ast.Name):
                yield from (one for one in gathered(node.value, scope) if not starts(one.what))
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "add")
        ):
            if isinstance(node.func.value, ast.Name) and node.func.value.id == name and node.args:
                if (loops := loops_around(node, scope)) and not starts(node.args[0]):
                    yield Started(node.args[0], loops)


def starts(expr: ast.expr) -> bool:
    """It is judged where it starts."""
    return isinstance(expr, ast.Call) and last_name(expr.func) in STARTS


def loops_around(node: ast.AST, scope: Scope) -> list[ast.expr]:
    """What the loops and comprehensions around a node run over; ``while`` runs over its condition."""
    over: list[ast.expr] = []
    for above in scope.module.above(node):
        if above is scope.node:
            break
        if isinstance(above, (ast.For, ast.AsyncFor)):
            over.append(above.iter)
        elif isinstance(above, ast.While):
            over.append(above.test)
        elif isinstance(above, (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)):
            over += [one.iter for one in above.generators]
    return over


def awaited(call: ast.Call, scope: Scope) -> bool:
    return isinstance(scope.module.parents.get(call), ast.Await)


def judge(call: ast.Call, started: Started, scope: Scope, case: Case) -> Hit | None:
    paid = next(iter(paid_at_once(started.what, scope, case.spending)), None)
    if paid is None:
        return None
    most = facts.highest_limit(pool(paid.spend, case.project.meaning))
    bound = size_of_pool(call, started.what, scope, case.project.meaning, most)
    if bound == "bounded" or any(is_small(over, scope, case.project.meaning, most) for over in started.over):
        return None
    if bounding(guards_in_loop(call, scope, case.spending)) or waits_when_full(call, scope, case.project.meaning):
        return None
    return at(scope.module, call, words(paid, bound, case.project.meaning))


def words(paid: Open, bound: str, meaning: Names) -> str:
    of = pool(paid.spend, meaning)
    plans = f"the {facts.USUAL_PLAN} plan takes {facts.limit(of)} at once, the largest {facts.highest_limit(of)}"
    if paid.too_wide and paid.too_wide.size:
        return f"{paid.too_wide.said} lets in {paid.too_wide.size:g} at once: {plans}"
    return f"{bound or 'as many calls at once as there is work'}: {plans}"


def paid_at_once(what: ast.expr, scope: Scope, spending: Spending) -> Iterator[Open]:
    """Paid calls behind one started thing, that nothing on the way holds."""
    for node in ast.walk(what):
        if isinstance(node, ast.Call) and (
            direct := next((one for one in spending.direct(scope) if one.call is node and one.paid), None)
        ):
            yield Open(direct, None)
        expr = (
            node.func
            if isinstance(node, ast.Call)
            else node
            if isinstance(node, (ast.Name, ast.Attribute, ast.Lambda))
            else None
        )
        if expr is None or held_by_helper(expr, what, scope, spending):
            continue
        inner = (
            scope.module.scopes.get(expr)
            if isinstance(expr, ast.Lambda)
            else spending.meaning.functions.get(spending.meaning.name(expr, scope))
        )
        if inner is not None:
            if not bounding(
                [guard for decorator in inner.decorators for guard in guards_around(decorator, inner, spending)]
            ):
                yield from unguarded(inner, spending)
        elif (reference := referenced(expr, scope, spending)) is not None:
            yield Open(reference, None)


def held_by_helper(expr: ast.expr, what: ast.expr, scope: Scope, spending: Spending) -> bool:
    """``limiter.run(lambda: speak(text))``: given to what calls it under a limit."""
    for above in scope.module.above(expr):
        if isinstance(above, ast.Call) and bounding(list(guards_of_call(above, scope, spending))):
            return True
        if above is what:
            return False
    return False


def referenced(expr: ast.expr, scope: Scope, spending: Spending) -> Spend | None:
    """A method of the SDK that is handed on, not called here."""
    known = spending.meaning.of(expr, scope)
    made = CLIENT.match(known.name) if known else None
    if known and made and made[2] in PAID and not made[3]:
        call = ast.Call(func=expr, args=[], keywords=[])
        return Spend(call, scope, made[2], known, True, made[2] in LAZY, not made[1], http=False)
    return None


def guards_in_loop(call: ast.Call, scope: Scope, spending: Spending) -> Iterator[Guard]:
    """A semaphore that is taken inside the loop, before each start."""
    for above in scope.module.above(call):
        if above is scope.node or isinstance(above, (ast.For, ast.AsyncFor, ast.While, ast.ListComp)):
            break
        if isinstance(above, (ast.With, ast.AsyncWith)):
            for item in above.items:
                yield from as_guard(item.context_expr, scope, spending)
    for one in scope.calls:
        if isinstance(one.func, ast.Attribute) and one.func.attr == "acquire" and loops_around(one, scope):
            yield from as_guard(one.func.value, scope, spending)


def waits_when_full(call: ast.Call, scope: Scope, meaning: Names) -> bool:
    """A window: ``if len(running) >= 5: await asyncio.wait(running, ...)`` in the loop that starts them."""
    loop = next(
        (above for above in scope.module.above(call) if isinstance(above, (ast.For, ast.AsyncFor, ast.While))), None
    )
    tests = [node for node in ast.walk(loop) if isinstance(node, (ast.If, ast.While))] if loop else []
    return any(
        isinstance(node, ast.Call) and meaning.name(node.func, scope) in GATHERS
        for test in tests
        if isinstance(test.test, ast.Compare) and "len(" in ast.unparse(test.test)
        for statement in test.body
        for node in ast.walk(statement)
    )


def size_of_pool(call: ast.Call, started: ast.expr, scope: Scope, meaning: Names, most: int) -> str:
    """``bounded``, or in words how wide the pool of threads is; empty where there is none."""
    if (given := size_given(call, started, scope, meaning)) is None:
        return ""
    size, where = given
    if size is None or (isinstance(size, ast.Constant) and size.value is None):
        return "a thread pool of no stated size (Python takes up to 32)"
    number = number_of(size, where, meaning)
    return "bounded" if number is None or number <= most else f"a thread pool of {number:g}"


def size_given(call: ast.Call, started: ast.expr, scope: Scope, meaning: Names) -> tuple[ast.expr | None, Scope] | None:
    """The expression that says how wide the pool is; None where nothing is known of a pool."""
    if isinstance(call.func, ast.Call):  # joblib, which takes one at a time where nothing is said
        return argument(call.func, "n_jobs", 0) or ast.Constant(value=1), scope
    if meaning.name(call.func, scope) in MAPPERS:
        return argument(call, "max_workers"), scope
    if not isinstance(started, ast.Call) or not isinstance(started.func, ast.Attribute):
        return None
    executor = started.args[0] if started.func.attr == "run_in_executor" and started.args else started.func.value
    known = meaning.of(executor, scope)
    kind = known.name.removesuffix("()") if known else ""
    if known is None or known.scope is None or kind not in POOLS:
        return None
    return argument(known.call, POOLS[kind], 0), known.scope


def is_small(over: ast.expr, scope: Scope, meaning: Names, most: int, depth: int = 0) -> bool:
    """Are there never more of these than a plan takes?"""
    match over:
        case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts):
            return len(elts) <= most and not any(isinstance(one, ast.Starred) for one in elts)
        case ast.Subscript(slice=ast.Slice(upper=upper)):
            return upper is not None
        case ast.Call(func=ast.Name(id="range"), args=args):
            number = number_of(args[-1] if len(args) < 3 else args[1], scope, meaning)
            return (
                number is None
                and len(args) == 1
                and not isinstance(args[0], ast.Call)
                or (number is not None and number <= most)
            )
        case ast.Call(func=ast.Name(id="enumerate" | "zip" | "list" | "sorted" | "reversed"), args=[first, *_]):
            return is_small(first, scope, meaning, most, depth)
        case ast.Call(func=func):
            return any(word in ast.unparse(func).lower() for word in BATCHES)
        case ast.Name(id=name) if depth < 4:
            return is_batch(name, scope) or small_value(over, scope, meaning, most, depth)
        case _:
            return False


def small_value(over: ast.expr, scope: Scope, meaning: Names, most: int, depth: int) -> bool:
    values = [(value, where) for value, where in meaning.values(over, scope) if not isinstance(value, ast.Constant)]
    return bool(values) and all(is_small(value, where, meaning, most, depth + 1) for value, where in values)


def is_batch(name: str, scope: Scope) -> bool:
    """The variable of a loop over batches."""
    for node in scope.nodes:
        if isinstance(node, (ast.For, ast.AsyncFor)) and any(
            isinstance(one, ast.Name) and one.id == name for one in ast.walk(node.target)
        ):
            return any(word in ast.unparse(node.iter).lower() for word in BATCHES)
    return False


def pool(spend: Spend, meaning: Names) -> str:
    if spend.what.startswith("speech_to_text") or "speech-to-text" in spend.what:
        return "stt"
    model = argument(spend.call, "model_id") or argument(spend.call, "model")
    return facts.pool_of(text_of(model, spend.scope, meaning)) if model is not None else "standard"


RULES = [
    Rule(
        "unbounded-fanout", "More calls at once than a plan takes", Severity.warning,
        "what is over the limit is answered 429 at once, without a Retry-After: lost, or retried into the next crowd",
        "one semaphore of the plan's size for each pool, around the call itself, for all processes together",
        unbounded,
    )
]  # fmt: skip
