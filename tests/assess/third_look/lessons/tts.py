import logging
from dataclasses import dataclass, field
from typing import Protocol

import stamina
from django.conf import settings
from django.core.cache import cache
from elevenlabs import ElevenLabs, VoiceSettings
from elevenlabs.core.api_error import ApiError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

logger = logging.getLogger(__name__)


class Speech(Protocol):
    def synthesize(self, text: str) -> bytes: ...


def _client() -> ElevenLabs:
    return ElevenLabs(api_key=settings.ELEVENLABS["API_KEY"], timeout=settings.ELEVENLABS["TIMEOUT"])


def _hasty_client() -> ElevenLabs:
    return ElevenLabs(api_key=settings.ELEVENLABS_API_KEY)  # expect: no-timeout


@dataclass
class ElevenSpeech:
    voice: str = field(default_factory=lambda: settings.ELEVENLABS["VOICE"])
    model: str = "eleven_multilingual_v2"
    client: ElevenLabs = field(default_factory=_client)

    def synthesize(self, text: str) -> bytes:
        return b"".join(
            self.client.text_to_speech.convert(
                self.voice, text=text, model_id=self.model, voice_settings=VoiceSettings(stability=0.4, similarity_boost=0.8)
            )
        )

    def timed(self, text: str):
        return self.client.text_to_speech.convert_with_timestamps(self.voice, text=text, model_id=self.model)

    def cached(self, text: str) -> bytes:
        return cache.get_or_set(f"tts:{self.voice}:{hash(text)}", lambda: self.synthesize(text), timeout=None)

    def persistent(self, text: str):
        for attempt in Retrying(stop=stop_after_attempt(3), retry=retry_if_exception_type(Exception)):
            with attempt:
                return self.timed(text)  # expect: doubled-retries

    def careful(self, text: str):
        for attempt in stamina.retry_context(on=lambda e: isinstance(e, ApiError) and e.status_code == 429, attempts=3):
            with attempt:
                return self.synthesize(text)

    def transcript(self, upload):
        return self.client.speech_to_text.convert(
            file=upload,
            model_id="scribe_v2",
            request_options={"max_retries": 0, "timeout_in_seconds": 120},
        )


def report_failure(error: ApiError) -> None:
    key = settings.ELEVENLABS["API_KEY"]
    logger.error("ElevenLabs says %s (key ends in %s)", error.status_code, key[-4:])
    if error.status_code == 401:
        logger.critical("key {} was refused".format(settings.ELEVENLABS["API_KEY"]))  # expect: key-logged
