import os

ELEVENLABS_API_KEY = os.environ["ELEVENLABS_API_KEY"]
VOICE = "OZ0L6eISlOejga3XjDFt"
OLD_VOICE = "EXAVITQu4vr4xnSDxMaL"  # only the migration of stored rows reads it
NARRATOR = "JBFqnCBsd6RMkjVDRZzb"  # expect: retired-voice
MODEL = os.getenv("TTS_MODEL", "eleven_turbo_v2_5")  # expect: retired-model
GREETING = "Welcome to the shop. How can we help you today?"
