"""An answer before any framework."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SpeechError


@dataclass(frozen=True, slots=True)
class Answer:
    """What every framework can send."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def told(body: bytes, media_type: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """*body*, under an id of its own unless *headers* has one."""
    return Answer(
        status, body, {"content-type": media_type, "x-speech-request-id": secrets.token_hex(10), **(headers or {})}
    )


def said(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """JSON."""
    return told(json.dumps(data, ensure_ascii=False).encode(), "application/json", status, headers)


def failed(error: SpeechError) -> Answer:
    """What the caller hears of it."""
    return said(error.body(), error.status, error.headers())
