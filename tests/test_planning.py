"""`plan`'s arithmetic: money by hand, queues by their formulas, and the discipline against the rendered limiter."""

import copy
import math
import random
import statistics
from itertools import pairwise
from typing import Any

import pytest
from rendering import Renders, home

from benchmarks.planner import furthest_apart, import_rendered, rendered_waits
from generator import catalogue
from generator.planning import choose, queueing
from generator.planning.cost import Prices, Use, bill
from generator.planning.load import Given, load
from generator.planning.simulate import BATCH, INTERACTIVE, LOST, NORMAL, Call, most_at_once, serve
from generator.planning.waits import CALLS, RUNS, CallTime, Demand, estimate, summary, waits

FACTS = catalogue.load()
PLAIN = CallTime(0.0, 1.0, 1.0)  # exponential, a second on average
LIBRARY = {"layout": "service", "framework": "none", "cache_backend": "disk", "metrics": "none"}


@pytest.fixture(scope="module")
def speech(renders: Renders) -> Any:
    """The modules of a render that the planner is held against."""
    return import_rendered(home(renders.of(LIBRARY)).parent, "acme_voice")


def planned(**given: float) -> choose.Plan:
    return choose.plan(load(Given(**given), None, FACTS), FACTS)


# By hand: speech at 0.08 or 0.04 USD a 1,000, against what the plan's price buys; topped up by 5 USD at least.
# In order: plan, use, speech, above the allowance, topped up, in all; and a legacy account's bill (None: it stops).
BILLS = [
    ("free", Use(standard=10_000), 0.80, 0, 0, 0, 0),
    ("free", Use(flash=20_000), 0.80, 0, 0, 0, 0),
    ("free", Use(standard=60_000), 4.80, 4.00, 5, 5, None),
    ("payg", Use(standard=50_000), 4.00, 3.20, 5, 5, None),
    ("payg", Use(flash=1_000_000), 40.00, 39.20, 39.20, 39.20, None),
    ("starter", Use(standard=75_000), 6.00, 0, 0, 6, None),
    ("starter", Use(standard=100_000), 8.00, 2.00, 5, 11, None),
    ("creator", Use(standard=500_000), 40.00, 18.00, 18, 40, 22 + 379 * 0.30),
    ("pro", Use(standard=1_000_000), 80.00, 0, 0, 99, 99 + 400 * 0.24),
    ("pro", Use(standard=2_000_000), 160.00, 61.00, 61, 160, 99 + 1400 * 0.24),
    ("pro", Use(flash=2_000_000), 80.00, 0, 0, 99, 99 + 400 * 0.24),
    ("scale", Use(standard=3_000_000, flash=2_000_000), 320.00, 21.00, 21, 320, 299 + 2200 * 0.18),
    ("business", Use(standard=13_000_000), 1040.00, 50.00, 50, 1040, 990 + 7000 * 0.12),
    ("starter", Use(stt_hours=10), 0, 0, 5, 11, 6 + 2.20),
    ("creator", Use(standard=300_000, stt_hours=100), 24.00, 2.00, 24, 46, 22 + 179 * 0.30 + 22),
]


@pytest.mark.parametrize(("name", "use", "speech_usd", "over", "top_up", "total", "legacy"), BILLS)
def test_bills_by_hand(
    name: str, use: Use, speech_usd: float, over: float, top_up: float, total: float, legacy: float | None
) -> None:
    """Every kind of plan: within its allowance, above it by less than a top-up and by more, with speech to text."""
    found = bill(FACTS["plans"][name], Prices.of(FACTS), use)

    assert found
    assert (found.speech, found.over, found.top_up, found.total) == pytest.approx((speech_usd, over, top_up, total))
    assert found.legacy_total == (legacy if legacy is None else pytest.approx(legacy))


def test_a_contract_has_no_bill() -> None:
    """Nobody publishes what enterprise costs, so neither do we."""
    assert bill(FACTS["plans"]["enterprise"], Prices.of(FACTS), Use(standard=1)) is None


