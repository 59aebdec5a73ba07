import logging
import threading
from functools import cached_property, partial

import httpx
from celery import shared_task
from django.conf import settings
from django.core.files.storage import default_storage
from elevenlabs import ElevenLabs

log = logging.getLogger("guide")
slots = threading.Semaphore(6)  # expect: per-process-limiter


class Guide:
    def __init__(self, language="en"):
        self.language = language

    @cached_property
    def client(self):
        return ElevenLabs(api_key=settings.ELEVENLABS_API_KEY, timeout=httpx.Timeout(20, connect=4).read)

    @cached_property
    def impatient(self):
        return ElevenLabs(api_key=settings.ELEVENLABS_API_KEY)  # expect: no-timeout

    def tell(self, text):
        with slots:
            return b"".join(self.client.text_to_speech.convert("8dEUmyPMdDdK91vboYih", text=text))

    def tell_stored(self, text):
        name = f"audio/{hash(text)}.mp3"
        if default_storage.exists(name):
            return default_storage.open(name).read()
        audio = self.tell(text)
        default_storage.save(name, audio)
        return audio

    def listen(self, upload):
        call = partial(self.client.speech_to_text.convert, model_id="scribe_v2", request_options={"max_retries": 0})
        return call(file=upload).text

    def listen_plain(self, upload):
        return self.impatient.speech_to_text.convert(model_id="scribe_v2", file=upload).text  # expect: stt-retry-drops-form


@shared_task(bind=True, max_retries=4)
def tell_later(self, text):
    try:
        return Guide().tell(text)  # expect: doubled-retries
    except Exception as error:
        raise self.retry(exc=error)


@shared_task(autoretry_for=(httpx.ConnectError,), max_retries=4)
def tell_when_connected(text):
    return Guide().tell(text)


@shared_task
def night_tour(rooms):
    guide = Guide()
    for room in rooms:
        guide.tell("Please follow me.")  # expect: repeated-synthesis
        guide.tell(room)
