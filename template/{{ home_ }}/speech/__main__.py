"""``python -m <package>.speech COMMAND``: try it, ask it, serve it. ``--help`` shows each with an example.

Variables that the environment lacks are read from ``.env`` in the working folder; the environment wins. What a command
can't do it says in one line, and ends with 1; what it was asked wrongly, with 2.
"""

import argparse
import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from . import commands, logs
from .answers import GATEWAY
from .check import check
from .commands import CantDo
from .errors import SpeechError
from .settings import Settings, SettingsError
from .wiring import SpeechClient

PROG = f"python -m {__package__}"
DOTENV = Path(".env")
EXAMPLES = f"""examples:
  {PROG} serve --sandbox                no key needed: a stand-in answers
  {PROG} speak "Hello" --out hello.mp3  one text, one file
  {PROG} transcribe meeting.mp3         the words on standard output
  {PROG} check                          what would break in production
  {PROG} warm phrases.txt               priced, asked, then kept in the cache
"""

Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["sandbox"]:
        from .testing.__main__ import main as sandbox

        return sandbox(argv[1:])
    options = _parser().parse_args(argv)
    try:
        _read_dotenv()
        with _sandbox() if options.sandbox else nullcontext():
            return int(options.run(options))
    except SettingsError as error:
        return _refuse(str(error), 2)
    except (CantDo, SpeechError) as error:
        return _refuse(str(error), 1)
    except OSError as error:
        return _refuse(f"{error.filename or 'it failed'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        return 130


def _refuse(lines: str, code: int) -> int:
    for line in lines.splitlines():
        print(f"error: {line}", file=sys.stderr)
    return code


def _serve(options: argparse.Namespace) -> int:
    if not GATEWAY:
        return _refuse("this project has no HTTP routes of its own to serve; your application serves itself", 2)
    serve = import_module(".web.serve", __package__).serve  # not rendered where there are no routes
    return int(serve(options.host, options.port, options.workers))


def _check(options: argparse.Namespace) -> int:
    return asyncio.run(check(options.online))


def _with_client(command: Callable[[SpeechClient, argparse.Namespace], Awaitable[None]]) -> Run:
    async def run(options: argparse.Namespace) -> None:
        settings = Settings.from_env()
        logs.configure(replace(settings, log_level="debug" if settings.log_level == "debug" else "warning"))
        async with SpeechClient(settings) as speech:
            await command(speech, options)

    return lambda options: asyncio.run(run(options)) or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Text to speech and speech to text through ElevenLabs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_subparsers(required=True, metavar="COMMAND", title="commands").add_parser

    serve = _command(add("serve", help="the HTTP service"), _serve, sandbox=True)
    serve.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    serve.add_argument("--port", type=_whole(0, 65535), default=8000, help="default: %(default)s")
    serve.add_argument("--workers", type=_whole(1, 64), default=1, help="processes that share the port")
    add("sandbox", help="a stand-in for the ElevenLabs API; --help says more", add_help=False)

    speak = _command(add("speak", help="one text into one audio file"), _with_client(commands.speak), sandbox=True)
    speak.add_argument("text")
    speak.add_argument("--out", type=Path, default=Path("speech.mp3"), help="default: %(default)s")
    speak.add_argument("--voice", metavar="ID")
    heard = _command(add("transcribe", help="what a recording says"), _with_client(commands.transcribe), sandbox=True)
    heard.add_argument("file", type=Path)

    usage = _command(add("usage", help="what was spent, by whom"), _with_client(commands.usage))
    usage.add_argument("--json", action="store_true")
    checked = _command(
        add("check", help="what would break in production"), lambda options: asyncio.run(check(options.online))
    )
    checked.add_argument("--online", action="store_true", help="ask ElevenLabs about the account too")
    cache = add("cache", help="the audio that is kept").add_subparsers(required=True, metavar="purge")
    purge = _command(cache.add_parser("purge", help="forget it"), _with_client(commands.purge))
    purge.add_argument("--voice", metavar="ID", help="only what this voice says")
    warm = _command(add("warm", help="fill the cache, a phrase a line"), _with_client(commands.warm))
    warm.add_argument("file", type=Path)
    warm.add_argument("--yes", action="store_true", help="don't ask")
    return parser


def _command(parser: argparse.ArgumentParser, run: Run, *, sandbox: bool = False) -> argparse.ArgumentParser:
    parser.set_defaults(run=run, sandbox=False)
    if sandbox:
        parser.add_argument("--sandbox", action="store_true", help="against a stand-in: no key, no bill")
    return parser


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {lowest} to {highest}")
        return int(text)

    return number


def _read_dotenv() -> None:
    """Set what the environment lacks from the lines ``NAME=value`` of ``.env``, and say so."""
    before = len(os.environ)
    for line in DOTENV.read_text("utf-8", "replace").splitlines() if DOTENV.is_file() else ():
        if found := re.fullmatch(r"""\s*(?:export\s+)?(\w+)\s*=\s*(?:(["'])(.*)\2|(.*?))\s*(?:\s#.*)?""", line):
            os.environ.setdefault(found[1], found[3] or found[4] or "")
    if len(os.environ) > before:
        commands.say(f"{len(os.environ) - before} variables read from {DOTENV}")


@contextmanager
def _sandbox() -> Iterator[None]:
    """The stand-in as a child process for as long as the command runs; its audio and bill are kept apart from yours."""
    child = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.testing"],
        env=os.environ | {"SPEECH_ENV": "development"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us: it must outlive what we have under way
    )
    assert child.stdout
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nor may it outlive us
    try:
        if not (url := child.stdout.readline().strip()):
            raise CantDo("the sandbox did not start")
        os.environ.pop("ELEVENLABS_API_KEY_FILE", None)
        os.environ |= {
            "ELEVENLABS_BASE_URL": url,
            "ELEVENLABS_API_KEY": f"sandbox-key-{secrets.token_hex(8)}",
            "SPEECH_ENV": "development",
            "SPEECH_CACHE_DIR": str(Path(os.environ.get("SPEECH_CACHE_DIR") or ".speech") / "sandbox"),
        }
        yield
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


if __name__ == "__main__":
    raise SystemExit(main())
