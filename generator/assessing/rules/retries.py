"""Retries on top of retries, retries of what was billed, and the one that loses its form."""

import ast
import re
from collections.abc import Iterator

from .. import facts
from ..findings import Severity
from ..names import Names, last_name
from ..rule import Case, Hit, Rule, at
from ..spending import Spend, Spending
from ..syntax import NESTED, Scope
from ..values import argument, behind, given, has_unpacked, number_of

DECORATORS = re.compile(
    r"^(?:tenacity\.retry|backoff\.(?:on_exception|on_predicate)|stamina\.retry|retrying\.retry|retry\.retry(?:\.retry)?|retry_async\.\w+|aioretry\.retry)$"
)
LOOPS = re.compile(
    r"^(?:tenacity\.(?:Async)?Retrying|stamina\.retry_context|tenacity\.(?:Async)?Retrying\(\)\.__call__)$"
)
CALLED = re.compile(
    r"^(?:tenacity\.(?:Async)?Retrying\(\)(?:\.__call__|\.call)?|retry\.api\.retry_call|retry\.retry_call)$"
)
EVERYTHING = ("builtins.Exception", "builtins.BaseException")
CHOOSES = re.compile(r"status|code|429|retryable|should_|is_|fatal|permanent|billed|first|sent", re.IGNORECASE)
HEADERS_FIRST = {"text_to_speech.convert", "text_to_speech.stream", "text_to_speech.stream_with_timestamps"}


def doubled(case: Case) -> Iterator[Hit]:
    told, meaning = set[ast.Call](), case.project.meaning
    for spend in case.spending.all:
        if spend.paid:
            own = retried_in(spend.call, spend.scope, case.spending)
            for call, caller, outer in retried_by_callers(case, spend.scope):
                if call not in told:
                    told.add(call)
                    yield from judge(
                        call, caller, spend, outer, f"{spend.scope.node_name}, {own.how}" if own else "", meaning
                    )
            if own:
                yield from judge(spend.call, spend.scope, spend, own, "", meaning)


def judge(node: ast.AST, scope: Scope, spend: Spend, retried: "Retried", inside: str, meaning: Names) -> Iterator[Hit]:
    if inside:
        yield at(scope.module, node, f"a retry in a retry: {retried.how}, of {inside}")
    elif (by_sdk := sdk_tries(spend, meaning)) > 1:
        yield at(scope.module, node, f"{retried.how}, on top of the SDK's own {by_sdk} tries: they multiply")
    elif retried.blind:
        yield at(
            scope.module, node, f"{retried.how} whatever the error was",
            why="a call that timed out or broke off has probably been billed, and is paid for once more at each try",
            mend="retry a 429, and what was never sent; after the first byte, never",
        )  # fmt: skip


class Retried:
    """A retry that a call stands in."""

    def __init__(self, how: str, blind: bool) -> None:
        self.how, self.blind = how, blind


def sdk_tries(spend: Spend, meaning: Names) -> int:
    """What the SDK makes of one call by itself: Fern's generated methods try three times, generators once."""
    if spend.http or spend.what in HEADERS_FIRST or spend.lazy:
        return 1
    retries = max_retries(spend, meaning)
    return 1 + (int(facts.sdk("retry_max_default")) if retries is None else retries)


def max_retries(spend: Spend, meaning: Names) -> int | None:
    options = given(spend.call, "request_options", spend.scope, meaning)
    return None if options is None else retries_in(options, spend.scope, meaning)


def retries_in(options: ast.expr, scope: Scope, meaning: Names, depth: int = 0) -> int | None:
    """What options say of it; None where they leave it to the SDK, 0 where only a run would tell what they are."""
    value, where = behind(options, scope, meaning) or (options, scope)
    if isinstance(value, ast.Dict) and depth < 4:
        for key, one in zip(value.keys, value.values, strict=True):
            if key is None and (found := retries_in(one, where, meaning, depth + 1)) is not None:
                return found
            if isinstance(key, ast.Constant) and key.value == "max_retries":
                return int(number_of(one, where, meaning) or 0)
        return None
    if isinstance(value, ast.Call) and last_name(value.func) in ("RequestOptions", "dict") and not has_unpacked(value):
        number = argument(value, "max_retries")
        return None if number is None else int(number_of(number, where, meaning) or 0)
    return 0


