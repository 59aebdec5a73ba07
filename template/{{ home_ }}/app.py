"""Yours: the application that ``serve`` runs. It is seeded once and then left alone."""

from .speech import web


def create_app() -> object:
    """ElevenLabs' routes at ``/v1`` and the service's own; anything that you add comes before them.

    A route of yours speaks through the same client, inside the same limits: ``get_speech`` of ``speech.web`` gives it.
    """
    app = web.create()  # Django takes its settings here: web.create(ROOT_URLCONF="<this package>.urls")
    # Your routes: app.include_router(...), app.register(...), app.register_blueprint(...), as your framework calls it.
    return app
