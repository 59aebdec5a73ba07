"""One page for the admin: no third party, nothing inline that its hash doesn't name, and numbers without a script."""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .answer import Answer, told

_FIRST = "<!-- first numbers -->"


def page(usage: Mapping[str, Any]) -> Answer:
    """The page, with what *usage* says already in it; its script goes on from there."""
    source, headers = _source()
    return told(source.replace(_FIRST, _first(usage)).encode(), "text/html; charset=utf-8", 200, headers)


@cache
def _source() -> tuple[str, dict[str, str]]:
    source = (Path(__file__).parent / "dashboard.html").read_text("utf-8")
    policy = (
        f"default-src 'none'; script-src {_hash(source, 'script')}; style-src {_hash(source, 'style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return source, {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }


def _hash(source: str, tag: str) -> str:
    """The only thing of this kind that a browser may run: what stands in the file, to the byte."""
    inner = re.search(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
    assert inner, f"dashboard.html has no <{tag}>"
    return f"'sha256-{base64.b64encode(hashlib.sha256(inner[1].encode()).digest()).decode()}'"


def _first(usage: Mapping[str, Any]) -> str:
    heads = ("pool", "in flight", "limit", "queued", "shed", "breaker")
    pools = [(name, *_pool(now)) for name, now in usage["now"]["pools"].items()]
    return _table("Pools", heads, pools) + _table("Totals", ("what", "so far"), usage["totals"].items())


def _pool(now: Mapping[str, Any]) -> Iterable[Any]:
    return now["in_flight"], now["limit"], sum(now["queued"].values()), now["shed"], now["breaker"]["state"]


def _table(title: str, heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    top = "".join(f"<th scope=col>{html.escape(head)}" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in row) for row in rows)
    return f"<section><h2>{html.escape(title)}</h2><table><thead><tr>{top}<tbody>{body}</table></section>"