def retried_in(call: ast.AST, scope: Scope, spending: Spending) -> Retried | None:
    """By a decorator of its function, a library's loop, a loop of its own, or a helper that it is given to."""
    return spending.once(("retried", call, scope.key), lambda: _retried_in(call, scope, spending), None)


def _retried_in(call: ast.AST, scope: Scope, spending: Spending) -> Retried | None:
    meaning = spending.meaning
    for decorator in scope.decorators:
        if found := retrying_decorator(decorator, scope, meaning) or retried_by_helper(
            decorator, scope.parent or scope, spending
        ):
            return found
    if isinstance(call, ast.Call) and (found := retried_by_helper(call.func, scope, spending)):
        return found
    if isinstance(scope.node, ast.Lambda) and scope.parent:
        above_it = scope.module.parents.get(scope.node)
        return retried_in(above_it, scope.parent, spending) if isinstance(above_it, ast.Call) else None
    for above in scope.module.above(call):
        if above is scope.node:
            break
        if isinstance(above, ast.Try) and (found := retried_by_handler(above, call, scope, meaning)):
            return found
        if isinstance(above, (ast.For, ast.AsyncFor, ast.While)) and (
            found := retrying_loop(above, call, scope, meaning)
        ):
            return found
        if isinstance(above, ast.Call) and above is not call and CALLED.match(meaning.name(above.func, scope)):
            return Retried("retried by tenacity", is_blind(None, scope, meaning))
    return None


def retried_by_helper(function: ast.expr, scope: Scope, spending: Spending) -> Retried | None:
    """The project's own ``retry(job)`` and ``@retrying(3)``."""
    found = (retried_in(call, where, spending) for call, where in spending.calls_of_given(function, scope))
    inner = next(filter(None, found), None)
    return Retried(f"retried by {ast.unparse(function)[:40]}", inner.blind) if inner else None


def retrying_decorator(decorator: ast.expr, scope: Scope, meaning: Names) -> Retried | None:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = meaning.name(function, scope.parent or scope)
    kinds = argument(decorator, "autoretry_for") if isinstance(decorator, ast.Call) else None  # Celery's
    if kinds is not None:
        return Retried(f"retried by @{ast.unparse(function)}", catches_all(kinds, scope, meaning))
    if not DECORATORS.match(name):
        return None
    return Retried(
        f"retried by @{ast.unparse(function)}",
        is_blind(decorator if isinstance(decorator, ast.Call) else None, scope, meaning),
    )


def is_blind(call: ast.Call | None, scope: Scope, meaning: Names) -> bool:
    """Does it retry every exception?  Tenacity does, where nothing is said."""
    if call is None:
        return True
    chosen = (
        argument(call, "retry")
        or argument(call, "on")
        or argument(call, "retry_on_exception")
        or argument(call, "exceptions")
    )
    if "backoff" in meaning.name(call.func, scope.parent or scope):
        if argument(call, "giveup"):
            return False
        chosen = argument(call, "exception", 1)
    if chosen is None:
        return True
    if isinstance(chosen, ast.Call) and "not_exception_type" in ast.unparse(chosen.func):
        return True  # all but one
    if isinstance(chosen, ast.Call) and "exception_type" in ast.unparse(chosen.func):
        return not chosen.args or catches_all(chosen.args[0], scope, meaning)
    return catches_all(chosen, scope, meaning)


def catches_all(kind: ast.expr | None, scope: Scope, meaning: Names) -> bool:
    if kind is None:
        return True
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(meaning.name(one, scope.parent or scope) in EVERYTHING for one in kinds)


def retrying_loop(
    loop: ast.For | ast.AsyncFor | ast.While, call: ast.AST, scope: Scope, meaning: Names
) -> Retried | None:
    """``for attempt in Retrying(...)``, or a loop around ``try`` that goes on after an error and ends after none."""
    if (
        not isinstance(loop, ast.While)
        and isinstance(loop.iter, ast.Call)
        and LOOPS.match(meaning.name(loop.iter.func, scope))
    ):
        return Retried("retried by tenacity's loop", is_blind(loop.iter, scope, meaning))
    attempt = next((above for above in scope.module.above(call) if isinstance(above, ast.Try)), None)
    if attempt is None or loop not in scope.module.above(attempt) or not ends_well(attempt, loop):
        return None
    swallowing = [handler for handler in attempt.handlers if not leaves(handler.body)]
    if not swallowing:
        return None
    blind = any(catches_all(one.type, scope, meaning) and not CHOOSES.search(tests_of(one)) for one in swallowing)
    return Retried("retried by a loop", blind)


