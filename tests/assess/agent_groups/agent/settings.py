import os
from dataclasses import dataclass

from dotenv import load_dotenv

load_dotenv()


@dataclass(frozen=True, slots=True)
class Settings:
    eleven_key: str = os.getenv("ELEVEN_API_KEY", "")
    discord_token: str = os.getenv("DISCORD_TOKEN", "")
    voice: str = os.getenv("VOICE", "Xb7hH8MSUJpSbSDYk0k2")  # expect: retired-voice
    fast_model: str = "eleven_flash_v2_5"
    reserve_model: str = os.getenv("MODEL") or "eleven_turbo_v2"  # expect: retired-model
    processes: int = int(os.getenv("AGENT_PROCESSES", "3"))
    plan_slots: int = 15

    def __repr__(self):
        return f"Settings(voice={self.voice})"


settings = Settings()
