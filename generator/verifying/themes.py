"""All themes, in the order of the scorecard."""

from . import cost, drain, errors, limits, recovery, security, settings

ALL = (limits.THEME, errors.THEME, security.THEME, cost.THEME, drain.THEME, recovery.THEME, settings.THEME)
