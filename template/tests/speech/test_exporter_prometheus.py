"""What a scrape reads: every metric by name, with its help, summed over the workers."""

from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from speech.exporters.prometheus import render
from speech.meter import BUCKETS, COUNTERS, HISTOGRAMS, METRICS, Meter


def snapshot(meter: Meter | None = None, breaker: str = "closed", why: str = "", in_flight: int = 2) -> dict[str, Any]:
    """As ``Client.snapshot()`` gives it."""
    pool = {
        "limit": 5,
        "in_flight": in_flight,
        "queued": {"interactive": 1, "normal": 2, "batch": 0},
        "breaker": {"state": breaker},
    }
    latch = {"state": "latched" if why else "closed", "why": why}
    return {"flights": 3, "pools": {"flash": pool}, "latch": latch, "meter": (meter or Meter()).snapshot()}


def scraped(*snapshots: dict[str, Any]) -> dict[str, Metric]:
    body, _ = render(snapshots)
    return {family.name: family for family in text_string_to_metric_families(body.decode())}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_every_metric_is_exposed_with_its_help() -> None:
    """From the first scrape on, also where nothing happened yet, and nothing beside them."""
    exposed = {name: family.documentation for name, family in scraped(snapshot()).items()}
    names = {name: f"speech_{name.removesuffix('_s')}_seconds" for name in HISTOGRAMS}
    assert exposed == {names.get(name, f"speech_{name}"): text for name, text in METRICS.items()}


def test_counters_end_in_total_and_are_summed() -> None:
    """Two workers, one number; each label its own."""
    one, two = Meter(), Meter()
    one.count("requests", kind="tts", outcome="ok")
    two.count("requests", 4, kind="tts", outcome="ok")
    two.count("requests", kind="tts", outcome="queue_full")
    body, _ = render([snapshot(one), snapshot(two)])
    assert b'speech_requests_total{kind="tts",outcome="ok"} 5.0\n' in body
    assert b'speech_requests_total{kind="tts",outcome="queue_full"} 1.0\n' in body


def test_every_counter_keeps_its_value() -> None:
    """No name is lost on the way."""
    meter = Meter()
    for number, name in enumerate(COUNTERS, 1):
        meter.count(name, number)
    families = scraped(snapshot(meter))
    assert [values(families[f"speech_{name}"])[()] for name in COUNTERS] == list(range(1, len(COUNTERS) + 1))


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


def test_slots_and_queues_are_summed_over_the_workers() -> None:
    """Each holds its share."""
    families = scraped(snapshot(in_flight=2), snapshot(in_flight=3))
    assert values(families["speech_in_flight"]) == {("flash",): 5}
    assert values(families["speech_limit"]) == {("flash",): 10}
    assert values(families["speech_queued"]) == {
        ("flash", "interactive"): 2, ("flash", "normal"): 4, ("flash", "batch"): 0,
    }  # fmt: skip
    assert values(families["speech_flights"]) == {(): 6}


def test_one_worker_with_an_open_breaker_is_enough() -> None:
    """A state is there or not; two workers in it are not two."""
    families = scraped(snapshot(), snapshot(breaker="open"), snapshot(breaker="open"))
    assert values(families["speech_breaker"]) == {
        ("flash", "closed"): 1,
        ("flash", "half_open"): 0,
        ("flash", "open"): 1,
    }


def test_the_latch_says_why() -> None:
    """Our key, or our credits."""
    families = scraped(snapshot(), snapshot(why="quota"))
    assert values(families["speech_latch"]) == {("key",): 0, ("quota",): 1}


def test_of_a_worker_that_ended_the_counts_remain() -> None:
    """It holds no slots, and a counter must never fall."""
    meter = Meter()
    meter.count("cache", result="hit")
    families = scraped(snapshot(), {"pools": {}, "flights": 0, "meter": meter.snapshot()})
    assert values(families["speech_cache"]) == {("hit",): 1}


def test_odd_labels_are_escaped() -> None:
    """A model's name is the vendor's to choose."""
    meter = Meter()
    meter.count("credits", model='a"b\\c\nd')
    assert values(scraped(snapshot(meter))["speech_credits"]) == {('a"b\\c\nd',): 1}


def test_it_is_plain_text() -> None:
    """Prometheus goes by the content type."""
    assert render([snapshot()])[1].startswith("text/plain; version=")
