"""An answer before any framework: how an error looks to whoever asked over HTTP."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SpeechError


@dataclass(frozen=True, slots=True)
class Answer:
    """What every framework can send."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def said(data: Any, status: int = 200, **headers: str) -> Answer:
    """JSON, under an id of our own where the request has none yet."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    marks = {"content-type": "application/json", "x-speech-request-id": secrets.token_hex(10)}
    return Answer(status, json.dumps(data, ensure_ascii=False).encode(), marks | named)


def failed(error: SpeechError) -> Answer:
    """The shape that ElevenLabs' own SDKs read; ``status`` repeats the code, as theirs does."""
    request_id = error.request_id or secrets.token_hex(10)
    detail: dict[str, Any] = {
        "type": error.type,
        "code": error.code,
        "status": error.code,
        "message": error.message,
        "request_id": request_id,
    }
    headers = {"request_id": request_id, "x_speech_request_id": request_id}
    if error.retry_after_header is not None and error.retry_after_s is not None:
        detail["retry_after_s"] = round(error.retry_after_s, 3)
        headers["retry_after"] = error.retry_after_header
    return said({"detail": detail}, error.status, **headers)
