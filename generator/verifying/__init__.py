"""``verify``: a rendered project is started and put to the test, promise by promise.

``project`` finds out what was rendered, ``stage`` starts it against its own sandbox, the themes (``limits``,
``errors``, ``security``, ``cost``, ``drain``, ``recovery``, ``settings``) say what is promised and look whether it
holds, ``running`` runs them side by side, ``scorecard`` tells it.
"""
