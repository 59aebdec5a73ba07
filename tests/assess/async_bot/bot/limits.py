import time

SEEN = {}


def check_rate(host):
    SEEN[host] = time.monotonic()
