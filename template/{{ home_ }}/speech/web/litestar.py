"""Litestar: the client lives as long as the application, a route gets it as the dependency ``Provide(get_speech)``, and
its errors are answered properly, whoever's route raised them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from litestar import Litestar, Request, Response
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.plugins import InitPlugin

from ..errors import SpeechError
from ..wiring import SpeechClient


async def get_speech(state: State) -> SpeechClient:
    """The application's client: ``dependencies={"speech": Provide(get_speech)}``."""
    return _client(state)


def client_of(app: Any) -> SpeechClient:
    """For as long as *app* runs. Raises RuntimeError before and without ``install``."""
    return _client(app.state)


def _client(state: State) -> SpeechClient:
    if (speech := state.get("speech")) is None:
        raise RuntimeError("no SpeechClient yet: install(app) opens one when the application starts (its lifespan)")
    return cast(SpeechClient, speech)


def install(app: Litestar) -> None:
    """Open a client for as long as *app* runs, and answer its errors. Settings are read when the application starts.

    An application that is built is told by its hooks: where a ``lifespan`` of yours wants the client, take the plugin.
    """
    opened = AsyncExitStack()

    async def start(app: Litestar) -> None:
        await opened.enter_async_context(_speaking(app))

    app.on_startup.insert(0, start)
    app.on_shutdown.append(opened.aclose)
    app.exception_handlers[SpeechError] = _answer


class SpeechPlugin(InitPlugin):
    """As ``install``, for an application that is still to be built: ``Litestar(plugins=[SpeechPlugin()])``."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        app_config.lifespan.insert(0, _speaking)
        app_config.exception_handlers[SpeechError] = _answer
        return app_config


@asynccontextmanager
async def _speaking(app: Litestar) -> AsyncIterator[None]:
    async with SpeechClient.from_env() as app.state.speech:
        await app.state.speech.warm_up()
        yield


def _answer(_: Request[Any, Any, Any], error: SpeechError) -> Response[Any]:
    return Response(error.body(), status_code=error.status, headers=error.headers())
