"""python -m <package>.speech.testing [--port N] [--tier T] [--latency S]: the sandbox as a process of its own.

Prints its address on one line and serves until it is told to stop.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from ..catalogue import CATALOGUE
from .sandbox import LATENCY_S, Sandbox
from .server import listening


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    environment = os.environ.get("SPEECH_ENV", "development").strip().lower()
    if environment in ("production", "staging"):
        return _refuse(f"the sandbox speaks no words: it does not start with SPEECH_ENV={environment}")
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve(Sandbox(options.tier, options.latency), options.port))
    except OSError as problem:
        return _refuse(f"the sandbox can't listen on port {options.port}: {problem.strerror or problem}")
    return 0


async def _serve(sandbox: Sandbox, port: int) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: there Ctrl-C raises KeyboardInterrupt
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with listening(sandbox.handle, port) as url:
        print(url, flush=True)
        await stop.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sandbox", description="A stand-in for the ElevenLabs API, on loopback.")
    parser.add_argument("--port", type=_port, default=0, help="default: any free one")
    parser.add_argument("--tier", choices=list(CATALOGUE["plans"]), default="creator", help="default: creator")
    parser.add_argument("--latency", type=_seconds, default=LATENCY_S, metavar="S", help=f"default: {LATENCY_S}")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return seconds


def _refuse(line: str) -> int:
    print(line, file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
