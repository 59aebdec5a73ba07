import os

import backoff
import requests
from elevenlabs import ElevenLabs

URL = "https://api.elevenlabs.io/v1"
HEADERS = {"xi-api-key": os.environ["ELEVENLABS_API_KEY"]}
eleven = ElevenLabs(timeout=30)
_cache = {}


def by_http(text, voice="gOupLcAkjEnguROwi4oS"):
    answer = requests.post(f"{URL}/text-to-speech/{voice}", json={"text": text}, headers=HEADERS)  # expect: no-timeout
    answer.raise_for_status()
    return answer.content


def by_http_in_time(text, voice):
    return requests.post(URL + "/text-to-speech/" + voice, json={"text": text}, headers=HEADERS, timeout=(3, 30)).content


def elsewhere(text):
    return requests.post("https://example.org/log", json={"text": text})


@backoff.on_exception(backoff.expo, Exception, max_tries=4)
def insist(text):
    return by_sdk(text)  # expect: doubled-retries


def by_sdk(text):
    return b"".join(eleven.generate(text=text, voice="WQP7cQUF5aAS6Axh5yaa", model="eleven_flash_v2_5"))


def transcribe(data):
    return eleven.speech_to_text.convert(model_id="scribe_v2", file=data)  # expect: stt-retry-drops-form


def transcribe_once(data):
    return eleven.speech_to_text.convert(model_id="scribe_v2", file=data, request_options={"max_retries": 0})


@backoff.on_exception(backoff.expo, requests.RequestException, max_tries=4, giveup=lambda e: e.response is not None)
def transcribe_stubbornly(data):
    return eleven.speech_to_text.convert(model_id="scribe_v1", file=data)  # expect: doubled-retries, stt-retry-drops-form, retired-model


def cached(text):
    if text not in _cache:
        _cache[text] = by_http_in_time(text, "x")
    return _cache[text]


def try_hard(text):
    for attempt in range(5):
        try:
            return requests.post(f"{URL}/text-to-speech/x", json={"text": text}, headers=HEADERS, timeout=9).content  # expect: doubled-retries
        except Exception:
            continue


def try_wisely(text):
    for attempt in range(5):
        answer = requests.post(f"{URL}/text-to-speech/x", json={"text": text}, headers=HEADERS, timeout=9)
        if answer.status_code != 429:
            return answer.content


def speak_each(texts):
    done = []
    for text in texts:
        try:
            done.append(by_http_in_time(text, "x"))
        except requests.RequestException:
            continue
    return done
