"""Keys: who calls, who may see everything, and when a service without keys does not start."""

import base64
import hmac
from contextlib import suppress
from pathlib import Path

import pytest

from speech.errors import SpeechError
from speech.settings import Settings, SettingsError
from speech.web.auth import Caller, Doorkeeper, UnknownCaller

ALICE, ALICE_NEW, ADMIN = "alice-key-of-old-0", "alice-key-of-new-1", "admin-key-0123456789"


def settings(keys: str = "", env: str = "production", run_dir: str = "") -> Settings:
    return Settings.from_env({"SPEECH_CLIENT_KEYS": keys, "SPEECH_ENV": env, "SPEECH_RUN_DIR": run_dir})


@pytest.fixture
def door() -> Doorkeeper:
    return Doorkeeper(settings(f"alice:{ALICE},alice:{ALICE_NEW},admin:{ADMIN}"))


def basic(password: str, user: str = "anybody") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    "headers",
    [
        {"xi-api-key": ALICE},
        {"xi-api-key": ALICE_NEW},
        {"authorization": f"Bearer {ALICE}"},
        {"authorization": f"bearer  {ALICE} "},
        {"xi-api-key": ALICE, "authorization": f"Bearer {ADMIN}"},
    ],
)
def test_a_key_has_a_name_however_it_is_sent(door: Doorkeeper, headers: dict[str, str]) -> None:
    """As ``xi-api-key`` or as a Bearer token, and both keys of a rotation are the same caller."""
    assert door.caller(headers) == Caller("alice", admin=False)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"xi-api-key": ""},
        {"xi-api-key": ALICE[:-1]},
        {"xi-api-key": ALICE + "x"},
        {"xi-api-key": ALICE.upper()},
        {"xi-api-key": "alice"},
        {"xi-api-key": "schlüssel-ohne-namen"},
        {"authorization": ALICE},
        {"authorization": "Bearer"},
        {"authorization": "Basic !!!"},
        basic(ALICE),
    ],
)
def test_anything_else_is_nobody(door: Doorkeeper, headers: dict[str, str]) -> None:
    """No key, half a key, a name in place of it; and Basic where it was not asked for."""
    with pytest.raises(UnknownCaller) as refused:
        door.caller(headers)
    assert (refused.value.status, refused.value.code) == (401, "invalid_client_key")
    assert ALICE not in refused.value.message


@pytest.mark.parametrize("key", [ALICE, ADMIN, "nobody's"])
def test_every_key_is_compared(door: Doorkeeper, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Whichever fits, if any: the time an answer takes says nothing about the keys."""
    compared: list[bytes] = []

    def counting(given: bytes, known: bytes) -> bool:
        compared.append(known)
        return given == known

    monkeypatch.setattr(hmac, "compare_digest", counting)
    with suppress(UnknownCaller):
        door.caller({"xi-api-key": key})
    assert len(compared) == 3


def test_only_admin_sees_what_concerns_everybody(door: Doorkeeper) -> None:
    """A known caller is forbidden, an unknown one is asked for a key, the admin passes."""
    assert door.admin({"xi-api-key": ADMIN}).admin
    with pytest.raises(SpeechError) as refused:
        door.admin({"xi-api-key": ALICE})
    assert (refused.value.status, refused.value.code) == (403, "forbidden")


def test_a_browser_is_asked_for_the_key(door: Doorkeeper) -> None:
    """At the dashboard Basic counts, with any user; without it the browser is challenged."""
    assert door.at_the_screen(basic(ADMIN, user="who:ever".partition(":")[0])).admin
    assert door.at_the_screen({"xi-api-key": ADMIN}).admin
    with pytest.raises(UnknownCaller) as asked:
        door.at_the_screen({})
    assert asked.value.challenge and asked.value.challenge.startswith("Basic ")
    with pytest.raises(SpeechError) as refused:
        door.at_the_screen(basic(ALICE))
    assert refused.value.code == "forbidden"


@pytest.mark.parametrize(
    "env, run_dir", [("production", "/run/speech"), ("staging", "/run/speech"), ("development", "")]
)
def test_without_keys_nothing_starts(env: str, run_dir: str) -> None:
    """Not in production, and not in development either unless ``serve`` vouches for the loopback."""
    with pytest.raises(SettingsError, match="SPEECH_CLIENT_KEYS") as refused:
        Doorkeeper(settings(env=env, run_dir=run_dir))
    assert "\n" not in str(refused.value)


def test_a_developer_needs_no_key(tmp_path: Path) -> None:
    """In development under ``serve`` on loopback whoever calls is ``local`` and admin."""
    door = Doorkeeper(settings(env="development", run_dir=str(tmp_path)))
    assert door.caller({}) == door.admin({"xi-api-key": "whatever the SDK sends"}) == Caller("local", admin=True)


def test_a_service_with_keys_asks_for_them_in_development_too(tmp_path: Path) -> None:
    """Who sets keys means them."""
    with pytest.raises(UnknownCaller):
        Doorkeeper(settings(f"alice:{ALICE}", env="development", run_dir=str(tmp_path))).caller({})
