import threading
from concurrent.futures import ThreadPoolExecutor

from .voice import by_http_in_time, eleven

gate = threading.BoundedSemaphore(5)  # expect: per-process-limiter
quiet = threading.Semaphore(3)


def guarded(text):
    with gate:
        return by_http_in_time(text, "x")


def write(line):
    with quiet:
        print(line)


def all_at_once(texts):
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda text: by_http_in_time(text, "x"), texts))  # expect: unbounded-fanout


def a_hundred(texts):
    pool = ThreadPoolExecutor(max_workers=100)
    return [pool.submit(by_http_in_time, text, "x") for text in texts]  # expect: unbounded-fanout


def five(texts):
    with ThreadPoolExecutor(max_workers=5) as pool:
        return list(pool.map(guarded, texts))


def four(texts):
    with ThreadPoolExecutor(4) as pool:
        return [pool.submit(by_http_in_time, text, "x") for text in texts]


def threads(texts):
    for text in texts:
        threading.Thread(target=by_http_in_time, args=(text, "x")).start()  # expect: unbounded-fanout


def prompts():
    while True:
        eleven.text_to_speech.stream("x", text="Please insert your ticket.")  # expect: repeated-synthesis


def voices(names):
    return [b"".join(eleven.text_to_speech.convert(name, text="This is how I sound.")) for name in names]


def samples(names):
    for name in names:
        yield b"".join(eleven.text_to_speech.convert(name, text="This is how I sound."))
