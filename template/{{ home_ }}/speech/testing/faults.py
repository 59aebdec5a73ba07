"""Faults on demand.

A fault is written ``name;key=value;…``.  It strikes one call to a voice or to speech to text, after the request was
found valid: by the header ``X-Sandbox-Fault``, else the next of the ordered ones, else one drawn by its share.

================== ================================================================================== ==========
``ok``             no fault: a place in an ordered list                                               full
``slow;s=2``       ``s`` more seconds before the headers                                              full
``stall;after=3``  silence for ``s`` seconds (60) after 3 pieces, then on to the end                  full
``cut;after=3``    the connection is reset after 3 pieces                                             full
``early_end;…``    a clean end after 3 pieces, as if that were all                                    full
``silence``        whole audio without a sound; for speech to text: nothing was said                  full
``empty``          200 without one byte of audio; for speech to text: an empty text                   coin
``html``           200 with a web page where audio or JSON should be                                  coin
``500`` ``504``    their fault, as JSON; at the edge, with an empty body                              coin
``502``            at the edge, with a web page                                                       coin
``reset``          the connection is reset before any header                                          coin
``timeout``        no answer for ``s`` seconds (600), then a reset                                    coin
``503``            away for maintenance                                                               free
``429;kind=busy``  ``kind``: ``concurrent`` (default), ``busy``, ``rate``; ``retry_after=2`` if given free
``401`` ``402``    out of credits, in the usual and in the documented form; ``401;kind=key``: a bad   free
                   key, ``401;kind=permission``: a key without the scope
================== ================================================================================== ==========

The last column says what it costs: *coin* is a seeded toss between the full price and nothing.
``after`` counts pieces: an answer has eight of them, a long one more, and is always struck before its last.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PAID = ("ok", "slow", "stall", "cut", "early_end", "silence")
COINS = ("empty", "html", "reset", "timeout", "500", "502", "504")
REFUSALS = ("401", "402", "429", "503")
NAMES = PAID + COINS + REFUSALS
HOLD_S = {"slow": 2.0, "stall": 60.0, "timeout": 600.0}
KINDS = {"429": ("concurrent", "busy", "rate"), "401": ("quota", "key", "permission")}


@dataclass(frozen=True)
class Fault:
    name: str = "ok"
    after: int = 3
    s: float = 0.0
    kind: str = ""
    retry_after: int | None = None


OK = Fault()


def parse(spec: str) -> Fault:
    """Read ``name;key=value``; raises ValueError with a line that says what is wrong."""
    name, *pairs = (part.strip() for part in spec.split(";"))
    if name not in NAMES:
        raise ValueError(f"unknown fault {name[:40]!r}; there are {', '.join(NAMES)}")
    given = dict(pair.partition("=")[::2] for pair in pairs if pair)
    kinds = KINDS.get(name, ("",))
    fault = Fault(
        name,
        after=_number(given, "after", int, 3),
        s=_number(given, "s", float, HOLD_S.get(name, 0.0)),
        kind=given.pop("kind", kinds[0]),
        retry_after=_number(given, "retry_after", int, None),
    )
    if given or fault.kind not in kinds:
        raise ValueError(f"fault {name!r} takes no {', '.join(given) or 'kind=' + fault.kind}")
    return fault


def _number(given: dict[str, str], key: str, of: Any, default: Any) -> Any:
    text = given.pop(key, None)
    try:
        value = default if text is None else of(text)
    except ValueError:
        raise ValueError(f"{key}={text!r} is not a number") from None
    if value is not None and not 0 <= value < 1e6:
        raise ValueError(f"{key}={text} is out of range")
    return value


@dataclass
class Plan:
    """Which fault strikes which call: the same calls under the same seed meet the same faults."""

    seed: int = 0
    ordered: deque[Fault] = field(default_factory=deque)
    shares: list[tuple[Fault, float]] = field(default_factory=list)

    def chance(self, call: int, what: str) -> float:
        """Between 0 and 1, fixed by the seed, the number of the call and what is asked."""
        return random.Random(f"{self.seed}/{call}/{what}").random()

    def next(self, call: int) -> Fault:
        if self.ordered:
            return self.ordered.popleft()
        drawn = self.chance(call, "fault") if self.shares else 0.0
        for fault, share in self.shares:
            if drawn < share:
                return fault
            drawn -= share
        return OK


def read(entries: Sequence[Any]) -> tuple[deque[Fault], list[tuple[Fault, float]]]:
    """Texts (in order, one a call) and ``{"fault": …, "share": 0.1}``, apart; raises ValueError."""
    shares = [_share(entry) for entry in entries if not isinstance(entry, str)]
    if sum(share for _, share in shares) > 1:
        raise ValueError("the shares add up to more than 1")
    return deque(parse(entry) for entry in entries if isinstance(entry, str)), shares


def _share(entry: Any) -> tuple[Fault, float]:
    if not isinstance(entry, dict) or set(entry) != {"fault", "share"} or not isinstance(entry["fault"], str):
        raise ValueError('each is "name;key=value" or {"fault": "name;key=value", "share": 0.1}')
    share = entry["share"]
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError("share is a number from 0 to 1")
    return parse(entry["fault"]), float(share)
