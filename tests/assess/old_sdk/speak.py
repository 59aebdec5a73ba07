import elevenlabs as el
from elevenlabs import generate, play, set_api_key  # expect: removed-sdk-call, removed-sdk-call
from elevenlabs.client import ElevenLabs

client = ElevenLabs(timeout=10)


def old(text):
    set_api_key("from the vault")
    play(generate(text=text, voice="Rachel", model="eleven_monolingual_v1"))  # expect: retired-voice, retired-model


def by_client(text):
    return client.generate(text=text, voice="Adam", model="eleven_multilingual_v2")  # expect: removed-sdk-call, retired-voice


def as_stream(text):
    return client.text_to_speech.convert_as_stream("x", text=text)  # expect: removed-sdk-call


def by_module(text):
    return el.generate(text=text)  # expect: removed-sdk-call


def new(text):
    return client.text_to_speech.stream("x", text=text, model_id="eleven_v4")


def my_own():
    class Box:
        def generate(self, text):
            return text

    return Box().generate("x")


def listed():
    return client.voices.get_all()
