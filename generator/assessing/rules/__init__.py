"""The rules, each by its id; docs/assess.md says each at length."""

from ..rule import Rule
from . import blocking, endings, environment, fanout, keys, limiters, repeats, retries, routes, sdk, timeouts

RULES: dict[str, Rule] = {
    rule.id: rule
    for module in (keys, environment, timeouts, retries, blocking, fanout, limiters, repeats, routes, endings, sdk)
    for rule in module.RULES
}
