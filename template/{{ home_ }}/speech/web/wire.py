"""The vendor's routes, once for every framework: what came in becomes a request and its terms, what went out or wrong
becomes headers and words. Knows no framework."""

import re
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple

from ..catalogue import DEFAULT_FORMAT, DEFAULT_MODEL
from ..client import Client
from ..errors import InvalidRequest, SpeechError
from ..listening import Listening
from ..request import FIELDS, CacheMode, Priority, Shape, SpeechRequest, Terms, TranscriptionRequest
from ..sound import measure
from .answer import Answer, failed
from .auth import UnknownCaller
from .reading import Pairs, Parts, form, json_object, looks_like_audio, malformed, query

DEADLINE_MS_MAX = 600_000
TRACE = ("traceparent", "tracestate")  # https://www.w3.org/TR/trace-context
PCM_BYTES_PER_S = 32_000  # of file_format pcm_s16le_16, which has no header to read


class Manner(NamedTuple):
    """In what shape the audio comes, and whether all at once."""

    shape: Shape
    whole: bool


VOICE = "/v1/text-to-speech/{voice_id}"
MANNERS = {
    VOICE: Manner("audio", True),
    f"{VOICE}/stream": Manner("audio", False),
    f"{VOICE}/with-timestamps": Manner("timestamps", True),
    f"{VOICE}/stream/with-timestamps": Manner("timestamps-lines", False),
}
OFFERED = (
    f"POST {', '.join(MANNERS)}, /v1/speech-to-text; GET /v1/models, /v1/voices, /v2/voices, /v1/user/subscription, "
    "/healthz, /readyz, /metrics, /usage, /dashboard"
)


# ---------------------------------------------------------------------------------------------------- the way in


def terms(headers: Mapping[str, str], caller: str, *, development: bool) -> Terms:
    """Priority, deadline and cache as the headers want them. Raises InvalidRequest."""
    if headers.get("x-speech-hop") is not None:
        raise malformed(
            "This request comes from a speech service: its ELEVENLABS_BASE_URL points at a service like itself, "
            "not at ElevenLabs."
        )
    return Terms(
        Priority.parse(headers.get("x-priority", "normal")),
        _deadline_s(headers.get("x-deadline-ms")),
        caller,
        _cache_mode(headers.get("cache-control", "")),
        headers.get("x-sandbox-fault") if development else None,
        {name: headers[name] for name in TRACE if name in headers},
    )


def _deadline_s(text: str | None) -> float | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= DEADLINE_MS_MAX:
        raise malformed(f"X-Deadline-Ms is a whole number of milliseconds from 1 to {DEADLINE_MS_MAX}")
    return int(text) / 1000


def _cache_mode(text: str) -> CacheMode:
    said = {part.partition("=")[0].strip().lower() for part in text.split(",")}
    return "off" if "no-store" in said else "refresh" if "no-cache" in said else "use"


def listen(client: Client, voice_id: str, manner: Manner, body: bytes, pairs: Pairs, terms: Terms) -> Listening:
    """What a text to speech route has to enter and to send. Raises InvalidRequest."""
    fields, parameters = json_object(body), query(pairs)
    text, model = fields.pop("text", None), fields.pop("model_id", None)
    if not isinstance(text, str):
        raise malformed("text is missing, or not a string")
    if not isinstance(model, str | None):
        raise malformed("model_id is a string")
    output_format, quality = parameters.pop("output_format", DEFAULT_FORMAT), client.house.quality
    ours = client.choose(quality, len(text), terms.deadline_s, terms.priority) if quality and not model else None
    request = SpeechRequest(
        text, voice_id, model or ours or DEFAULT_MODEL, output_format, fields, parameters, manner.shape
    )
    return client.open(request, terms, whole=manner.whole, chosen=ours is not None)


def transcription(parts: Parts, pairs: Pairs) -> TranscriptionRequest:
    """What the speech to text route has to hear. Reads the file's head. Raises InvalidRequest."""
    upload, fields = form(parts)
    model = fields.pop("model_id", None)
    if model is None:
        raise malformed(
            "model_id is missing. If you did send it: the ElevenLabs SDK loses the form when it repeats a request by "
            'itself; call it with request_options={"max_retries": 0}, as this service has already tried.'
        )
    for name in FIELDS["not_offered"]["fields"]:  # before the file is missed: who sends a link has none
        if fields.get(name):
            raise InvalidRequest(f"{name} is not offered here; send the file itself", code="not_offered")
    if upload is None:
        raise malformed("file is missing: send it as a file part of multipart/form-data")
    seconds, channels = _listenable(upload.file, fields.get("file_format") == "pcm_s16le_16")
    return TranscriptionRequest(
        upload.file, model, upload.filename, upload.content_type, seconds, channels, fields, query(pairs)
    )


def _listenable(file: BinaryIO, pcm: bool) -> tuple[float, int]:
    """Seconds and channels, about. Raises InvalidRequest for what nobody could listen to."""
    head = file.read(4096)
    size = file.seek(0, 2)
    file.seek(0)
    if not size:
        raise InvalidRequest("file is empty")
    if pcm:
        return size / PCM_BYTES_PER_S, 1
    if not looks_like_audio(head):
        raise InvalidRequest("file is no audio or video that can be transcribed")
    return measure(file)


# -------------------------------------------------------------------------------------------------- the way back


def headers(listening: Listening) -> dict[str, str]:
    """What an answer says of itself; true as soon as *listening* is entered."""
    upstream = "" if listening.upstream_s is None else f", upstream;dur={listening.upstream_s * 1000:.1f}"
    told = {
        "content-type": listening.media_type,
        "x-cache": listening.cache,
        "x-model-id": listening.model_id,
        "x-degraded": listening.degraded or "",
        "character-cost": str(listening.credits),
        "request-id": listening.request_id or listening.id,
        "x-speech-request-id": listening.id,
        "server-timing": f"queue;dur={listening.queue_s * 1000:.1f}{upstream}",
    }
    return {name: value for name, value in told.items() if value}


def refused(error: SpeechError) -> Answer:
    """As ``failed``; a page's browser is made to ask for the key."""
    answer = failed(error)
    challenge = error.challenge if isinstance(error, UnknownCaller) else None
    more = {"www-authenticate": challenge} if challenge else {}
    return Answer(answer.status, answer.body, {**answer.headers, **more})


class Stray(SpeechError):
    """What a framework says by itself: no such route, no such method, a body that is no form. The status and *headers*
    (``Allow``) are its."""

    def __init__(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        code, message = _STRAY.get(status, _STRAY[422])
        super().__init__(message, code=code)
        self._status, self._headers = 422 if code == "malformed" else status, headers or {}

    @property
    def status(self) -> int:
        return self._status

    def headers(self) -> dict[str, str]:
        return {**super().headers(), **self._headers}


_STRAY = {
    404: ("not_offered", f"This service does not offer this route. It offers {OFFERED}."),
    405: ("not_offered", f"This service does not offer this method here. It offers {OFFERED}."),
    413: ("too_large", "The request is larger than this service takes."),
    422: ("malformed", "The request can't be read: it is broken, or no multipart/form-data."),
    500: ("internal_error", "This service failed; its log says why."),
}
