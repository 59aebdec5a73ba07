import os


class Config:
    ELEVENLABS_API_KEY = os.environ.get("ELEVENLABS_API_KEY") or "@KEY@"  # expect: key-hardcoded
    XI_KEY = os.environ.get("XI_KEY", "changeme")
    TTS_URL = "https://api.elevenlabs.io/v1/text-to-speech"
    VOICES = {
        "de": "dvbL7qkNGZY1IqPGZAjM",
        "en": "cgSgspJ2msm6clMCkdW9",  # expect: retired-voice
    }
    TTS_MODEL = "eleven_multilingual_v2"


class TestConfig(Config):
    ELEVENLABS_API_KEY = "test-key"
    TTS_URL = "http://localhost:9999/v1/text-to-speech"


class StagingConfig(Config):
    ELEVENLABS_API_KEY = "@HEX@"  # expect: key-hardcoded
    TTS_MODEL = "eleven_monolingual_v1"  # expect: retired-model
