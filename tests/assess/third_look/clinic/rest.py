"""Our own thin client of the REST API: the SDK pulls in too much for the edge build."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator

import httpx

from clinic.config import ElevenLabsConfig

logger = logging.getLogger(__name__)
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class UpstreamError(RuntimeError):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status


class RestSpeech:
    def __init__(self, config: ElevenLabsConfig, http: httpx.AsyncClient) -> None:
        self._config = config
        self._http = http

    @classmethod
    def create(cls, config: ElevenLabsConfig) -> RestSpeech:
        limits = httpx.Timeout(config.read_timeout, connect=config.connect_timeout)
        return cls(config, httpx.AsyncClient(base_url=config.base_url, timeout=limits))

    @classmethod
    def create_patient(cls, config: ElevenLabsConfig) -> RestSpeech:
        return cls(config, httpx.AsyncClient(base_url=config.base_url, timeout=None))  # expect: no-timeout

    @property
    def _headers(self) -> dict[str, str]:
        return {"xi-api-key": self._config.api_key.get_secret_value()}

    async def speak(self, text: str, voice: str | None = None) -> bytes:
        voice = voice or self._config.default_voice
        response = await self._http.post(f"/v1/text-to-speech/{voice}", headers=self._headers, json={"text": text})
        if response.status_code != 200:
            logger.warning("tts failed: %s", response.status_code, extra={"headers": self._headers})  # expect: key-logged
            raise UpstreamError(response.status_code, response.text)
        return response.content

    async def speak_carefully(self, text: str) -> bytes:
        for attempt in range(4):
            try:
                return await self.speak(text)
            except UpstreamError as error:
                if error.status not in TRANSIENT:
                    raise
                await asyncio.sleep(2**attempt + random.random())
        raise UpstreamError(503, "gave up")

    async def speak_stubbornly(self, text: str) -> bytes:
        last: Exception | None = None
        for attempt in range(4):
            try:
                return await self.speak(text)  # expect: doubled-retries
            except Exception as error:  # noqa: BLE001
                last = error
                logger.info("attempt %d failed", attempt)
                await asyncio.sleep(2**attempt)
        raise RuntimeError("gave up") from last

    async def stream(self, text: str, voice: str) -> AsyncIterator[bytes]:
        async with self._http.stream("POST", f"/v1/text-to-speech/{voice}/stream", headers=self._headers, json={"text": text}) as response:
            async for chunk in response.aiter_bytes():
                yield chunk


async def quick_check(key: str) -> bool:
    async with httpx.AsyncClient() as http:
        response = await http.get("https://api.elevenlabs.io/v1/user", headers={"xi-api-key": key})
    logger.info("key ...%s is %s", key[-4:], "good" if response.is_success else "bad")
    return response.is_success


async def quick_speech(key: str, text: str) -> bytes:
    response = httpx.post(  # expect: blocking-in-async
        "https://api.elevenlabs.io/v1/text-to-speech/22N9cF8z0o7y23njdyaY",
        headers={"xi-api-key": key},
        json={"text": text},
        timeout=10,
    )
    return response.content
