import requests


class SpeechError(Exception):
    pass


def speak_sync(text):
    answer = requests.post("https://api.elevenlabs.io/v1/text-to-speech/x", json={"text": text}, timeout=20)
    if answer.status_code == 401:
        raise SpeechError("our key is wrong")
    return answer.content