def test_speech_to_text_out_of_the_allowance() -> None:
    """The other reading of the price list is told too: 22 USD of plan against 24 of speech and 22 of listening."""
    found = bill(FACTS["plans"]["creator"], Prices.of(FACTS), Use(standard=300_000, stt_hours=100))

    assert found
    assert found.total_if_stt_included == pytest.approx(22 + 24)


def test_prices_come_of_the_catalogue() -> None:
    """Another price there is another bill here."""
    dearer = copy.deepcopy(FACTS)
    dearer["models"]["scribe_v2"]["usd_per_hour"] *= 2
    dearer["models"]["eleven_flash_v2_5"]["usd_per_1000_characters"] *= 2
    use = Use(flash=10_000_000, stt_hours=100)
    before, after = (bill(FACTS["plans"]["starter"], Prices.of(facts), use) for facts in (FACTS, dearer))

    assert before and after
    assert (after.speech, after.stt) == pytest.approx((2 * before.speech, 2 * before.stt))


@pytest.mark.parametrize(
    ("slots", "at_once", "waiting"), [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (2, 2.0, 1.0), (5, 9.0, 1.0)]
)
def test_erlang_c(slots: int, at_once: float, waiting: float) -> None:
    """Textbook values, and certainty where the load can't be carried."""
    assert queueing.erlang_c(slots, at_once) == pytest.approx(waiting)


def test_slots_for_a_wait_are_the_fewest() -> None:
    """One less, and more than one in a hundred waits too long."""
    for rate in (0.1, 1, 7.5, 40, 2000):
        at_once = queueing.little(rate, 2.0)
        slots = queueing.slots_for(at_once, 2.0, 0.5, 0.01)

        assert queueing.late_share(slots, at_once, 2.0, 0.5) <= 0.01
        assert slots == 1 or queueing.late_share(slots - 1, at_once, 2.0, 0.5) > 0.01
    assert queueing.slots_for(0, 2.0, 0.5, 0.01) == 0


@pytest.mark.parametrize("mean_length", [5, 60, 480, 3000])
def test_long_recordings_weigh_more(mean_length: float) -> None:
    """The closed form of seconds times slots is what drawn recordings take."""
    time = CallTime(1.0, 1 / 8, mean_length, segment=480, max_weight=4)
    demand = Demand("stt", 1.0, time)
    drawn = statistics.fmean(call.service_s * call.weight for call in demand.calls(seed=1, number=40_000))

    assert drawn == pytest.approx(time.slot_s, rel=0.03)


@pytest.mark.parametrize(("slots", "used"), [(1, 0.6), (5, 0.8), (20, 0.85)])
def test_the_simulation_agrees_with_erlang_c(slots: int, used: float) -> None:
    """In an M/M/c queue with patient callers: mean wait and share of waiters, within twice the interval over runs."""
    rate, runs = slots * used, []
    for seed in range(RUNS):
        calls = [call._replace(patience_s=math.inf) for call in Demand("x", rate, PLAIN).calls(seed, 4000)]
        waited = serve(calls, slots)[500:]
        runs.append((statistics.fmean(waited), sum(wait > 0 for wait in waited) / len(waited)))
    exact = queueing.erlang_c(slots, rate)
    for column, expected in zip(zip(*runs, strict=True), (exact / (slots - rate), exact), strict=True):
        found = estimate(column)

        assert abs(found.mean - expected) <= 2 * (found.high - found.mean)


def any_calls(chance: random.Random) -> list[Call]:
    """Of all priorities and weights, hurried and patient, in bursts and lulls; instants that never coincide."""
    calls, instant, pace = [], 0.0, chance.choice((0.2, 1.0, 20.0))
    for _ in range(chance.randint(1, 80)):
        instant += chance.expovariate(1 / pace)
        calls.append(
            Call(
                instant,
                chance.expovariate(1 / chance.choice((1.0, 8.0, 60.0))),
                patience_s=chance.choice((0.5, 5.0, 30.0, 300.0)) * chance.uniform(0.5, 1),
                priority=chance.choice((INTERACTIVE, INTERACTIVE, NORMAL, BATCH)),
                weight=chance.choice((1, 1, 1, 2, 4)),
                guess_s=chance.uniform(0.5, 3),
            )
        )
    return calls


