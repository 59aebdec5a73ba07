"""How to test a view of yours: ask for ``speech_sandbox`` before the first request, and use Django's test clients."""

from collections.abc import Iterator

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django.urls import path

from speech.testing.plugin import SandboxThread
from speech.web import create, get_speech


async def greet(request: HttpRequest, name: str) -> HttpResponse:
    audio = await get_speech().synthesize(f"Hello {name}!")
    return HttpResponse(audio.data, content_type=audio.media_type)


def greet_in_a_thread(request: HttpRequest, name: str) -> HttpResponse:
    audio = get_speech.blocking().synthesize(f"Hello {name}!")
    return HttpResponse(audio.data, content_type=audio.media_type)


urlpatterns = [path("greetings/<name>", greet), path("greetings/<name>/sync", greet_in_a_thread)]


@pytest.fixture(autouse=True)
def project(speech_sandbox: SandboxThread) -> Iterator[None]:
    """Stands for your project: ``create_app()`` of app.py, or DJANGO_SETTINGS_MODULE."""
    create()
    with override_settings(ROOT_URLCONF=__name__):
        yield


async def test_a_greeting_is_spoken_and_paid_once(speech_sandbox: SandboxThread) -> None:
    """An async view and a sync one have the same client, so what one paid for the other finds in the cache."""
    client = AsyncClient()
    first, again = await client.get("/greetings/Ada"), await client.get("/greetings/Ada/sync")
    assert first.headers["content-type"] == "audio/mpeg"
    assert first.content == again.content
    assert speech_sandbox.state()["calls"] == 1


def test_without_asgi_a_sync_view_speaks_too(speech_sandbox: SandboxThread) -> None:
    """Under runserver, gunicorn or any other WSGI server."""
    client = Client()
    assert client.get("/greetings/Ada/sync").content == client.get("/greetings/Ada/sync").content
    assert speech_sandbox.state()["calls"] == 1


async def test_an_account_without_credits_is_said_in_plain_words(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(credits=0)
    for view in ("/greetings/Ada", "/greetings/Ada/sync"):
        answer = await AsyncClient().get(view)
        assert (answer.status_code, answer.json()["detail"]["code"]) == (402, "insufficient_credits")
    assert speech_sandbox.state()["bill_credits"] == 0


async def test_a_short_illness_of_the_vendor_is_not_noticed(speech_sandbox: SandboxThread) -> None:
    speech_sandbox.set(faults=["503"])
    assert (await AsyncClient().get("/greetings/Ada")).status_code == 200
    assert speech_sandbox.state()["calls"] == 2
