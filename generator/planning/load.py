"""What is asked for: by the command line, else by a ledger's history, else assumed, and then said so."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

from .cost import Facts, Use, default_models
from .history import History
from .simulate import INTERACTIVE, NORMAL
from .waits import CallTime, Demand

MONTH_S = 30 * 86400
EXAMPLE_CHARACTERS = 100_000
CHARACTERS_REQUEST = 200
PEAK_FACTOR = 10
MAX_WAIT_S = 2.0
STT_FILE_S = 60.0
MAX_PEAK = 10_000
BOUNDS = {
    "characters_month": (0, 1e12),
    "peak_rps": (0, MAX_PEAK),
    "realtime_share": (0, 1),
    "stt_hours": (0, 1e7),
    "max_wait": (0, 300),
    "characters_request": (1, 40_000),
    "seconds_call": (0.01, 600),
    "stt_file_seconds": (0.1, 36_000),
    "batch_share": (0, 1),
    "reserved_interactive": (0, 10_000),
}


@dataclass(frozen=True, slots=True)
class Given:
    """The options, by their names; None where one was not given."""

    characters_month: float | None = None
    peak_rps: float | None = None
    realtime_share: float | None = None
    stt_hours: float | None = None
    max_wait: float | None = None
    characters_request: float | None = None
    seconds_call: float | None = None
    stt_file_seconds: float | None = None
    batch_share: float | None = None
    reserved_interactive: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a number that is none, or out of bounds."""
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{option(name)} is a number from {least:g} to {most:g}, not {value:g}")


class Input(NamedTuple):
    """One number of a load, and where it comes from."""

    value: float
    origin: Literal["given", "ledger", "derived", "assumed"]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """``peak_rps`` counts requests to speak; speech to text peaks ``peak_factor`` times above its average."""

    characters_month: Input
    peak_rps: Input
    realtime_share: Input
    stt_hours: Input
    max_wait: Input
    characters_request: Input
    stt_file_seconds: Input
    peak_factor: Input
    batch_share: Input
    reserved_interactive: Input
    seconds_call: Mapping[str, Input]
    hit_rate: float | None = None

    def inputs(self) -> dict[str, Input]:
        """All of them, by the names of their options where they have one."""
        single = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Input)}
        return single | {f"seconds_call_{pool}": value for pool, value in self.seconds_call.items()}

    @property
    def use(self) -> Use:
        characters, share = self.characters_month.value, self.realtime_share.value
        return Use(characters * (1 - share), characters * share, self.stt_hours.value)

    def demands(self, pools: Facts) -> tuple[Demand, ...]:
        """By pool, at the peak. Realtime requests are interactive, the others normal, and some of both batch."""
        peak, share, wait_s = self.peak_rps.value, self.realtime_share.value, self.max_wait.value
        stt = self.stt_hours.value * 3600 / self.stt_file_seconds.value / MONTH_S * self.peak_factor.value
        batch, reserved = self.batch_share.value, self.reserved_interactive.value
        return (
            Demand("standard", peak * (1 - share), self._time("standard", pools), NORMAL, batch, reserved, wait_s),
            Demand("flash", peak * share, self._time("flash", pools), INTERACTIVE, batch, reserved, wait_s),
            Demand("stt", stt, self._time("stt", pools), NORMAL, 0.0, reserved, wait_s),
        )

    def _time(self, pool: str, pools: Facts) -> CallTime:
        length = (self.stt_file_seconds if pool == "stt" else self.characters_request).value
        return call_time(pool, pools, length).lasting(self.seconds_call[pool].value)

    def with_share(self, share: float) -> "Load":
        return replace(self, realtime_share=Input(share, "given"))

    def with_wait(self, max_wait_s: float) -> "Load":
        return replace(self, max_wait=Input(max_wait_s, "given"))

    def with_cache(self, hits: float) -> "Load":
        """The same requests, of which so many more are answered by the cache: no characters, no slot."""
        characters, peak = (i._replace(value=i.value * (1 - hits)) for i in (self.characters_month, self.peak_rps))
        return replace(self, characters_month=characters, peak_rps=peak)


