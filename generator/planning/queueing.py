"""Calls at once, and the wait for a slot, in closed form: Little's law and Erlang C (the queue M/M/c)."""

import math
from collections.abc import Iterator


def little(rate: float, call_s: float) -> float:
    """Calls under way at once, on average: calls a second times the seconds that one takes."""
    return rate * call_s


def erlang_c(slots: int, at_once: float) -> float:
    """The share of calls that find all *slots* taken; 1 where so many slots can't carry the load at all."""
    if at_once >= slots:
        return 1.0
    return next(waiting for number, waiting in _erlang_c(at_once) if number == slots)


def late_share(slots: int, at_once: float, call_s: float, wait_s: float) -> float:
    """The share of calls that wait longer than *wait_s*."""
    if at_once >= slots:
        return 1.0
    return _late(erlang_c(slots, at_once), slots, at_once, call_s, wait_s)


def slots_for(at_once: float, call_s: float, wait_s: float, late: float) -> int:
    """The fewest slots with which no more than the share *late* waits longer than *wait_s*; 0 for no load."""
    if at_once <= 0:
        return 0
    enough = (n for n, c in _erlang_c(at_once) if n > at_once and _late(c, n, at_once, call_s, wait_s) <= late)
    return next(enough)


def _late(waiting: float, slots: int, at_once: float, call_s: float, wait_s: float) -> float:
    return waiting * math.exp(-(slots - at_once) * wait_s / call_s)


def _erlang_c(at_once: float) -> Iterator[tuple[int, float]]:
    """For 1, 2, 3 ... slots, by the recursion of Erlang B: exact, and without factorials."""
    blocked, slots = 1.0, 0
    while True:
        slots += 1
        blocked = at_once * blocked / (slots + at_once * blocked)
        yield slots, blocked / (1 - min(1.0, at_once / slots) * (1 - blocked)) if at_once < slots else 1.0
