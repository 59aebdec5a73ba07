"""What a scrape reads: every metric by name, with its help."""

from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from speech.exporters.prometheus import render
from speech.meter import BUCKETS, METRICS, Meter


def snapshot(meter: Meter | None = None, breaker: str = "closed", why: str = "") -> dict[str, Any]:
    """As ``Client.snapshot()`` gives it."""
    pool = {
        "plan": 10,
        "ceiling": 8,
        "limit": 5,
        "limit_changes": 2,
        "in_flight": 2,
        "queued": {"interactive": 1, "normal": 2, "batch": 0},
        "breaker": {"state": breaker},
    }
    latch = {"state": "latched" if why else "closed", "why": why}
    store = {"slots": "joined", "money": "alone", "audio": "idle"}
    now = {"flights": 3, "pools": {"flash": pool}, "latch": latch, "store": store, "retry": {"budget": 9.5}}
    return now | {"meter": (meter or Meter()).snapshot()}


def scraped(snapshot: dict[str, Any]) -> dict[str, Metric]:
    body, _ = render(snapshot)
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_every_metric_is_exposed_with_its_help() -> None:
    """From the first scrape on, also where nothing happened yet, and nothing beside them."""
    exposed = {name: (family.type, family.documentation) for name, family in scraped(snapshot()).items()}
    names = {name: name + "econds" * (kind == "histogram") for name, (kind, *_) in METRICS.items()}
    assert exposed == {f"speech_{names[name]}": tuple(said[:2]) for name, said in METRICS.items()}


def test_counters_end_in_total() -> None:
    """Each label its own."""
    meter = Meter()
    meter.count("requests", 5, kind="tts", outcome="ok")
    meter.count("requests", kind="tts", outcome="queue_full")
    body, _ = render(snapshot(meter))
    assert b'speech_requests_total{kind="tts",outcome="ok"} 5.0\n' in body
    assert b'speech_requests_total{kind="tts",outcome="queue_full"} 1.0\n' in body


def test_every_counter_keeps_its_value() -> None:
    """No name is lost on the way."""
    meter, counters = Meter(), [name for name, (kind, *_) in METRICS.items() if kind == "counter"]
    for number, name in enumerate(counters, 1):
        meter.count(name, number)
    families = scraped(snapshot(meter))
    assert [values(families[f"speech_{name}"])[()] for name in counters] == list(range(1, len(counters) + 1))


def test_buckets_are_cumulative() -> None:
    """Each holds the smaller ones, the last holds all; sum and count agree."""
    meter = Meter()
    for seconds in (0.01, 0.3, 500.0):
        meter.time("first_byte_s", seconds, model="m")
    samples = scraped(snapshot(meter))["speech_first_byte_seconds"].samples
    held = {s.labels["le"]: s.value for s in samples if s.name.endswith("_bucket")}
    assert len(held) == len(BUCKETS) + 1
    assert (held["0.05"], held["0.2"], held["0.3"], held["120.0"], held["+Inf"]) == (1, 1, 2, 2, 3)
    assert {s.name.rpartition("_")[2]: s.value for s in samples if "le" not in s.labels} == {
        "sum": pytest.approx(500.31),
        "count": 3,
    }


def test_pools_tell_their_slots_and_queues() -> None:
    """By pool, and what waits by priority too."""
    families = scraped(snapshot())
    for name, value in {"in_flight": 2, "limit": 5, "ceiling": 8, "plan": 10, "limit_changes": 2}.items():
        assert values(families[f"speech_{name}"]) == {("flash",): value}
    assert values(families["speech_queued"]) == {
        ("flash", "interactive"): 1, ("flash", "normal"): 2, ("flash", "batch"): 0,
    }  # fmt: skip
    assert (values(families["speech_flights"]), values(families["speech_retry_budget"])) == ({(): 3}, {(): 9.5})


def test_a_breaker_is_in_one_state() -> None:
    """The others are told as zero, so that a graph of them has no holes."""
    families = scraped(snapshot(breaker="open"))
    assert values(families["speech_breaker"]) == {
        ("flash", "closed"): 0,
        ("flash", "half_open"): 0,
        ("flash", "open"): 1,
    }


def test_the_latch_says_why() -> None:
    """Our key, or our credits."""
    families = scraped(snapshot(why="quota"))
    assert values(families["speech_latch"]) == {("key",): 0, ("quota",): 1}


def test_odd_labels_are_escaped() -> None:
    """A model's name is the vendor's to choose."""
    meter = Meter()
    meter.count("credits", model='a"b\\c\nd')
    assert values(scraped(snapshot(meter))["speech_credits"]) == {('a"b\\c\nd',): 1}


def test_it_is_plain_text() -> None:
    """Prometheus goes by the content type."""
    assert render(snapshot())[1].startswith("text/plain; version=")


def test_what_processes_do_not_share_any_more_is_told() -> None:
    """By part; what was not used yet is not ill."""
    assert values(scraped(snapshot())["speech_store"]) == {("slots",): 1, ("money",): 0, ("audio",): 1}
