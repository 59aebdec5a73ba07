"""Text to speech and speech to text through ElevenLabs, inside the plan's limits, paid once.

    async with SpeechClient.from_env() as speech:
        audio = await speech.synthesize("Hello")

How a call travels: ``client.py`` (per caller), then ``flight.py`` (per paid call). What can go wrong: ``errors.py``.
"""

from .client import Audio, Transcript
from .errors import Rejected, SpeechError, UpstreamFault
from .request import Priority
from .settings import Settings, SettingsError
from .wiring import SpeechClient

__all__ = ["Audio", "Priority", "Rejected", "Settings", "SettingsError", "SpeechClient", "SpeechError", "Transcript"]
__all__ += ["UpstreamFault"]
