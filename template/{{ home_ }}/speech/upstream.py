"""ElevenLabs, through its official SDK: the only module that imports it, and only when a call is made.

The SDK is used as a transport. Its retries are off (they repeat what may have been billed, and a repeated upload loses
its form fields), its timeouts are replaced by the flight's, its answers are checked here, since it checks nothing, and
its errors are read once, into ``Fault``. Every field goes as it came.
"""

import inspect
import json
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from .faults import Fault, classify
from .flight import Answer, Call
from .request import SpeechRequest, TranscriptionRequest

if TYPE_CHECKING:
    import httpx
    from elevenlabs.client import AsyncElevenLabs
    from elevenlabs.core.request_options import RequestOptions

logger = logging.getLogger(__name__)

HOP = "X-Speech-Hop"  # refused by the gateway: a service whose upstream is itself


class ElevenLabs:
    """One connection pool to the vendor. Made when first needed, so that it belongs to this process and loop."""

    def __init__(self, api_key: str, base_url: str, connections: int) -> None:
        self._api_key, self._base_url, self._connections = api_key, base_url, connections
        self._sdk: AsyncElevenLabs | None = None
        self._http: httpx.AsyncClient | None = None
        self._pid = 0

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Answer]:
        """Send *call*; the answer's chunks come as upstream speaks. Leaving early closes the connection."""
        import httpx
        from elevenlabs.core.api_error import ApiError

        try:
            speak = self._speak if isinstance(call.request, SpeechRequest) else self._transcribe
            async with speak(call) as answer:
                yield answer
        except ApiError as error:
            raise _read(error) from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise Fault("unreachable") from None
        except httpx.TimeoutException:
            raise Fault("timeout") from None
        except httpx.TransportError:
            raise Fault("reset") from None
        except (UnicodeDecodeError, json.JSONDecodeError, httpx.DecodingError):
            raise Fault("server", "unreadable_answer") from None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http is not None and self._pid == os.getpid():
            await self._http.aclose()
        self._sdk = self._http = None

    def _client(self) -> "AsyncElevenLabs":
        if self._sdk is None or self._pid != os.getpid():
            import httpx
            from elevenlabs.client import AsyncElevenLabs

            timeout = httpx.Timeout(None, connect=5.0)  # the flight has the others
            limits = httpx.Limits(max_connections=self._connections, keepalive_expiry=30)
            self._pid, self._http = os.getpid(), httpx.AsyncClient(timeout=timeout, limits=limits)
            given = {"api_key": self._api_key, "base_url": self._base_url, "timeout": timeout}
            self._sdk = AsyncElevenLabs(**cast(Any, given), httpx_client=self._http)
        return self._sdk

    @asynccontextmanager
    async def _speak(self, call: Call) -> AsyncIterator[Answer]:
        request = cast(SpeechRequest, call.request)
        raw = self._client().text_to_speech.with_raw_response
        body, query = {"model_id": request.model_id, **request.fields}, {"output_format": request.output_format}
        options = _options(call, body, {**query, **request.query})
        if request.shape == "timestamps":
            whole = await raw.convert_with_timestamps(request.voice_id, text=request.text, request_options=options)
            yield _answer(whole.headers, _once(_timed(whole.data)))
        elif request.shape == "timestamps-lines":
            async with raw.stream_with_timestamps(request.voice_id, text=request.text, request_options=options) as said:
                yield _answer(said.headers, _lines(said.data))
        else:
            send = raw.stream if call.streamed else raw.convert
            async with send(request.voice_id, text=request.text, request_options=options) as spoken:
                if not spoken.headers.get("content-type", "audio/").startswith(("audio/", "application/octet-stream")):
                    raise Fault("server", "not_audio")
                yield _answer(spoken.headers, spoken.data)

    @asynccontextmanager
    async def _transcribe(self, call: Call) -> AsyncIterator[Answer]:
        request = cast(TranscriptionRequest, call.request)
        raw = self._client().speech_to_text.with_raw_response
        names = inspect.signature(raw.convert).parameters
        known = {name: value for name, value in request.fields.items() if name in names}
        other = {name: value for name, value in request.fields.items() if name not in names}
        options = _options(call, other, request.query)
        file = (request.filename, request.audio, request.content_type)  # httpx sends it from its start, a retry too
        heard = await raw.convert(model_id=request.model_id, file=file, request_options=options, **known)
        said = heard.data.dict()
        if not (said.get("transcripts") or isinstance(said.get("text"), str)):
            raise Fault("server", "unreadable_answer")
        answer = _answer(heard.headers, _once(json.dumps(said, ensure_ascii=False).encode()))
        answer.seconds = said.get("audio_duration_secs")
        yield answer


def _read(error: Any) -> Fault:
    """The fault; what upstream says of itself goes to the log, but for sentences, which may quote a text."""
    later = (error.headers or {}).get("retry-after", "")
    fault = classify(error.status_code or 0, error.body, retry_after_s=int(later) if later.isdecimal() else None)
    if fault.kind in ("key", "config", "quota"):
        fields = {"status": error.status_code, "code": fault.code, "upstream_id": fault.request_id}
        logger.warning("ElevenLabs refuses this service", extra={"fields": fields})
    return fault


def _options(call: Call, body: Mapping[str, Any], query: Mapping[str, Any]) -> "RequestOptions":
    options = {
        "max_retries": 0,
        "chunk_size": None,  # as they come from the network: the first byte is not held back
        "additional_headers": {HOP: "1"} | ({"X-Sandbox-Fault": call.fault} if call.fault else {}),
        "additional_query_parameters": query,
        "additional_body_parameters": body,
    }
    return cast("RequestOptions", options)


def _answer(headers: Mapping[str, str], chunks: AsyncIterator[bytes]) -> Answer:
    names = ("character-cost", "maximum-concurrent-requests", "current-concurrent-requests")
    cost, most, now = (int(said) if (said := headers.get(name, "")).isdecimal() else None for name in names)
    return Answer(chunks, cost, maximum=most, current=now, request_id=headers.get("request-id"))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data


def _timed(said: Any) -> bytes:
    """The vendor's JSON, unless it holds no audio."""
    return json.dumps(said.dict(), ensure_ascii=False).encode() if said.audio_base_64 else b""


async def _lines(parts: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for part in parts:
        if line := _timed(part):
            yield line + b"\n"
