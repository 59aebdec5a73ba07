import json
import logging
import os
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import requests
from elevenlabs import ElevenLabs
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool

logger = logging.getLogger("shop.speech")
TTS = "https://api.elevenlabs.io/v1/text-to-speech"
KEY = os.environ["ELEVENLABS_API_KEY"]
VOICE = "7QN34D2r3hCNwbOYIeK0"
RETRYABLE = (429,)
seats = BoundedSemaphore(5)  # expect: per-process-limiter
local = threading.local()


class SpeechError(Exception):
    pass


def http():
    if not hasattr(local, "session"):
        local.session = requests.Session()
        local.session.headers.update({"xi-api-key": KEY})
    return local.session


def sdk():
    if not hasattr(local, "sdk"):
        local.sdk = ElevenLabs(api_key=KEY, timeout=20)
    return local.sdk


def synth(text, **options):
    payload = {"text": text, "model_id": options.get("model", "eleven_flash_v2_5")}
    with seats:
        response = http().post(f"{TTS}/{VOICE}", data=json.dumps(payload), timeout=(3, 30))
    if response.status_code >= 400:
        raise SpeechError(f"{response.status_code} for key {KEY}")  # expect: key-logged
    return response.content


def synth_unbounded(text):
    return http().post(f"{TTS}/{VOICE}", json={"text": text}).content  # expect: no-timeout


def synth_retry(text):
    for delay in (0.5, 1, 2):
        response = http().post(f"{TTS}/{VOICE}", json={"text": text}, timeout=20)
        if response.status_code in RETRYABLE:
            sleep(delay + random.random())
            continue
        return response.content
    raise SpeechError("busy")


def synth_stubborn(text):
    done = False
    while not done:
        try:
            audio = synth(text)  # expect: doubled-retries
            done = True
        except Exception:
            logger.exception("once more")
            sleep(1)
    return audio


def memo(path):
    def decorate(function):
        def inner(*args):
            if os.path.exists(path):
                with open(path, "rb") as file:
                    return pickle.load(file)
            result = function(*args)
            with open(path, "wb") as file:
                pickle.dump(result, file)
            return result

        return inner

    return decorate


@memo("sale.pickle")
def sale():
    return synth("Everything must go.")


def many(texts):
    return Pool(5).map(synth_retry, texts)


def too_many(texts):
    return Pool(200).map(synth_retry, texts)  # expect: unbounded-fanout


def submit_all(texts):
    executor = ThreadPoolExecutor(max_workers=80)
    futures = {executor.submit(synth_retry, text): text for text in texts}  # expect: unbounded-fanout
    return {text: future.result() for future, text in futures.items()}


def hear(path):
    return sdk().speech_to_text.convert(model_id="scribe_v2", file=open(path, "rb"), request_options={"max_retries": 0, "timeout_in_seconds": 90}).text


def show_key():
    print("key", "*" * len(KEY))
    print("key", KEY[:3], KEY[-3:])
    print("key " + KEY)  # expect: key-logged
