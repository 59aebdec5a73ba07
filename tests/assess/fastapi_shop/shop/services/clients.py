"""Module-level clients that other modules use."""
import httpx
from elevenlabs import AsyncElevenLabs
from elevenlabs.client import ElevenLabs as Labs

from .. import settings

client = Labs(api_key=settings.ELEVENLABS_API_KEY, timeout=20)
slow_client = Labs(api_key=settings.ELEVENLABS_API_KEY)  # expect: no-timeout
own_http = Labs(httpx_client=httpx.Client(timeout=10))  # expect: no-timeout
right_http = Labs(httpx_client=httpx.Client(timeout=10), timeout=None)
speech = AsyncElevenLabs(timeout=httpx.Timeout(20.0, connect=3.0))
