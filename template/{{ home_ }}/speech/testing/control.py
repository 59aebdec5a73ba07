"""Looking into a sandbox and setting it, from outside: ``GET /__sandbox/state`` and ``POST /__sandbox/set``."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .account import POOLS
from .faults import read

if TYPE_CHECKING:
    from .sandbox import Sandbox

LIMIT_MAX = 10_000
SCOPES = ("text_to_speech", "speech_to_text", "models_read", "voices_read", "user_read")


def state(sandbox: "Sandbox") -> dict[str, Any]:
    account = sandbox.account
    return {
        "calls": sandbox.calls,
        "refused": sandbox.refused,
        "peak": {name: pool.peak for name, pool in account.pools.items()},
        "in_flight": {name: pool.in_flight for name, pool in account.pools.items()},
        "bill_credits": account.credits,
        "bill_usd": round(account.usd, 9),
        "characters": account.characters,
        "seconds": round(account.seconds, 3),
        "limits": {name: pool.limit for name, pool in account.pools.items()},
    }


def change(sandbox: "Sandbox", raw: bytes) -> None:
    """All of it or nothing; raises ValueError with a line that names the field."""
    try:
        wanted = dict(json.loads(raw))
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"the body is not a JSON object of {', '.join(SETTERS)}") from None
    changes = []
    for name, value in wanted.items():
        if name not in SETTERS:
            raise ValueError(f"{name[:40]}: no such field; there are {', '.join(SETTERS)}")
        try:
            changes.append(SETTERS[name](sandbox, value))
        except ValueError as problem:
            raise ValueError(f"{name}: {problem}") from None
    for apply in changes:
        apply()


Apply = Callable[[], None]


def _limits(sandbox: "Sandbox", value: Any) -> Apply:
    if not isinstance(value, dict) or not set(value) <= set(POOLS) or not all(map(_is_limit, value.values())):
        raise ValueError(f"a number from 0 to {LIMIT_MAX} for any of {', '.join(POOLS)}")

    def apply() -> None:
        for name, limit in value.items():
            sandbox.account.pools[name].set_limit(limit)

    return apply


def _is_limit(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LIMIT_MAX


def _mode(sandbox: "Sandbox", value: Any) -> Apply:
    if value not in ("refuse", "queue"):
        raise ValueError('"refuse" or "queue"')
    return lambda: setattr(sandbox, "may_wait", value == "queue")


def _latency(sandbox: "Sandbox", value: Any) -> Apply:
    bounds = value if isinstance(value, list) else [value, value]
    numbers = all(type(bound) in (int, float) for bound in bounds)
    if len(bounds) != 2 or not numbers or not 0 <= bounds[0] <= bounds[1] <= 3600:
        raise ValueError("seconds, or [least, most], from 0 to 3600")
    return lambda: setattr(sandbox, "latency_s", (float(bounds[0]), float(bounds[1])))


def _key(sandbox: "Sandbox", value: Any) -> Apply:
    if value is not None and (not isinstance(value, str) or not value):
        raise ValueError("the only key that is let in, or null for any")
    return lambda: setattr(sandbox, "key", value)


def _credits(sandbox: "Sandbox", value: Any) -> Apply:
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError("how many are left, or null for no end")
    return lambda: setattr(sandbox.account, "remaining", value)


def _others(sandbox: "Sandbox", value: Any) -> Apply:
    if type(value) is not int or value < 0:
        raise ValueError("credits, from 0")
    return lambda: setattr(sandbox.account, "others", value)


def _scopes(sandbox: "Sandbox", value: Any) -> Apply:
    if value is not None and (not isinstance(value, list) or not set(value) <= set(SCOPES)):
        raise ValueError(f"a list of {', '.join(SCOPES)}, or null for all")
    return lambda: setattr(sandbox, "scopes", SCOPES if value is None else tuple(value))


def _faults(sandbox: "Sandbox", value: Any) -> Apply:
    if value is not None and not isinstance(value, list):
        raise ValueError("a list, or null for none")
    ordered, shares = read(value or [])

    def apply() -> None:
        sandbox.plan.ordered, sandbox.plan.shares = ordered, shares

    return apply


def _seed(sandbox: "Sandbox", value: Any) -> Apply:
    if type(value) is not int:
        raise ValueError("a whole number")
    return lambda: sandbox.reseed(value)


def _reset(sandbox: "Sandbox", value: Any) -> Apply:
    if value is not True:
        raise ValueError("true, or leave it away")
    return sandbox.zero


SETTERS: dict[str, Callable[["Sandbox", Any], Apply]] = {
    "limits": _limits,
    "mode": _mode,
    "latency_s": _latency,
    "key": _key,
    "scopes": _scopes,
    "credits": _credits,
    "others": _others,
    "faults": _faults,
    "seed": _seed,
    "reset": _reset,
}
