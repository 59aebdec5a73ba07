import functools

import structlog
from elevenlabs.client import ElevenLabs
from pydantic_settings import BaseSettings

log = structlog.get_logger()


class Settings(BaseSettings):
    elevenlabs_api_key: str
    model: str = "eleven_multilingual_v1"  # expect: retired-model


settings = Settings()


@functools.cache
def make_client() -> ElevenLabs:
    log.info("client", key=settings.elevenlabs_api_key)  # expect: key-logged
    log.info("client", has_key=settings.elevenlabs_api_key is not None)
    return ElevenLabs(api_key=settings.elevenlabs_api_key)  # expect: no-timeout


def fail():
    raise ValueError("bad key %s" % settings.elevenlabs_api_key)  # expect: key-logged


def masked():
    return f"{settings.elevenlabs_api_key[:3]}..."