def load(given: Given, history: History | None, catalogue: Facts) -> Load:
    """Everything that a plan is judged by. Raise ValueError for what contradicts itself."""
    past = history or History()
    each = _first(given.characters_request, past.characters_request, CHARACTERS_REQUEST, "two or three sentences")
    characters, peak = _speech(given, past, each.value)
    realtime = _first(given.realtime_share, past.realtime_share, 0, "by ElevenLabs' default model")
    file = _first(given.stt_file_seconds, past.stt_file_seconds, STT_FILE_S, "a recording of a minute")
    _fits(each.value, realtime.value, catalogue)
    lengths = {"standard": each.value, "flash": each.value, "stt": file.value}
    measured = {"standard": given.seconds_call, "flash": given.seconds_call, "stt": None}
    return Load(
        characters_month=characters,
        peak_rps=peak,
        realtime_share=realtime,
        stt_hours=_first(given.stt_hours, past.stt_hours, 0, "none"),
        max_wait=_first(given.max_wait, None, MAX_WAIT_S, "99 of 100 get their slot within it"),
        characters_request=each,
        stt_file_seconds=file,
        peak_factor=Input(PEAK_FACTOR, "assumed", "where no peak is given"),
        batch_share=_first(given.batch_share, None, 0, "nobody can wait for minutes"),
        reserved_interactive=_first(given.reserved_interactive, None, 0, "the service's default"),
        seconds_call={
            pool: _seconds(pool, catalogue["pools"], length, measured[pool], past.seconds_call.get(pool))
            for pool, length in lengths.items()
        },
        hit_rate=past.hit_rate,
    )


def call_time(pool: str, pools: Facts, length: float) -> CallTime:
    """The line through the two lengths that the catalogue has."""
    call = pools[pool]["call"]
    (short, long), (quick_s, slow_s) = call["audio_seconds" if pool == "stt" else "characters"], call["seconds"]
    each_s = (slow_s - quick_s) / (long - short)
    bounds = (pools[pool]["segment_seconds"], pools[pool]["max_weight"]) if pool == "stt" else (math.inf, 1)
    return CallTime(quick_s - each_s * short, each_s, length, *bounds)


def _speech(given: Given, past: History, characters_request: float) -> tuple[Input, Input]:
    """Characters a month, and requests a second at the peak; each from the other where it is missing."""
    characters = _first(given.characters_month, past.characters_month, *_characters(given, characters_request))
    average = characters.value / characters_request / MONTH_S
    if given.peak_rps is None:
        busiest = past.busiest_rps or average
        why = f"{PEAK_FACTOR} times the average of {'the busiest day' if past.busiest_rps else 'the month'}"
        peak = Input(busiest * PEAK_FACTOR, "derived" if characters.origin != "assumed" else "assumed", why)
    else:
        peak = Input(given.peak_rps, "given", f"{given.peak_rps / average:,.0f} times the average" if average else "")
    if not average * 0.999 <= peak.value <= MAX_PEAK:
        raise ValueError(_contradiction(characters.value, characters_request, average, peak.value))
    return characters, peak


def _characters(given: Given, characters_request: float) -> tuple[float, str]:
    if given.peak_rps is not None:
        average = given.peak_rps / PEAK_FACTOR
        return average * characters_request * MONTH_S, f"a peak {PEAK_FACTOR} times above the average"
    if given.stt_hours is not None:
        return 0, "only speech to text"
    return EXAMPLE_CHARACTERS, "only an example"


def _contradiction(characters: float, each: float, average: float, peak: float) -> str:
    if peak > MAX_PEAK:
        return f"a peak of {peak:,.0f} requests a second is more than can be planned here ({MAX_PEAK:,})"
    said = f"{characters:,.0f} characters a month, {each:g} a request, are {average:.3g} requests a second on average"
    return f"{said}: more than --peak-rps {peak:g}; say a higher peak, or more --characters-request"


def _fits(characters_request: float, realtime_share: float, catalogue: Facts) -> None:
    standard, flash, _ = default_models(catalogue)
    model = standard if realtime_share < 1 else flash
    if characters_request > (most := catalogue["models"][model]["max_characters"]):
        raise ValueError(f"--characters-request is at most {most}: {model} takes no more at once")


def _seconds(pool: str, pools: Facts, length: float, given: float | None, measured: float | None) -> Input:
    """How long a call takes on average: as measured, else by the catalogue."""
    call = pools[pool]["call"]
    (short, long), (quick_s, slow_s) = call["audio_seconds" if pool == "stt" else "characters"], call["seconds"]
    why = f"{quick_s:g} s for {short}, {slow_s:g} for {long} ({call['sure']})"
    return _first(given, measured, call_time(pool, pools, length).mean_s, why)


def _first(given: float | None, ledger: float | None, otherwise: float, why: str) -> Input:
    if given is not None:
        return Input(given, "given")
    return Input(ledger, "ledger") if ledger is not None else Input(otherwise, "assumed", why)


def option(name: str) -> str:
    return "--" + name.replace("_", "-")