def test_every_call_waits_as_long_as_at_the_rendered_limiter(speech: Any) -> None:
    """The discipline is the limiter's, call by call: order, ageing, kept slots, weights, shedding, a full line."""
    lost = waited = 0
    for seed in range(150):
        chance = random.Random(seed)
        calls, slots = any_calls(chance), chance.randint(1, 8)
        reserved, size = chance.choice((0, 0, 0.3, 2, 20)), chance.choice((0, 3, 1000))
        ours, theirs = serve(calls, slots, reserved, size), rendered_waits(speech, calls, slots, reserved, size)

        assert furthest_apart(ours, theirs) < 1e-6, (seed, slots, reserved, size)
        lost += ours.count(LOST)
        waited += sum(0 < wait < LOST for wait in ours)

    assert lost > 500 and waited > 500, "nothing was on trial"


@pytest.mark.parametrize(
    ("given", "pool", "slots"),
    [
        (Given(1e6, 3.35), "standard", 10),
        (Given(1e6, 31.0, 1.0, max_wait=0.2, batch_share=0.2), "flash", 20),
    ],
    ids=("standard", "flash"),
)
def test_predictions_hold_at_the_rendered_limiter(speech: Any, given: Given, pool: str, slots: int) -> None:
    """Its waits in peaks that the prediction has not seen lie where both intervals meet."""
    demand = next(d for d in load(given, None, FACTS).demands(FACTS["pools"]) if d.pool == pool)
    runs = []
    for seed in range(RUNS, RUNS + 3):
        calls = list(demand.calls(seed))
        runs.append(summary(demand, calls, rendered_waits(speech, calls, slots)))
    predicted = waits(demand, slots)
    for what, estimated, found in zip(predicted._fields, predicted, zip(*runs, strict=True), strict=True):
        slack = 4.303 * statistics.stdev(found) / math.sqrt(3)  # 95 % of three runs

        assert estimated.low - slack <= statistics.fmean(found) <= estimated.high + slack, what


def test_more_slots_never_make_anybody_wait_longer() -> None:
    """Call by call where all are equal; and in the figures that plans are judged by, with everything mixed."""
    calls = [call._replace(patience_s=math.inf) for call in Demand("x", 9.0, PLAIN).calls(1, 1500)]
    for fewer, more in pairwise(serve(calls, slots) for slots in range(8, 16)):
        assert all(b <= a + 1e-9 for a, b in zip(fewer, more, strict=True))

    demand = Demand("flash", 9.0, PLAIN, INTERACTIVE, batch_share=0.2, max_wait_s=0.5)
    late = [waits(demand, slots).late.mean for slots in (6, 9, 10, 12, 15, 40)]
    assert late == sorted(late, reverse=True)
    assert late[0] > 0.5 and late[-1] == 0


def test_where_nobody_can_wait_nothing_is_simulated() -> None:
    """As many slots as these calls ever take at once: then a simulation finds no wait, and with one less it does."""
    calls = list(Demand("x", 5.0, PLAIN).calls(3, CALLS))
    most = most_at_once(calls)

    assert max(serve(calls, most)) == 0
    assert max(serve(calls, most - 1)) > 0


def test_batch_waits_and_the_others_do_not() -> None:
    """Under one load, more of it at batch priority is fewer that come too late."""
    everybody, some = (
        waits(Demand("flash", 10.2, PLAIN, INTERACTIVE, share, max_wait_s=1.0), 10).late.mean for share in (0.0, 0.4)
    )

    assert everybody > 0.5 and some < 0.1


def test_zero_load_costs_nothing() -> None:
    """Free is enough, and the cheapest for a product is named beside it."""
    found = planned(characters_month=0)

    assert found.chosen and found.licensed
    assert (found.chosen.name, found.chosen.total, found.licensed.name) == ("free", 0, "starter")
    assert (found.savings, found.unsure, set(found.slots_needed.values())) == ((), (), {0})


