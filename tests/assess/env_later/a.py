from dotenv import load_dotenv
from elevenlabs import ElevenLabs

load_dotenv()  # expect: env-not-ignored
client = ElevenLabs(timeout=10)
