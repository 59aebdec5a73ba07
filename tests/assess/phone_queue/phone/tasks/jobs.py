import time
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Thread

import redis

from ..speech import client, speak, speak_bounded
from .app import app

store = redis.Redis()
slots = BoundedSemaphore(4)  # expect: per-process-limiter


@app.task(rate_limit="30/m")
def render_voicemail(text, number):
    with slots:
        audio = speak(text)
    store.setex(f"voicemail:{number}", 3600, audio)


@app.task(bind=True, autoretry_for=(Exception,), retry_backoff=True, max_retries=5)
def render_late(self, text):
    return speak_bounded(text)  # expect: doubled-retries


@app.task(bind=True, max_retries=3)
def render_picky(self, text):
    try:
        return speak_bounded(text)
    except ConnectionError as error:
        raise self.retry(exc=error, countdown=10)


@app.task
def campaign(numbers, texts):
    threads = [Thread(target=speak, args=(text,)) for text in texts]  # expect: unbounded-fanout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@app.task
def campaign_pooled(texts):
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(speak, texts))


@app.task
def campaign_wide(texts):
    with ThreadPoolExecutor(100) as pool:
        return list(pool.map(speak, texts))  # expect: unbounded-fanout


@app.task
def reminders(numbers):
    for number in numbers:
        store.set(f"reminder:{number}", speak("Sie haben morgen einen Termin."))  # expect: repeated-synthesis


@app.task
def reminders_once(numbers):
    audio = speak("Sie haben morgen einen Termin.")
    for number in numbers:
        store.set(f"reminder:{number}", audio)


@app.task
def reminders_in_redis(numbers):
    for number in numbers:
        audio = store.get("reminder")
        if audio is None:
            audio = speak("Sie haben morgen einen Termin.")
            store.set("reminder", audio)
        store.set(f"reminder:{number}", audio)


@app.task
def summarize(path):
    with open(path, "rb") as recording:
        options = {"model_id": "scribe_v2", "file": recording, "request_options": {"max_retries": 0}}
        heard = client().speech_to_text.convert(**options)
    time.sleep(1)
    return heard.text
