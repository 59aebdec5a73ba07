import os

from elevenlabs.client import ElevenLabs

OLD = ElevenLabs(api_key="@HEX@", timeout=10)  # expect: key-hardcoded
client = ElevenLabs(api_key="@KEY@", timeout=10)  # expect: key-hardcoded
fallback = os.getenv("ELEVENLABS_API_KEY", "@KEY2@")  # expect: key-hardcoded
HEADERS = {"xi-api-key": "@HEX2@", "Accept": "audio/mpeg"}  # expect: key-hardcoded
placeholder = ElevenLabs(api_key="your_elevenlabs_key_here", timeout=10)
zeros = ElevenLabs(api_key="sk_000000000000000000000000000000000000000000000000", timeout=10)
digits = "sk_0123456789abcdef0123456789abcdef0123456789abcdef"
checksum = "@HEX@"
STRIPE = "sk_test_" + "4eC39HqLyjWDarjtT1zdp7dc"
from_env = ElevenLabs(api_key=os.environ["ELEVENLABS_API_KEY"], timeout=10)
known = "@KEY3@"  # assess: ignore[key-hardcoded]
# assess: ignore[key-hardcoded]
known_too = "@KEY3@"
