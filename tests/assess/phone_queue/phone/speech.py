"""Everything that is spoken on the phone."""

import functools
import hashlib
import logging
import os
from pathlib import Path

import backoff
import requests
from elevenlabs.client import ElevenLabs
from flask import current_app

from .sessions import TimeoutSession, plain_session

log = logging.getLogger("phone.speech")
CACHE = Path(os.environ.get("PHONE_CACHE", "/var/cache/phone"))
HTTP = TimeoutSession()
PLAIN = plain_session()
TIMEOUT = (3, 15)
_prompts = {}
_client = None


def headers():
    return {"xi-api-key": current_app.config["ELEVENLABS_API_KEY"]}


def url(language):
    return f"{current_app.config['TTS_URL']}/{current_app.config['VOICES'][language]}"


def client():
    global _client
    if _client is None:
        _client = ElevenLabs(api_key=current_app.config["ELEVENLABS_API_KEY"], timeout=float(os.getenv("TTS_TIMEOUT", "20")))
    return _client


def speak(text, language="de"):
    answer = HTTP.post(url(language), headers=headers(), json={"text": text})
    answer.raise_for_status()
    return answer.content


def speak_plain(text, voice="dvbL7qkNGZY1IqPGZAjM"):
    answer = PLAIN.post("https://api.elevenlabs.io/v1/text-to-speech/" + voice, headers=headers(), json={"text": text})  # expect: no-timeout
    return answer.content


def speak_bounded(text, voice="dvbL7qkNGZY1IqPGZAjM"):
    options = dict(headers=headers(), json={"text": text}, timeout=TIMEOUT)
    return requests.post(f"https://api.elevenlabs.io/v1/text-to-speech/{voice}", **options).content


def speak_never_ends(text, voice="dvbL7qkNGZY1IqPGZAjM"):
    response = requests.request(  # expect: no-timeout
        "POST",
        f"https://api.elevenlabs.io/v1/text-to-speech/{voice}/stream",
        headers=headers(),
        json={"text": text},
        stream=True,
        timeout=None,
    )
    yield from response.iter_content(4096)


@backoff.on_exception(backoff.expo, requests.exceptions.ConnectionError, max_tries=3)
def speak_when_connected(text):
    return speak(text)


@backoff.on_exception(backoff.expo, Exception, max_tries=5)
def speak_somehow(text):
    return speak(text)  # expect: doubled-retries


@backoff.on_exception(backoff.expo, requests.HTTPError, max_tries=4, giveup=lambda e: e.response.status_code != 429)
def speak_when_free(text):
    return speak(text)


def prompt(name, text):
    if name not in _prompts:
        _prompts[name] = speak(text)
    return _prompts[name]


@functools.cache
def beep_replacement():
    return speak("Bitte sprechen Sie jetzt.")


def from_disk(text):
    path = CACHE / f"{hashlib.sha1(text.encode()).hexdigest()}.mp3"
    if path.exists():
        return path.read_bytes()
    audio = speak(text)
    path.write_bytes(audio)
    return audio


def usage():
    subscription = client().user.subscription.get()
    log.info("used %s of %s", subscription.character_count, subscription.character_limit)
    if subscription.status != "active":
        log.error("subscription of %(key)s is %(status)s", {"key": client_key(), "status": subscription.status})  # expect: key-logged
    return subscription


def client_key():
    return os.environ["ELEVENLABS_API_KEY"]
