from elevenlabs import generate, play, set_api_key


def old(text):
    play(generate(text=text, voice="mine", model="eleven_multilingual_v2"))
