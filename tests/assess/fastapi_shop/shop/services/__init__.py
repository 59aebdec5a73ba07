from .clients import client, slow_client, speech

__all__ = ["client", "slow_client", "speech"]
