"""What the vendor says when it refuses, in its own words and statuses.

The rows of the catalogue hold status, type, code and legacy name; this adds the sentence.
"""

import random
import string
from dataclasses import dataclass, field
from typing import Any

from ..catalogue import CATALOGUE


@dataclass(eq=False)
class Refusal(Exception):
    """An answer instead of the one asked for.  ``detail`` is the vendor's object, list or bare string."""

    status: int
    detail: Any
    headers: dict[str, str] = field(default_factory=dict)

    def body(self, trace_id: str) -> Any:
        detail = {**self.detail, "request_id": trace_id} if isinstance(self.detail, dict) else self.detail
        return {"detail": detail}


def refusal(name: str, message: str, status: int | None = None) -> Refusal:
    """The catalogue's row of that legacy name (else of that code) and status, with a sentence."""
    rows = [row for row in CATALOGUE["errors"]["rows"] if status in (None, row["http"])]
    by_legacy_name = [row for row in rows if row["legacy_status"] == name]
    row = (by_legacy_name or [row for row in rows if row["code"] == name])[0]
    named = {"type": row["type"], "code": row["code"], "status": row["legacy_status"] or row["code"]}
    return Refusal(row["http"], {key: value for key, value in named.items() if value} | {"message": message})


def malformed(*problems: tuple[str, list[str | int], str]) -> Refusal:
    """422 with the list of (type, place, sentence)."""
    return Refusal(422, [{"type": kind, "loc": loc, "msg": msg, "input": None} for kind, loc, msg in problems])


def too_many(limit: int) -> Refusal:
    return refusal(
        "concurrent_limit_exceeded",
        "Too many concurrent requests. Your current subscription is associated with a maximum of "
        f"{limit} concurrent requests (running in parallel).",
    )


def new_id(size: int = 20) -> str:
    """Letters and digits, as request and history ids are."""
    return "".join(random.choices(string.ascii_letters + string.digits, k=size))
