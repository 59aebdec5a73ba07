from django.conf import settings
from elevenlabs import ElevenLabs


def get_client():
    return ElevenLabs(api_key=settings.ELEVENLABS_API_KEY, timeout=15)


def read_out(text):
    return b"".join(get_client().text_to_speech.convert("6WwXjDDEMyNmFG95zycZ", text=text))