def retried_by_handler(attempt: ast.Try, call: ast.AST, scope: Scope, meaning: Names) -> Retried | None:
    """An ``except`` that calls its own function again, or Celery's ``self.retry``."""
    if any(node is call for handler in attempt.handlers for node in ast.walk(handler)):
        return None
    for handler in attempt.handlers:
        for node in ast.walk(handler):
            if isinstance(node, ast.Call) and (
                meaning.name(node.func, scope) == scope.key or ast.unparse(node.func) == "self.retry"
            ):
                blind = catches_all(handler.type, scope, meaning) and not CHOOSES.search(tests_of(handler))
                return Retried(f"retried by {ast.unparse(node.func)}", blind)
    return None


def ends_well(attempt: ast.Try, loop: ast.AST) -> bool:
    """Does a success end the loop?  Else it is a loop over many texts."""
    if isinstance(loop, ast.While) and sets_any_of(names_in(loop.test), [*attempt.body, *attempt.orelse]):
        return True  # `while not done`
    after = [
        *attempt.body,
        *attempt.orelse,
        *(loop.body if isinstance(loop, (ast.For, ast.AsyncFor, ast.While)) else []),
    ]
    return any(
        isinstance(node, (ast.Return, ast.Break))
        for statement in after
        for node in unnested(statement)
        if not in_handler(node, attempt)
    )


def names_in(expr: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expr) if isinstance(node, ast.Name)}


def sets_any_of(names: set[str], body: list[ast.stmt]) -> bool:
    inner = (node for statement in body for node in unnested(statement))
    return any(isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in names for node in inner)


def in_handler(node: ast.AST, attempt: ast.Try) -> bool:
    return any(node is inner for handler in attempt.handlers for inner in ast.walk(handler))


def unnested(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, NESTED):
            yield from unnested(child)


def leaves(body: list[ast.stmt]) -> bool:
    """Does this always end the loop?"""
    return any(isinstance(statement, (ast.Raise, ast.Return, ast.Break)) for statement in body)


def tests_of(handler: ast.ExceptHandler) -> str:
    return " ".join(
        ast.unparse(node.test) for node in ast.walk(handler) if isinstance(node, (ast.If, ast.IfExp, ast.While))
    )


def retried_by_callers(case: Case, scope: Scope, depth: int = 2) -> Iterator[tuple[ast.Call, Scope, Retried]]:
    """Calls that lead to *scope*, at once or through helpers, and are retried themselves."""
    for call, caller in case.spending.callers.get(scope.key, []):
        if found := retried_in(call, caller, case.spending):
            yield call, caller, found
        elif depth and caller is not scope:
            yield from retried_by_callers(case, caller, depth - 1)


def drops_form(case: Case) -> Iterator[Hit]:
    meaning = case.project.meaning
    for spend in case.spending.all:
        if spend.what == "speech_to_text.convert" and not spend.http and sdk_tries(spend, meaning) > 1:
            remote = argument(spend.call, "source_url") or argument(spend.call, "cloud_storage_url")
            if remote is None and not any(keyword.arg is None for keyword in spend.call.keywords):
                tries = sdk_tries(spend, meaning)
                what = f"the SDK tries this upload {tries} times, the later ones without the form's fields"
                yield at(spend.module, spend.call, what)


RULES = [
    Rule(
        "doubled-retries", "A paid call is retried by two, or blindly", Severity.severe,
        "tries multiply: three of yours around three of the SDK's are nine calls, while upstream is already in trouble",
        "one layer retries: request_options={'max_retries': 0} for the SDK, and yours only where nothing was billed",
        doubled,
    ),
    Rule(
        "stt-retry-drops-form", "The SDK's retry of an upload loses its form", Severity.warning,
        "the second try has the file alone, without model_id: upstream answers 422, which hides the true error "
        "(elevenlabs-python issue 860; still so in 2.78.0)",
        "request_options={'max_retries': 0}, and retry the whole call yourself",
        drops_form,
    ),
]  # fmt: skip
