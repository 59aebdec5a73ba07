from functools import cached_property

from pydantic import BaseModel, SecretStr


class ElevenLabsConfig(BaseModel):
    api_key: SecretStr
    base_url: str = "https://api.eu.residency.elevenlabs.io"
    default_voice: str = "22N9cF8z0o7y23njdyaY"
    connect_timeout: float = 3.0
    read_timeout: float = 25.0

    @cached_property
    def shown(self) -> str:
        return self.api_key.get_secret_value()


def report(log, config: ElevenLabsConfig) -> None:
    log.info("asterisks: %s", config.api_key)
    log.info("no asterisks: %s", config.api_key.get_secret_value())  # expect: key-logged
