"""Calls that wait as long as upstream likes."""

import ast
from collections.abc import Iterator
from functools import partial

from .. import facts
from ..findings import Severity
from ..names import Known, Names
from ..rule import Case, Hit, Rule, at
from ..spending import Spend
from ..syntax import Scope
from ..values import argument, behind, given, has_unpacked

BOUNDS = (
    "asyncio.timeout",
    "asyncio.timeout_at",
    "anyio.fail_after",
    "anyio.move_on_after",
    "async_timeout.timeout",
    "asyncio.wait_for",
)
TIMEOUTS = ("httpx.Timeout", "aiohttp.ClientTimeout", "urllib3.Timeout", "urllib3.util.Timeout")
CLIENTS = ("elevenlabs.ElevenLabs", "elevenlabs.AsyncElevenLabs")


def unbounded(case: Case) -> Iterator[Hit]:
    spends = case.spending.all
    for module in case.project.served:
        for scope in module.scopes.values():
            for call in scope.calls:
                if case.project.meaning.name(call.func, scope) in CLIENTS:
                    yield from of_client(case, call, scope, [spend for spend in spends if spend.known.call is call])
    for spend in spends:
        if spend.http and (made := unbounded_http(spend, case)):
            yield from of_http(spend, made)


def of_client(case: Case, call: ast.Call, scope: Scope, uses: list[Spend]) -> Iterator[Hit]:
    timeout, own = argument(call, "timeout"), argument(call, "httpx_client")
    endless = isinstance(timeout, ast.Constant) and timeout.value is None
    if has_unpacked(call) or (timeout is not None and (own is not None or not endless)):
        return
    if uses and all(bounded(spend, case) for spend in uses):
        return
    seconds = facts.sdk("timeout_default_seconds")
    if own is not None:
        what = f"the httpx client's timeout is not used: the SDK puts its own {seconds} s in its place"
        yield at(
            scope.module,
            call,
            what,
            mend="give ElevenLabs(..., timeout=None) beside httpx_client, or a timeout of its own",
        )
    else:
        yield at(
            scope.module, call, f"no timeout: the SDK waits {seconds} s to connect, and {seconds} s more for each read"
        )


def bounded(spend: Spend, case: Case) -> bool:
    options = given(spend.call, "request_options", spend.scope, case.project.meaning)
    return (options is not None and "timeout" in ast.unparse(options)) or within_bound(spend.call, spend.scope, case)


def within_bound(call: ast.Call, scope: Scope, case: Case) -> bool:
    """In ``async with asyncio.timeout(...)``, or given to ``wait_for``."""
    name = partial(case.project.meaning.name, scope=scope)
    for above in scope.module.above(call):
        if isinstance(above, (ast.With, ast.AsyncWith)):
            if any(
                isinstance(item.context_expr, ast.Call) and name(item.context_expr.func) in BOUNDS
                for item in above.items
            ):
                return True
        elif isinstance(above, ast.Call) and name(above.func) in BOUNDS:
            return True
        elif above is scope.node:
            return False
    return False


def unbounded_http(spend: Spend, case: Case) -> Known | None:
    """The client without a timeout that this call goes through: one that somebody handed in, or its own."""
    session = spend.call.func.value if isinstance(spend.call.func, ast.Attribute) else None
    if spend.known.call is not None or session is None or "()" not in spend.known.name:
        return None if bounded_http(spend, spend.known, case) else spend.known
    handed = case.spending.handed(session, spend.scope)
    return next((known for known in handed if not bounded_http(spend, known, case)), None)


def bounded_http(spend: Spend, client: Known, case: Case) -> bool:
    meaning = case.project.meaning
    timeout = argument(spend.call, "timeout")
    if timeout is not None:
        return not is_endless(timeout, spend.scope, meaning)
    if has_unpacked(spend.call) or within_bound(spend.call, spend.scope, case):
        return True
    if spend.known.name.startswith("urllib.") and len(spend.call.args) > 2:
        return True
    made = client.call
    on_client = argument(made, "timeout")
    if client.scope is not None and on_client is not None:
        return not is_endless(on_client, client.scope, meaning)
    if client.scope is not None and is_wrapped(spend, client.scope):
        return True
    if bounded_by_class(spend, client, meaning):
        return True
    return spend.known.name.startswith("httpx.") or (made is not None and has_unpacked(made))


def is_wrapped(spend: Spend, made_in: Scope) -> bool:
    """``session.request = partial(session.request, timeout=20)``"""
    session = ast.unparse(spend.call.func).rpartition(".")[0]
    said = [ast.unparse(value) for _, value in made_in.module.top.attributes.get("*.request", [])]
    return any("timeout" in one and f"{session}.request" in one for one in said)


def is_endless(timeout: ast.expr, scope: Scope, meaning: Names) -> bool:
    """``None``, ``httpx.Timeout(None)``, ``aiohttp.ClientTimeout(total=None)``, or a name of one."""
    value, where = behind(timeout, scope, meaning) or (timeout, scope)
    if isinstance(value, ast.Call) and meaning.name(value.func, where) in TIMEOUTS:
        return all(is_none(one) for one in (*value.args, *(keyword.value for keyword in value.keywords)))
    return is_none(value) and not isinstance(timeout, ast.Name)  # a parameter that is None until somebody says more


def is_none(expr: ast.expr) -> bool:
    return isinstance(expr, ast.Constant) and expr.value is None


def bounded_by_class(spend: Spend, client: Known, meaning: Names) -> bool:
    """A session whose own class, or whose adapter's, sets a timeout where every request passes."""
    session = spend.call.func.value if isinstance(spend.call.func, ast.Attribute) else spend.call.func
    made, where = client.call, client.scope
    mounted = [
        arg
        for call in (where.calls if where and made else [])
        if isinstance(call.func, ast.Attribute) and call.func.attr == "mount"
        for arg in call.args[1:]
    ]
    names = [client.name, meaning.name(session, spend.scope), *(meaning.name(one, where) for one in mounted if where)]
    sends = (
        meaning.functions.get(f"{name.removesuffix('()')}.{method}") for name in names for method in ("request", "send")
    )
    return any(one is not None and "timeout" in ast.unparse(one.node) for one in sends)


def of_http(spend: Spend, made: Known) -> Iterator[Hit]:
    library = spend.known.name.split(".")[0]
    waits = {
        "aiohttp": "300 s in all",
        "requests": "for ever",
        "urllib": "for ever",
        "urllib3": "for ever",
        "httpx": "for ever",
    }[library]
    what = f"no timeout: {library} waits {waits} here"
    handed = made.scope is not None and made is not spend.known and argument(made.call, "timeout") is not None
    yield at(  # where somebody says "no timeout", or else where it matters
        made.scope.module if handed and made.scope else spend.module,
        made.call if handed and made.call else spend.call,
        what,
        mend="give it timeout=, by the length of the text: some 15 characters become a second of speech",
    )


RULES = [
    Rule(
        "no-timeout", "A call has no timeout of yours", Severity.warning,
        "a hung call keeps one of your plan's slots, a worker and a caller; it has probably been billed already",
        "ElevenLabs(timeout=...) that fits your callers, or request_options={'timeout_in_seconds': ...} a call",
        unbounded,
    )
]  # fmt: skip
