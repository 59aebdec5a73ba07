"""What every refusal owes its caller: the contract's status, code and shape, and nothing that is secret."""

from collections.abc import Iterator

from .stage import Stage
from .talking import Heard


def complaints(on: Stage, heard: Heard, status: int, code: str, *, later: bool = False) -> list[str]:
    """What is wrong with it; *later*: it says when to come back."""
    return [*_shape(heard, status, code), *_later(heard, later), *_leaks(on, heard)]


def _shape(heard: Heard, status: int, code: str) -> Iterator[str]:
    if (heard.status, heard.code) != (status, code):
        yield f"it was {heard}, not {status} {code}"
    missing = {"type", "code", "status", "message", "request_id"} - heard.detail.keys()
    if missing:
        yield f"its detail lacks {', '.join(sorted(missing))}"
    elif heard.detail["status"] != heard.detail["code"]:
        yield "detail.status is not the code"


def _later(heard: Heard, later: bool) -> Iterator[str]:
    said = heard.headers.get("retry-after")
    if later and not (said and said.isdecimal() and int(said) >= 1):
        yield f"Retry-After is {said}, not whole seconds"
    if later and not isinstance(heard.detail.get("retry_after_s"), int | float):
        yield "detail.retry_after_s is missing"
    if not later and said:
        yield f"Retry-After is {said}, where no time helps"


def _leaks(on: Stage, heard: Heard) -> Iterator[str]:
    told = heard.body.decode("utf-8", "replace") + str(dict(heard.headers))
    if on.env["ELEVENLABS_API_KEY"] in told:
        yield "the ElevenLabs key stands in it"
    if any(key in told for key in on.service.keys.values()):
        yield "a client key stands in it"
    if any(text in told for text in on.service.texts):
        yield "the spoken text stands in it"