def test_the_cheapest_that_is_enough_is_chosen() -> None:
    """No cheaper one is enough, and each that is not says why."""
    found = planned(characters_month=1e6, peak_rps=2, realtime_share=0.3)
    enough = [tier for tier in found.tiers if tier.sufficient]

    assert found.chosen and found.chosen.name == "pro"
    assert found.chosen.total == min(tier.total for tier in enough)
    assert all(bool(tier.why_not) is (tier.sufficient is False) for tier in found.tiers)
    assert [tier.name for tier in found.tiers if tier.sufficient is None] == ["enterprise"]


def test_money_is_not_topped_up_on_what_has_no_licence() -> None:
    """Free with 160 USD on top would be the cheapest by 0.80; a product may not use it."""
    found = planned(characters_month=2e6)
    free = found.tiers[0]

    assert found.chosen and found.chosen.name == "starter"
    assert free.name == "free" and free.total < found.chosen.total
    assert "commercial" in free.why_not[0]


def test_only_speech_to_text() -> None:
    """No characters are assumed then, and no slot of the other pools."""
    found = planned(stt_hours=200, max_wait=10)

    assert found.chosen and found.chosen.bill
    assert (found.chosen.bill.speech, found.chosen.bill.stt) == pytest.approx((0, 44.0))
    assert [pool for pool, slots in found.slots_needed.items() if slots] == ["stt"]


def test_where_nothing_is_enough_it_says_what_would_be() -> None:
    """How many slots a contract needs; and a longer wait, with which planning anew does find a plan."""
    found = planned(characters_month=5e6, peak_rps=5.5, max_wait=0.1)

    assert found.chosen is None and found.patient
    wait_s = float(found.patient.what.split()[1])
    again = planned(characters_month=5e6, peak_rps=5.5, max_wait=wait_s)
    assert again.chosen and again.chosen.name == found.patient.tier
    assert found.slots_needed["standard"] > 15


def test_a_load_beyond_everything() -> None:
    """No plan, no wait and no cache would do; the contract is still told how large."""
    found = planned(characters_month=5e10, peak_rps=9000)

    assert (found.chosen, found.patient) == (None, None)
    assert all(saving.tier is None for saving in found.savings)
    assert found.slots_needed["standard"] > 20_000


def test_what_is_measured_replaces_what_is_assumed() -> None:
    """A call's measured seconds change the slots in proportion, and the doubtful fact is no longer named."""
    assumed, measured = (load(Given(peak_rps=1, realtime_share=1, seconds_call=s), None, FACTS) for s in (None, 2))
    before, after = (each.demands(FACTS["pools"])[1] for each in (assumed, measured))

    assert after.at_once == pytest.approx(before.at_once * 2 / before.time.mean_s)
    assert "pools.flash.call" in [fact.path for fact in choose.unsure(assumed, FACTS)]
    assert "pools.flash.call" not in [fact.path for fact in choose.unsure(measured, FACTS)]


def test_each_of_characters_and_peak_makes_the_other() -> None:
    """There and back again."""
    forth = load(Given(characters_month=3e6), None, FACTS)
    back = load(Given(peak_rps=forth.peak_rps.value), None, FACTS)

    assert back.characters_month.value == pytest.approx(3e6)
    assert (forth.peak_rps.origin, back.characters_month.origin) == ("derived", "assumed")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"characters_month": -1}, "--characters-month is a number from 0 to 1e+12, not -1"),
        ({"peak_rps": math.nan}, "--peak-rps is a number from 0 to 10000, not nan"),
        ({"max_wait": math.inf}, "--max-wait is a number from 0 to 300, not inf"),
        ({"realtime_share": 1.01}, "--realtime-share is a number from 0 to 1, not 1.01"),
        ({"characters_month": 1e9, "peak_rps": 0.1}, "more than --peak-rps 0.1"),
        ({"characters_month": 1e12}, "more than can be planned here"),
        ({"characters_request": 20_000}, "--characters-request is at most 10000: eleven_multilingual_v2"),
    ],
)
def test_numbers_that_cannot_be(given: dict[str, float], said: str) -> None:
    """One line that names the option and its bounds, or what contradicts what."""
    with pytest.raises(ValueError, match=said.replace("+", r"\+")):
        planned(**given)
