import time

from elevenlabs.client import ElevenLabs


async def test_it():
    client = ElevenLabs(api_key="test")
    time.sleep(1)
    assert client.text_to_speech.convert("21m00Tcm4TlvDq8ikWAM", text="hi", model_id="eleven_monolingual_v1")
