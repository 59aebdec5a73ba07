"""Redis as one backend of three: what it needs, what ``check`` finds, and that no password gets out."""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from backend_redis import RedisServer
from rooms import a_room

from speech import SpeechClient
from speech.__main__ import main
from speech.answers import store
from speech.settings import Settings, SettingsError
from speech.stores import Stores, redis

SECRET = "hunter2-hunter2"


@pytest.fixture
async def stores() -> AsyncIterator[Stores]:
    opened = store.open(a_room(Path("nowhere")))
    yield opened
    await opened.close()


def test_it_needs_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no default: whoever forgets it must not count on somebody else's Redis."""
    monkeypatch.delenv("REDIS_URL")
    with pytest.raises(SettingsError, match=r"^REDIS_URL is not set; allowed: redis://[^\n]*$"):
        SpeechClient.from_env()


@pytest.mark.parametrize("url", [f"redis://:{SECRET}/x@host:6379", f"redis://:x/{SECRET}@host", "redis://host:port"])
def test_a_url_that_nobody_could_read_is_refused(url: str) -> None:
    """At the start, and not by a traceback that quotes half of a password which should have been percent-encoded."""
    with pytest.raises(SettingsError, match="REDIS_URL is wrong") as refused:
        Settings.from_env({"REDIS_URL": url})
    assert SECRET not in str(refused.value)
    assert Settings.from_env({"REDIS_URL": "rediss://me:a%2Fb@[::1]:6380/1?ssl_cert_reqs=none"}).redis_url


def test_it_needs_the_package_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says so before anything else happens."""
    monkeypatch.setattr(redis, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match="pip install"):
        SpeechClient(Settings(redis_url=os.environ["REDIS_URL"]))


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://me:{}@127.0.0.1:{}/0", "redis://:{}@127.0.0.1:1"])
def test_check_finds_a_redis_that_cannot_be_used(
    url: str, backend: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody there, or not with this password; the password is not shown."""
    monkeypatch.setenv("REDIS_URL", url.format(SECRET, backend.port))
    assert main(["check"]) == 1
    said = capsys.readouterr().out
    assert "FAIL cache_backend redis can't be used: " in said and SECRET not in said


def test_check_finds_a_redis_that_works(capsys: pytest.CaptureFixture[str]) -> None:
    """And how much it keeps."""
    main(["check"])
    assert "ok   cache_backend redis: 0 entries" in capsys.readouterr().out


@pytest.mark.parametrize(("memory", "why"), [("allkeys-lru 0", "evicts"), ("noeviction 900kb", "refuse every write")])
async def test_a_memory_policy_that_loses_money_is_found(
    stores: Stores, backend: RedisServer, memory: str, why: str
) -> None:
    """Before it happens."""
    policy, most = memory.split()
    await stores.check()
    try:
        backend.say(f"CONFIG SET maxmemory-policy {policy} maxmemory {most}".encode())
        with pytest.raises(RuntimeError, match=why):
            await stores.check()
    finally:
        backend.say(b"CONFIG SET maxmemory-policy noeviction maxmemory 0")


async def test_who_may_not_ask_for_the_policy_may_still_work(stores: Stores, backend: RedisServer) -> None:
    """As with a managed Redis, or a user with few rights."""
    try:
        backend.say(b"ACL SETUSER default -info")
        await stores.check()
    finally:
        backend.say(b"ACL SETUSER default +info")


@pytest.mark.parametrize(("reachable", "audio"), [(True, "joined"), (False, "alone")])
async def test_it_says_what_is_not_shared_any_more(reachable: bool, audio: str) -> None:
    """By part; slots nobody has asked for are idle, and no part of it where everybody only observes."""
    stores = store.open(a_room(Path("nowhere"), redis_url=None if reachable else "redis://127.0.0.1:1/0"))
    with suppress(OSError):
        await stores.audio.get("0" * 64)
    stores.limiter("flash", 2, processes=1, observed=lambda _: None)
    assert stores.state()["audio"] == audio and "slots" not in stores.state()
    stores.limiter("flash", 2, processes=1)
    assert stores.state()["slots"] == "idle"
    await stores.close()
