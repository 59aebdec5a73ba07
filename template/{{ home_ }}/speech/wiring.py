"""Where the parts meet: settings in, a client out. The only module that knows all of them."""

import asyncio
import importlib
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

from .answers import CACHE_BACKEND, GATEWAY, exporter, store
from .blocking import Blocking
from .cache import AudioCache
from .catalogue import HTTP_POOLS, models
from .client import Client, House
from .flight import Policies
from .ledger import Budgets, Ledger
from .request import Rules
from .retry import Retry
from .settings import Settings, SettingsError
from .stores import Stores
from .upstream import ElevenLabs


class SpeechClient(Client):
    """The client of this installation: ``async with SpeechClient.from_env() as speech: ...``

    Nothing is opened before the first call, so one may be made before a fork. Raises SettingsError for settings that
    can't work, with one line that says which and why.
    """

    def __init__(self, settings: Settings) -> None:
        if problem := store.unsupported():
            raise SettingsError(problem)
        settings.check(CACHE_BACKEND)
        self.settings, self.stores = settings, store.open(settings.room)
        connections = sum(settings.plan.values()) * 4 + 2
        self._upstream = ElevenLabs(settings.api_key, settings.base_url, connections)
        super().__init__(_policies(settings, self.stores, self._upstream), _house(settings))
        self.diary: Any = None
        if GATEWAY or CACHE_BACKEND != "memory":  # else nobody would read it
            self.diary = importlib.import_module(".diary", __package__).Diary(self)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """From ``ELEVENLABS_API_KEY``, ``SPEECH_TIER`` and the others of ``.env.example``."""
        return cls(Settings.from_env(environ))

    def blocking(self) -> Blocking:
        """The same methods for threads without a loop."""
        return Blocking(lambda: type(self)(self.settings))

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | {"store": self.stores.state()}

    async def warm_up(self) -> None:
        """Load the SDK, half a second of imports, and reach the store, before the first caller has to wait for it."""
        await asyncio.to_thread(importlib.import_module, "elevenlabs.client")
        await self.policies.cache.snapshot()

    async def aclose(self, grace_s: float | None = None) -> None:
        """Drain, wait ``grace_s`` (SPEECH_GRACE_S) for what is in flight, close what is open."""
        await super().aclose(self.settings.grace_s if grace_s is None else grace_s)
        if self.diary:
            await self.diary.aclose()
        await self._upstream.aclose()
        await self.stores.close()
        await self.policies.meter.aclose()


def _policies(settings: Settings, stores: Stores, upstream: ElevenLabs) -> Policies:
    meter = exporter.Meter()
    observed = meter.observed if settings.mode == "observe" else None
    reserved, share, most = settings.reserved_interactive, settings.processes, settings.queue_size
    limiter = partial(stores.limiter, processes=share, queue_size=most, reserved=reserved, observed=observed)
    daily = {name: terms.daily_usd for name, terms in settings.callers.items() if terms.daily_usd is not None}
    budgets = Budgets(settings.daily_budget_usd, settings.monthly_budget_usd, daily)
    return Policies(
        upstream=upstream,
        limiters={pool: limiter(pool, settings.plan[pool], fixed=pool in settings.limits) for pool in HTTP_POOLS},
        breakers=stores.breakers(HTTP_POOLS, observed=observed),
        retry=Retry(counted=lambda kind: meter.count("retries", reason=kind)),
        ledger=Ledger(stores.ledger, budgets, observed=observed),
        cache=AudioCache(stores.audio, ttl_s=settings.cache_ttl_s, stale_s=settings.cache_stale_s),
        seats=stores.seats,
        meter=meter,
        attempt_timeout_s=settings.attempt_timeout_s,
    )


def _house(settings: Settings) -> House:
    rules, enforce = Rules(settings.tier, models() | settings.extra_models), settings.mode == "enforce"
    spoken = settings.voice_id, settings.quality, settings.default_deadline_s
    served = settings.cache_scope, settings.degrade, settings.callers
    return House(rules, *spoken, *served, enforce, ready=bool(settings.api_key))
