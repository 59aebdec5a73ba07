"""How the service does: what is wrong, who is in flight, how fast ElevenLabs is, what failed, what the cache saves."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from ...meter import BUCKETS
from .marks import Html, bar, keys, name, past, percent, seconds, section, size, spread, table, tag, whole

Facts = Mapping[str, Any]
Counts = Mapping[str, Counter[str]]

LATCHED = {
    "key": "ElevenLabs refuses our key: calls fail at once, but for one try a minute.",
    "quota": "The account is out of credits: calls fail at once, but for one try a minute.",
}
SHARING = {
    "joined": "with all processes",
    "idle": "not used yet",
    "learning": "joining",
    "alone": "alone",
}


def alarms(now: Facts) -> Iterator[str]:
    """What somebody has to know first."""
    if now["draining"]:
        yield "Draining: no new work is taken; what is under way ends."
    elif not now["ready"]:
        yield "Not ready: no key of ElevenLabs is set."
    if why := now["latch"]["why"]:
        yield LATCHED[why]
    for pool, state in now["pools"].items():
        if state["breaker"]["state"] != "closed":
            yield f"Pool {pool}: ElevenLabs is failing; calls are refused until a single try succeeds."
    if alone := [part for part, state in now["store"].items() if state == "alone"]:
        yield f"Not shared at present: {', '.join(alone)}. Each process goes on by itself, within its share."


def pools(now: Facts) -> Html:
    heads = ("pool", "in flight", "waiting", "last two minutes", "refused", "breaker")
    rows = [_pool(pool, state) for pool, state in now["pools"].items()]
    return section("pools", "Pools", table(heads, rows), note=keys("in flight", "waiting"))


def _pool(pool: str, now: Facts) -> Sequence[str]:
    flying, limit, waiting = now["in_flight"], now["limit"], sum(now["queued"].values())
    plan = "" if limit == now["plan"] else f" (plan {now['plan']})"
    by_priority = ", ".join(f"{number} {priority}" for priority, number in now["queued"].items() if number)
    return (
        pool,
        tag("span", f"{flying} of {limit}{plan}", bar(flying, limit)),
        by_priority or "nobody",
        past(pool, f"{pool}: {flying} in flight, {waiting} waiting", flying, waiting),
        whole(now["shed"]),
        _breaker(now["breaker"]),
    )


def _breaker(now: Facts) -> str:
    if now["state"] == "closed":
        return "closed"
    again = f", next try in {now['retry_after_s']:.0f} s" if now["retry_after_s"] else ", the next call is a try"
    return tag("span", now["state"].replace("_", " ") + again, class_="bad")


# ----------------------------------------------------------------------------------------------------------- how fast


def speed(histograms: Sequence[Any]) -> Html:
    models: dict[str, dict[str, Sequence[int]]] = {}
    for what, labels, times in histograms:
        if what in ("first_byte_s", "last_byte_s"):
            models.setdefault(labels["model"], {})[what] = times["buckets"]
    heads = ("model", "calls", "first byte p50", "first byte p95", "last byte p50", "last byte p95", "p50 to p95")
    times = table(heads, [_model(model, buckets) for model, buckets in sorted(models.items())])
    return section("speed", "ElevenLabs' time to answer", times, note=keys("first byte", "last byte", dashed=False))


def _model(model: str, buckets: Mapping[str, Sequence[int]]) -> Sequence[str]:
    bytes_ = buckets["first_byte_s"], buckets["last_byte_s"]
    first, last = ([quantile(times, share) for share in (0.5, 0.95)] for times in bytes_)
    return name(model), whole(sum(bytes_[0])), *map(_time, (*first, *last)), spread(first, last)


def _time(value: float) -> str:
    return f"over {seconds(BUCKETS[-1])}" if value > BUCKETS[-1] else seconds(value)


def quantile(buckets: Sequence[int], share: float) -> float:
    """Of what the meter counted in its BUCKETS, as Prometheus reads it: evenly spread in each; infinite beyond them."""
    wanted, sums = share * sum(buckets), list(accumulate(buckets))
    n = next(n for n, number in enumerate(sums) if number and number >= wanted)
    if n == len(BUCKETS):
        return float("inf")
    low, high = (0.0, *BUCKETS)[n], BUCKETS[n]
    return low + (high - low) * (wanted - (sums[n] - buckets[n])) / buckets[n]


# --------------------------------------------------------------------------------------------------------- what failed


def failed(outcomes: Counter[str]) -> Counter[str]:
    """By code. Whoever hung up did not fail."""
    return Counter({code: number for code, number in outcomes.items() if code not in ("ok", "left")})


def errors(outcomes: Counter[str], refusals: Counter[str]) -> Html:
    """Requests, by what their callers heard."""
    asked = sum(outcomes.values())
    rows = [
        (_words(code), "refused here" if code in refusals else "failed", whole(number), percent(number, asked))
        for code, number in failed(outcomes).most_common()
    ]
    return section("errors", "Requests that failed", table(("error", "how", "times", "share"), rows), width="half")


def attempts(upstream_errors: Counter[str], retries: Counter[str]) -> Html:
    """Calls, by what ElevenLabs said; many a request was answered by the next one."""
    rows = [(_words(code), "failed", whole(number)) for code, number in upstream_errors.most_common()]
    rows += [(_words(code), "tried again", whole(number)) for code, number in retries.most_common()]
    made = table(("at ElevenLabs", "what", "times"), rows)
    return section("attempts", "Attempts that failed", made, width="half")


def _words(code: str) -> str:
    return code.replace("_", " ")


# ------------------------------------------------------------------------------------------------- what is kept, where


def saved(results: Counter[str]) -> Counter[str]:
    """By result: what nobody had to pay."""
    return Counter({how: number for how, number in results.items() if how in ("hit", "coalesced", "stale")})


def cache(now: Facts, counts: Counts) -> Html:
    results = counts["cache"]
    looked = sum(results.values())
    rows = [(_words(how), whole(number), percent(number, looked)) for how, number in results.most_common()]
    room = (
        tag("p", f"{size(now['bytes'])} of {size(now['bytes_max'])}, recordings: {whole(now['entries'])}",
            bar(now["bytes"], now["bytes_max"]))
        if now else tag("p", "The cache does not answer at present.", class_="note")
    )  # fmt: skip
    spared = sum(counts["saved_bytes"].values())
    told = f"{size(spared)} of audio that ElevenLabs was not asked for" if spared else ""
    return section("cache", "Audio cache", room, table(("result", "texts", "share"), rows), note=told, width="third")


def store(parts: Mapping[str, str]) -> Html:
    rows = [(part, _sharing(state)) for part, state in parts.items()]
    told = table(("part", "state"), rows, "Nothing is: each process has its part of the plan.")
    return section("store", "Shared", told, width="third")


def _sharing(state: str) -> str:
    return tag("span", SHARING[state], class_="bad") if state == "alone" else SHARING[state]
