"""The gateway's routes, once for every framework: what each asks of its caller and what it answers. Knows none.

A framework routes, reads what came in and sends what it is given here. What is raised here is a SpeechError, and
``wire.refused`` is its answer; what a framework refuses by itself is a ``wire.Stray``.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol, TypeVar

from .. import answers
from ..clock import today
from ..errors import SpeechError
from ..listening import Listening
from ..request import Terms
from ..wiring import SpeechClient
from . import account, dashboard, reading, wire, workers
from .answer import Answer, said, told
from .auth import Doorkeeper
from .reading import Pairs, Parts

logger = logging.getLogger(__name__)

Headers = Mapping[str, str]
"""Found by their names in lower case."""

HEAR = "/v1/speech-to-text"
SPEAK = re.compile(wire.VOICE.replace("{voice_id}", "([^/]+)") + "((?:/stream)?(?:/with-timestamps)?)")

T = TypeVar("T")


class Asked(Protocol):
    """A request, as a framework reads it; ``path`` is below whatever prefix there is."""

    method: str
    path: str
    headers: Headers
    query: Pairs

    async def body(self, most: int) -> bytes:
        """Raises too_large as soon as it is."""

    def form(self, most: int) -> AbstractAsyncContextManager[Parts]:
        """As ``body``; its files are closed at the end. Raises Stray if it is none."""

    async def unless_left(self, work: Coroutine[Any, Any, T]) -> T:
        """What *work* gives; cancelled as soon as its caller hangs up."""


class Gateway:
    """The routes of one client. Raises SettingsError if nobody could be told from a stranger."""

    def __init__(self, speech: SpeechClient) -> None:
        self._speech, self._door = speech, Doorkeeper(speech.settings)

    async def answer(self, asked: Asked) -> Answer | Listening:
        """Whatever route it is; audio that is to be sent as it comes is still to be entered."""
        if page := PAGES.get(asked.path):
            _allow(asked, "GET", "HEAD")
            return await page(self, Ask(asked.headers, asked.query))
        if asked.path == HEAR:
            _allow(asked, "POST")
            terms = self.terms(asked.headers)
            async with asked.form(self.upload_max) as parts:
                return await asked.unless_left(self.hear(parts, asked.query, terms))
        if found := SPEAK.fullmatch(asked.path):
            _allow(asked, "POST")
            terms, manner = self.terms(asked.headers), wire.MANNERS[wire.VOICE + found[2]]
            body = await asked.body(reading.BODY_MAX)
            listening = self.speak(manner, found[1], body, asked.query, terms)
            return await asked.unless_left(self.whole(listening)) if manner.whole else listening
        raise wire.Stray(404)

    # ------------------------------------------------------------------------------------------------- what is spoken

    def terms(self, headers: Headers) -> Terms:
        """Who asks, and on what terms. Ask before a body is read: a stranger's is not worth it."""
        caller = self._door.caller(headers)
        return wire.terms(headers, caller.name, development=self._speech.settings.env == "development")

    @property
    def upload_max(self) -> int:
        """Bytes of a form that are read at most; of any other body it is ``reading.BODY_MAX``."""
        return self._speech.settings.max_upload_bytes

    def speak(self, manner: wire.Manner, voice_id: str, body: bytes, query: Pairs, terms: Terms) -> Listening:
        """``POST /v1/text-to-speech/…``; enter what comes back, or give it to ``whole``."""
        return wire.listen(self._speech, voice_id, manner, body, query, terms)

    async def hear(self, parts: Parts, query: Pairs, terms: Terms) -> Answer:
        """``POST /v1/speech-to-text``."""
        request = await asyncio.to_thread(wire.transcription, parts, query)
        return await self.whole(self._speech.open(request, terms, whole=True))

    async def whole(self, listening: Listening) -> Answer:
        """All of it. Cancelled, when its caller left, it leaves the queue."""
        async with listening:
            return Answer(200, await listening.read(), wire.headers(listening))

    # ----------------------------------------------------------------------------------------------- what is looked at

    async def models(self, ask: "Ask") -> Answer:
        self._door.caller(ask.headers)
        return said(account.models(self._speech))

    async def voices(self, ask: "Ask") -> Answer:
        self._door.caller(ask.headers)
        return said({"voices": account.voices(self._speech.house.voice_id)})

    async def page_of_voices(self, ask: "Ask") -> Answer:
        self._door.caller(ask.headers)
        return said(account.page_of_voices(self._speech.house.voice_id, ask.query))

    async def subscription(self, ask: "Ask") -> Answer:
        caller = self._door.caller(ask.headers)
        usage, tier = await workers.fleet_usage(self._speech, caller.name), self._speech.settings.tier
        return said(account.subscription(self._speech, tier, caller.name, usage, today()))

    async def healthz(self, _: "Ask") -> Answer:
        return said({"status": "alive"})

    async def readyz(self, _: "Ask") -> Answer:
        ready = self._speech.ready
        return said({"ready": ready}, 200 if ready else 503)

    async def metrics(self, ask: "Ask") -> Answer:
        self._door.admin(ask.headers)
        if not (render := getattr(answers.exporter, "render", None)):  # another one waits for nobody to ask
            raise wire.Stray(404)
        return told(*render(await workers.fleet_metrics(self._speech)))

    async def usage(self, ask: "Ask") -> Answer:
        caller = self._door.caller(ask.headers, basic=True)
        whose = None if caller.admin else caller.name
        if reading.wants_csv(ask.query, ask.headers):
            table = await workers.fleet_table(self._speech, whose)
            return told(table.encode(), "text/csv; charset=utf-8", 200, {"cache-control": "no-store"})
        return said(await workers.fleet_usage(self._speech, whose))

    async def dashboard(self, ask: "Ask") -> Answer:
        self._door.at_the_screen(ask.headers)
        return dashboard.page(await workers.fleet_usage(self._speech), today())


class Ask(NamedTuple):
    """What a page may want to know of a request."""

    headers: Headers
    query: Pairs


Page = Callable[[Gateway, Ask], Awaitable[Answer]]
PAGES: dict[str, Page] = {
    "/v1/models": Gateway.models,
    "/v1/voices": Gateway.voices,
    "/v2/voices": Gateway.page_of_voices,
    "/v1/user/subscription": Gateway.subscription,
    "/healthz": Gateway.healthz,
    "/readyz": Gateway.readyz,
    "/metrics": Gateway.metrics,
    "/usage": Gateway.usage,
    "/dashboard": Gateway.dashboard,
}
"""By path, for GET and HEAD. ``wire.MANNERS`` are the paths of speech; all that is left is HEAR."""


def refusal(error: Exception) -> Answer:
    """What its caller hears of *error*; of one that nobody foresaw, only the log does."""
    if not isinstance(error, SpeechError):
        logger.error("the gateway failed", exc_info=error)
        error = wire.Stray(500)
    return wire.refused(error)


def _allow(asked: Asked, *methods: str) -> None:
    if asked.method not in methods:
        raise wire.Stray(405, {"allow": ", ".join(methods)})
