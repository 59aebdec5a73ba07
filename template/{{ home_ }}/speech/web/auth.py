"""Who calls: every key has a name, and ``admin`` may see what concerns everybody. Knows no framework.

Keys are held and compared as hashes, all of them every time, so that an answer's delay says nothing about any of them.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import SpeechError
from ..settings import Settings, SettingsError

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    admin: bool


class UnknownCaller(SpeechError):
    """No key, or none that is known. ``challenge`` is what makes a browser ask for one."""

    code = "invalid_client_key"
    challenge: str | None = None


class Doorkeeper:
    """Raises SettingsError without keys, unless ``serve`` keeps a development service on this machine's loopback."""

    def __init__(self, settings: Settings) -> None:
        self._known = [(name, _hash(key.encode())) for name, key in settings.client_keys]
        served_on_loopback = settings.run_dir is not None  # serve sets it, and refuses another host without keys
        if not self._known and not (settings.env == "development" and served_on_loopback):
            raise SettingsError(
                f"SPEECH_CLIENT_KEYS is not set and SPEECH_ENV is {settings.env}; allowed: name:key,name:key with keys "
                "of 16 characters or more; none only with SPEECH_ENV=development and the command serve on 127.0.0.1"
            )

    def caller(self, headers: Mapping[str, str], *, basic: bool = False) -> Caller:
        """Whose key it is; ``basic``: HTTP Basic counts too, with any user. Raises UnknownCaller."""
        if not self._known:
            return Caller("local", admin=True)
        given, found = _hash(_key(headers, basic)), None
        for name, known in self._known:
            if hmac.compare_digest(given, known):
                found = name
        if found is None:
            raise UnknownCaller("This key is not known here; send yours as xi-api-key or Authorization: Bearer.")
        return Caller(found, admin=found == ADMIN)

    def admin(self, headers: Mapping[str, str], *, basic: bool = False) -> Caller:
        """As ``caller``; raises SpeechError forbidden for everybody but the admin."""
        caller = self.caller(headers, basic=basic)
        if not caller.admin:
            raise SpeechError(f"{caller.name} may not see this; it takes the key of {ADMIN}.", code="forbidden")
        return caller

    def at_the_screen(self, headers: Mapping[str, str]) -> Caller:
        """As ``admin``, for a page: a browser without a key is made to ask for it."""
        try:
            return self.admin(headers, basic=True)
        except UnknownCaller as unknown:
            if not headers.get("x-requested-with"):  # so asks the open page, where a window would pop up forever
                unknown.challenge = 'Basic realm="speech", charset="UTF-8"'
            raise


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _key(headers: Mapping[str, str], basic: bool) -> bytes:
    """The key as it came, as bytes: header values are latin-1 in every framework. Empty is nobody's key."""
    if key := headers.get("xi-api-key"):
        return key.strip().encode("latin-1", "replace")
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1", "replace")
    return _password(value) if basic and scheme.lower() == "basic" else b""


def _password(value: str) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
