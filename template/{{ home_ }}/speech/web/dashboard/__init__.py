"""One page for the admin: no third party, nothing that runs but what its hash names, and all of it without a script.

The page is drawn here, numbers and charts alike. ``page.js`` fetches it anew and changes what differs in place, so
that a number is written in one language only, and what a browser shows is what a test without one reads.
"""

import base64
import hashlib
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..answer import Answer, told
from .sections import main

_HERE = Path(__file__).parent


def page(usage: Mapping[str, Any], day: str) -> Answer:
    """What ``GET /usage`` tells the admin, drawn; *day* is today, as the ledger counts days."""
    (top, bottom), headers = _frame()
    body = top + main(usage, day, time.strftime("%H:%M:%S", time.gmtime())) + bottom
    return told(body.encode(), "text/html; charset=utf-8", 200, headers)


@cache
def _frame() -> tuple[tuple[str, str], dict[str, str]]:
    """What stands before and after the numbers, with the looks and the script in it; and the headers."""
    source, hashes = _read("page.html"), {}
    for tag, name in (("style", "page.css"), ("script", "page.js")):
        inner = _read(name)
        source = source.replace(f"/* {name} */", inner)
        hashes[tag] = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
    top, _, bottom = source.partition("<!-- sections.py -->\n")
    return (top, bottom), {
        "content-security-policy": f"default-src 'none'; script-src 'sha256-{hashes['script']}'; "
        f"style-src 'sha256-{hashes['style']}'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }


def _read(name: str) -> str:
    return (_HERE / name).read_text("utf-8")
