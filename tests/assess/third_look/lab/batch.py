import argparse
import getpass
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice

import pandas as pd
from elevenlabs import Voice, VoiceSettings, play, save
from elevenlabs.client import ElevenLabs
from joblib import Parallel, delayed
from tqdm.contrib.concurrent import thread_map

parser = argparse.ArgumentParser()
parser.add_argument("csv")
parser.add_argument("--model", default="eleven_monolingual_v1")  # expect: retired-model
parser.add_argument("--voice", choices=["Rachel", "Domi"], default="Rachel")
parser.add_argument("--key", default=os.getenv("ELEVEN_API_KEY"))
SAMPLE = "The rain in Spain stays mainly in the plain."


def connect(options):
    key = options.key or getpass.getpass("ElevenLabs key: ")
    if options.key:
        print("using", key[:6] + "*" * 10)
    else:
        print("using", key)  # expect: key-logged
    return ElevenLabs(api_key=key, timeout=30)


def row_to_audio(client, row):
    return b"".join(client.generate(text=row["text"], voice=Voice(voice_id="bIHbv24MWmeRgasZH58o"), model="eleven_multilingual_v2"))  # expect: retired-voice, removed-sdk-call


def named(client, text):
    return b"".join(client.generate(text=text, voice="Bill", model="eleven_multilingual_v2"))  # expect: retired-voice, removed-sdk-call


def frame(client, data: pd.DataFrame):
    data["audio"] = data.apply(lambda row: row_to_audio(client, row), axis=1)


def wide(client, rows):
    return Parallel(n_jobs=64, backend="threading")(delayed(row_to_audio)(client, row) for row in rows)  # expect: unbounded-fanout


def narrow(client, rows):
    return Parallel(n_jobs=3, backend="threading")(delayed(row_to_audio)(client, row) for row in rows)


def mapped(client, rows):
    return thread_map(lambda row: row_to_audio(client, row), rows, max_workers=5)


def mapped_wide(client, rows):
    return thread_map(lambda row: row_to_audio(client, row), rows, max_workers=50)  # expect: unbounded-fanout


def first_few(client, rows):
    with ThreadPoolExecutor(50) as pool:
        wait([pool.submit(row_to_audio, client, row) for row in islice(rows, 5)])


def variations(client, rows):
    for stability in (0.2, 0.5, 0.8):
        settings = VoiceSettings(stability=stability, similarity_boost=0.7)
        save(client.text_to_speech.convert("7QN34D2r3hCNwbOYIeK0", text=SAMPLE, voice_settings=settings), f"{stability}.mp3")


def rehearsal(client, actors):
    for actor in actors:
        play(client.text_to_speech.convert("7QN34D2r3hCNwbOYIeK0", text=SAMPLE))  # expect: repeated-synthesis
        input(f"{actor}, your turn")


def by_curl(text):
    key = os.environ["ELEVEN_API_KEY"]
    return subprocess.run(
        ["curl", "-sf", "-H", f"xi-api-key: {key}", "https://api.elevenlabs.io/v1/text-to-speech/7QN34D2r3hCNwbOYIeK0"],
        check=True, capture_output=True, timeout=30,
    ).stdout


def account(client):
    print(client.user.subscription.get().tier)


def retry_whole(client, row):
    for pause in (1, 2, 4):
        try:
            audio = row_to_audio(client, row)  # expect: doubled-retries
        except Exception as error:
            print(f"row {row.name}: {type(error).__name__}, again in {pause} s", file=sys.stderr)
        else:
            return audio
    return None


def retry_whole_if_refused(client, row):
    for pause in (1, 2, 4):
        try:
            return row_to_audio(client, row)
        except ConnectionRefusedError:
            print("again")
    return None
