"""Settings: a right one starts, a wrong one is named in one line, and `check` says what would break in production."""

from .checks import Act, Saw, Theme, check
from .stage import Stage


@check("check finds nothing to mend where all is set", "commands.py")
async def all_set(on: Stage) -> Saw:
    code, lines = await _check(on, "all set")
    bad = [line for line in lines if not line.startswith(("ok", "warn"))]
    return Saw(code == 0 and not bad, f"exit {code}, {len(lines)} findings{': ' + bad[0] if bad else ''}", "exit 0")


@check("check fails without a key", "commands.py")
async def no_key(on: Stage) -> Saw:
    code, lines = await _check(on, "no key", ELEVENLABS_API_KEY="your_elevenlabs_key_here")
    bad = [line for line in lines if line.startswith("FAIL")]
    right = code == 1 and any("ELEVENLABS_API_KEY" in line for line in bad)
    return Saw(right, f"exit {code}: {bad[0] if bad else 'no word of it'}", "exit 1: FAIL ELEVENLABS_API_KEY ...")


@check("a wrong value is named, with what is allowed; a secret is not quoted", "settings.py")
async def wrong_values(on: Stage) -> Saw:
    secret = f"{on.env['ELEVENLABS_API_KEY']} with a blank"
    wrong = {"SPEECH_TIER": "gigantic", "SPEECH_QUEUE_SIZE": "many", "ELEVENLABS_API_KEY": secret}
    code, lines = await _check(on, "wrong", **wrong)
    named = [name for name in wrong if any(name in line and "allowed" in line for line in lines)]
    told = any(on.env["ELEVENLABS_API_KEY"] in line for line in lines)
    seen = f"exit {code}, {len(lines)} lines, named {', '.join(named) or 'none'}{', and the key' if told else ''}"
    return Saw(code == 1 and named == list(wrong) and not told, seen, f"exit 1, named {', '.join(wrong)}, no key")


async def _check(on: Stage, name: str, **env: str) -> tuple[int | None, list[str]]:
    child = on.start(name, "check", **{"SPEECH_ENV": "production"} | env)
    code = await child.code()
    return code, child.said().splitlines()


THEME = Theme("settings", "settings", (Act((all_set, no_key, wrong_values), starts=False),))
