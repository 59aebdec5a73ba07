"""``python -m <package>.speech COMMAND``: try it, ask it, serve it. ``--help`` shows each with an example.

What a command can't do it says in one line, and ends with 1; what it was asked wrongly, with 2.

examples:
  python -m <package>.speech serve --sandbox                no key needed: a stand-in answers
  python -m <package>.speech speak "Hello" --out hello.mp3  one text, one file
  python -m <package>.speech transcribe meeting.mp3         the words on standard output
  python -m <package>.speech check                          what would break in production
  python -m <package>.speech warm phrases.txt               priced, asked, then kept in the cache
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from . import commands, logs
from .answers import CACHE_BACKEND, GATEWAY
from .commands import CantDo, say
from .errors import SpeechError
from .settings import Settings, SettingsError, bounded
from .wiring import SpeechClient

PROG = f"python -m {__package__}"

Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["sandbox"]:
        from .testing.__main__ import main as sandbox

        return sandbox(argv[1:])
    options = _parser().parse_args(argv)
    try:
        with (
            import_module(".testing.child", __package__).sandbox() if getattr(options, "sandbox", 0) else nullcontext()
        ):
            return int(options.run(options))
    except (SettingsError, CantDo, SpeechError, OSError) as error:
        said = f"{error.filename or 'failed'}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
        say("\n".join(f"error: {line}" for line in said.splitlines()))
        return 2 if isinstance(error, SettingsError) else 1
    except EOFError:
        say("error: nobody is there to ask; --yes answers")
        return 1
    except KeyboardInterrupt:
        return 130


def _serve(options: argparse.Namespace) -> int:
    if not GATEWAY:
        say("error: this project has no HTTP routes of its own to serve; your application serves itself")
        return 2
    serve = import_module(".web.serve", __package__).serve  # not rendered where there are no routes
    return int(serve(options.host, options.port, options.workers))


def _client(command: Callable[[SpeechClient, argparse.Namespace], Awaitable[None]], needs_key: bool = True) -> Run:
    async def run(options: argparse.Namespace) -> int:
        settings = Settings.from_env()
        logs.configure(replace(settings, log_level="debug" if settings.log_level == "debug" else "warning"))
        if needs_key and not settings.api_key:
            raise CantDo(f"{commands.NO_KEY}; without a key, try --sandbox")
        async with SpeechClient(settings) as speech:
            await command(speech, options)
        return 0

    return lambda options: asyncio.run(run(options))


def _kept(name: str, needs_key: bool = False, module: str = "kept") -> Run:
    """Of a module that is rendered with a backend that keeps anything."""
    if CACHE_BACKEND != "memory":
        return _client(getattr(import_module(f".{module}", __package__), name), needs_key)
    return _nothing_kept


def _nothing_kept(_: argparse.Namespace) -> int:
    raise CantDo("cache_backend is memory: audio and ledger end with their process; ask the service, with GET /usage")


COMMANDS: dict[str, tuple[Run, str, str]] = {
    "serve": (_serve, "the HTTP service", "--host --port --workers --sandbox"),
    "speak": (_client(commands.speak), "one text into one audio file", "text --out --voice --sandbox"),
    "transcribe": (_client(commands.transcribe), "what a recording says", "file --sandbox"),
    "usage": (_kept("usage"), "what was spent, by whom", "--json --csv --reconcile"),
    "check": (commands.check, "what would break in production", ""),
    "cache": (_kept("purge"), "forget audio that is kept", "purge --voice"),
    "warm": (_kept("warm", True, "warming"), "fill the cache, a phrase a line", "file --voice --yes"),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "text": {},
    "file": {"type": Path},
    "purge": {"choices": ["purge"]},
    "--out": {"type": Path, "default": Path("speech.mp3"), "help": "default: %(default)s"},
    "--voice": {"metavar": "ID"},
    "--json": {"action": "store_true"},
    "--csv": {"action": "store_true", "help": "a line for each day, caller and model"},
    "--reconcile": {"action": "store_true", "help": "ask the account first, and clear what was uncertain"},
    "--yes": {"action": "store_true", "help": "don't ask"},
    "--sandbox": {"action": "store_true", "help": "against a stand-in: no key, no bill"},
    "--host": {"default": "127.0.0.1", "help": "default: %(default)s"},
    "--port": {"type": bounded(int, 0, 65535).read, "default": 8000, "metavar": "0-65535", "help": "default: 8000"},
    "--workers": {"type": bounded(int, 1, 64).read, "default": 1, "metavar": "1-64", "help": "they share the port"},
}


def _parser() -> argparse.ArgumentParser:
    about = "Text to speech and speech to text through ElevenLabs."
    examples = str(__doc__)[str(__doc__).find("examples:") :].replace("python -m <package>.speech", PROG)
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=PROG, description=about, epilog=examples, formatter_class=raw)
    add = parser.add_subparsers(required=True, metavar="COMMAND", title="commands").add_parser
    add("sandbox", help="a stand-in for the ElevenLabs API; --help says more", add_help=False)
    for name, (run, about, arguments) in COMMANDS.items():
        command = add(name, help=about)
        command.set_defaults(run=run)
        for argument in arguments.split():
            command.add_argument(argument, **ARGUMENTS[argument])
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
