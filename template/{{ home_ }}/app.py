"""Yours: the application that ``serve`` runs. It is seeded once and then left alone."""

from .speech import web


def create_app() -> object:
    """ElevenLabs' routes at ``/v1`` and the service's own; anything that you add comes before them.

    A route of yours speaks through the same client, inside the same limits: ``get_speech`` of ``speech.web`` gives it.
    """
    app = web.create()
    # Your routes: app.include_router(...), app.register_blueprint(...), whatever your framework calls it.
    return app
