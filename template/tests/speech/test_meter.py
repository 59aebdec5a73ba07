"""The meter: plain sums under known names."""

import json

import pytest

from speech.meter import BUCKETS, METRICS, Meter


def test_counts_add_up_by_labels() -> None:
    """The same labels are one number, others another."""
    meter = Meter()
    meter.count("cache", result="hit")
    meter.count("cache", result="hit")
    meter.count("cache", result="miss")
    meter.count("cost_usd", 0.25, model="flash")
    assert meter.snapshot()["counters"] == [
        ["cache", {"result": "hit"}, 2],
        ["cache", {"result": "miss"}, 1],
        ["cost_usd", {"model": "flash"}, 0.25],
    ]


def test_a_time_falls_into_the_first_bucket_that_holds_it() -> None:
    """Bounds belong to the bucket below; what is beyond all is counted too."""
    meter = Meter()
    for seconds in (0.01, BUCKETS[0], BUCKETS[0] + 0.001, 1000.0):
        meter.time("queue_wait_s", seconds, pool="flash", priority="normal")
    ((_, _, times),) = meter.snapshot()["histograms"]
    assert times["buckets"] == [2, 1, *[0] * (len(BUCKETS) - 2), 1]
    assert times["count"] == 4 and times["sum"] == pytest.approx(1000.111)


def test_buckets_fit_speech() -> None:
    """From a cached phrase to a long recording, in order."""
    assert BUCKETS[0] == 0.05 and BUCKETS[-1] == 120
    assert list(BUCKETS) == sorted(set(BUCKETS))


def test_an_unknown_name_is_refused() -> None:
    """METRICS is the one home of names; a gauge is not counted, nor a counter timed."""
    meter = Meter()
    for name in ("reqests", "limit", "queue_wait_s"):
        with pytest.raises(KeyError):
            meter.count(name)
    with pytest.raises(KeyError):
        meter.time("requests", 1.0)


def test_every_metric_says_what_it_is() -> None:
    """One sentence each."""
    assert all(text.endswith(".") and len(text) > 20 for _, text, *_ in METRICS.values())


def test_a_snapshot_is_plain_and_apart() -> None:
    """It survives JSON, and what happens later doesn't change it."""
    meter = Meter()
    meter.count("requests", kind="tts", outcome="ok")
    meter.time("first_byte_s", 0.2, model="m")
    before = meter.snapshot()
    meter.time("first_byte_s", 0.2, model="m")
    assert json.loads(json.dumps(before)) == before
    times = before["histograms"][0][2]
    assert times["count"] == sum(times["buckets"]) == 1
