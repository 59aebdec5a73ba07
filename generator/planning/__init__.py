"""From a load to the cheapest plan that carries it.

``load`` what is asked for, given, read from ``history`` or assumed · ``queueing`` closed forms · ``simulate`` the
rendered limiter's discipline on a list of calls · ``waits`` many such runs, with intervals · ``cost`` money ·
``choose`` all of it, for every plan · ``draw`` for eyes.

``queueing``, ``simulate`` and ``cost`` need nothing but the standard library and plain data.
"""
