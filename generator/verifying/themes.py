"""All themes, in the order of the scorecard."""

from . import errors, limits

ALL = (limits.THEME, errors.THEME)
