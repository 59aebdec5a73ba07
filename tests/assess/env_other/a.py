from elevenlabs import ElevenLabs
client = ElevenLabs(timeout=10)
