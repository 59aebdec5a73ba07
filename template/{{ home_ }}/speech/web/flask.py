"""Flask: one client for the application and all its threads, a route gets it with ``get_speech()``, and its errors are
answered properly, whoever's route raised them."""

import atexit
from typing import Any, cast

from flask import Flask, current_app

from ..blocking import Blocking
from ..errors import SpeechError
from ..wiring import SpeechClient


def get_speech() -> Blocking:
    """The application's client, in a route: ``speech = get_speech()``."""
    speech = current_app.extensions.get("speech")
    if speech is None:
        raise RuntimeError("no speech client in this application: call install(app) where it is made")
    return cast(Blocking, speech)


def install(app: Flask) -> None:
    """Give *app* a client, closed when the process ends, and answer its errors.

    Settings are read now: raises SettingsError. Nothing is opened and no thread started before the first call, so a
    server may fork after this.
    """
    speech = app.extensions["speech"] = SpeechClient.from_env().blocking()
    atexit.register(speech.close)
    app.register_error_handler(SpeechError, _answer)


def _answer(error: SpeechError) -> tuple[dict[str, Any], int, dict[str, str]]:
    return error.body(), error.status, error.headers()
