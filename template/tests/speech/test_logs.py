"""Logs: one JSON line a record; no key, no spoken text, whoever logs at whatever level."""

import asyncio
import base64
import io
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from rooms import settings

from speech.errors import InvalidRequest, SpeechError
from speech.logs import QUIET, configure, is_fit, spellings
from speech.settings import Settings
from speech.testing.plugin import SandboxThread
from speech.wiring import SpeechClient

KEY = "sk_marked+key/0123456789abcdef"
TEXT = 'Marked "text" für Zoë 🎈'


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard error, after ``configure`` of this key; afterwards the logging of the tests is as it was."""
    root, stream = logging.getLogger(), io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    kept = [(logger, logger.level) for logger in everybody()]
    handlers = root.handlers[:]
    root.handlers.clear()
    configure(Settings(api_key=KEY, client_keys=(("web", "client-key-0123456789"),), env="development"))
    yield stream
    root.handlers[:] = handlers
    for logger in everybody():
        logger.setLevel(dict(kept).get(logger, logging.NOTSET))


def everybody() -> list[logging.Logger]:
    """Every logger that there is, the root included."""
    return [logging.getLogger(), *map(logging.getLogger, {*QUIET, *logging.root.manager.loggerDict})]


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_json_line(heard: io.StringIO) -> None:
    """With the fields that are known, and no others: extras of a library may hold anything."""
    fields = {"caller": "web", "credits": 3, "text": TEXT, "headers": {"xi-api-key": KEY}}
    logging.getLogger("x").info("two\nlines of %s", "words", extra={"fields": fields, "body": TEXT})
    (line,) = lines(heard)
    assert line.pop("time").startswith("20")
    assert line == {
        "level": "info", "logger": "x", "message": "two\nlines of words", "caller": "web", "credits": 3,
    }  # fmt: skip


def test_level_and_environment_are_the_settings(heard: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    """``SPEECH_LOG_LEVEL``; and staging, which is production in all but name, says in each line which it is."""
    for env in ("staging", "production"):
        configure(Settings(env=env, log_level="error"))
        logging.getLogger("x").warning("not at this level")
        logging.getLogger("x").error("at this level")
    staging, production = map(json.loads, capsys.readouterr().err.splitlines())
    assert staging["env"] == "staging" and "env" not in production


@pytest.mark.parametrize(
    "spelt",
    [
        KEY,
        quote(KEY, safe=""),
        base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(f"a:{KEY}".encode()).decode(),
        base64.b64encode(f"admin:{KEY}!".encode()).decode(),
        base64.urlsafe_b64encode(f"abc:{KEY}".encode()).decode(),
        f"'{KEY}'",
        json.dumps({"key": KEY}),
    ],
)
def test_a_secret_is_replaced_however_it_is_spelt(heard: io.StringIO, spelt: str) -> None:
    """Raw, in a URL, or in base64 at any offset, as Basic authentication sends it."""
    logging.getLogger("x").warning("sent %s", spelt)
    assert "[secret]" in heard.getvalue()
    assert not [found for found in spellings(KEY) if found in heard.getvalue()]


def test_other_peoples_exceptions_are_named_not_quoted(heard: io.StringIO) -> None:
    """Their words may hold the text; ours never do. Where it happened is told, what the variables were is not."""
    for error in (ValueError(TEXT), InvalidRequest("text is empty")):
        try:
            raise error
        except Exception:
            logging.getLogger("x").exception("it failed")
    theirs, ours = lines(heard)
    assert theirs["error"] == "ValueError" and theirs["at"][0].split()[0].rpartition(":")[0] == __file__
    assert ours["error"] == "InvalidRequest: text is empty"
    assert TEXT not in heard.getvalue() and "Traceback" not in heard.getvalue()


@pytest.mark.parametrize("name", sorted(QUIET))
def test_libraries_are_heard_from_warning_on(heard: io.StringIO, name: str) -> None:
    """Whatever level somebody set their loggers to; and then by their own words only, never by what they quote."""
    for logger in (logging.getLogger(name), logging.getLogger(f"{name}.deep")):
        logger.setLevel(1)
        logger.debug(TEXT)
        logger.info(TEXT)
        logger.warning("it was %r", TEXT)
    logging.getLogger(f"{name}.deep").setLevel(logging.NOTSET)
    assert [line["message"] for line in lines(heard)] == ["it was %r", "it was %r"]


def test_asyncio_quotes_no_exception(heard: io.StringIO) -> None:
    """A task nobody waited for is logged with its exception's words: here with its type."""

    async def main() -> None:
        async def fails() -> None:
            raise ValueError(TEXT)

        task = asyncio.create_task(fails())
        await asyncio.sleep(0)
        del task

    asyncio.run(main())
    (line,) = lines(heard)
    assert (line["message"], line["error"]) == ("Task exception was never retrieved", "ValueError")
    assert "Marked" not in heard.getvalue()


def test_a_filter_is_on_the_handler() -> None:
    """One on a logger would not be asked for records of its children."""
    assert is_fit(logging.makeLogRecord({"name": "speech", "levelno": 1}))
    assert not is_fit(logging.makeLogRecord({"name": "httpx.deep", "levelno": logging.INFO}))


async def test_traffic_at_the_lowest_level_tells_neither_key_nor_text(
    heard: io.StringIO, tmp_path: Path, speech_sandbox: SandboxThread
) -> None:
    """Speaking, transcribing, failing: with every logger there is at level 1."""
    ours = settings(api_key=KEY, base_url=speech_sandbox.url, env="development", cache_dir=tmp_path)
    async with SpeechClient(ours) as speech:
        for logger in everybody():
            logger.setLevel(1)
        audio = await speech.synthesize(TEXT)
        await speech.transcribe(audio.data)
        with suppress(SpeechError):
            await speech.synthesize(TEXT, voice_id="unknown0000000000000")
        speech_sandbox.set(faults=["500", "500", "500"])
        with suppress(SpeechError):
            await speech.synthesize(f"{TEXT} again", deadline=1)
    assert len(lines(heard)) >= 4
    spelt = [*spellings(TEXT), *spellings(KEY), "Marked", "Zo\\u00eb", "Zoë"]
    assert not [found for found in spelt if found in heard.getvalue()]
