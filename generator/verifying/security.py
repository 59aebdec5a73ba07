"""Security configuration: who may ask for what, and what nobody gets to see."""

import base64
import json
import re
import urllib.parse
from collections.abc import Iterator

from .checks import Act, Saw, Theme, check, without_routes
from .secrets_in_files import FILES
from .shape import complaints
from .stage import Stage
from .talking import FLASH, POOLS, STANDARD, VOICE, recording

SPEAK = f"/v1/text-to-speech/{VOICE}"
PAGES = ("/v1/models", "/v1/voices", "/v2/voices", "/v1/user/subscription", "/usage", "/metrics", "/dashboard")
SAID = "Words that nobody but their caller may ever read"
UPLOAD_MB = 1


@check("nobody speaks, hears or looks without a key that is known: 401", "web/auth.py", routes=True)
async def strangers(on: Stage) -> Saw:
    before, wrong = await on.sandbox.state(), []
    for key in (None, "a-key-that-nobody-was-given"):
        body = {"text": "Let me in.", "model_id": FLASH}
        form = {"data": {"model_id": POOLS["stt"]}, "files": {"file": ("a.wav", recording(1), "audio/wav")}}
        said = {"speech": await on.service.ask("POST", SPEAK, caller=None, key=key, body=body)}
        said["recording"] = await on.service.ask("POST", "/v1/speech-to-text", caller=None, key=key, form=form)
        said |= {page: await on.service.ask("GET", page, caller=None, key=key) for page in PAGES}
        wrong += [f"{what}: {bad}" for what, h in said.items() for bad in complaints(on, h, 401, "invalid_client_key")]
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    return Saw(
        not wrong and not asked, "; ".join(wrong[:3]) or "9 routes, 2 ways each", f"401 everywhere, {asked} asked"
    )


@check("only the admin sees all: others get 403, and of the usage their own rows", "web/auth.py", routes=True)
async def not_admin(on: Stage) -> Saw:
    await on.service.speak("The admin's own.", FLASH)
    await on.service.speak("Mine.", FLASH, caller="web")
    wrong = [
        f"{page}: {bad}"
        for page in ("/metrics", "/dashboard")
        for bad in complaints(on, await on.service.ask("GET", page, caller="web"), 403, "forbidden")
    ]
    usage = (await on.service.ask("GET", "/usage", caller="web")).json()
    rows = {row["caller"] for row in usage["by"]["caller"]}
    admin = {page: (await on.service.ask("GET", page)).status for page in ("/metrics", "/dashboard", "/usage")}
    metrics = 200 if on.project.metrics == "prometheus" else 404
    right = rows == {"web"} and admin == {"/metrics": metrics, "/dashboard": 200, "/usage": 200}
    seen = f"web sees the rows of {', '.join(sorted(rows))}; admin gets {', '.join(map(str, admin.values()))}"
    return Saw(right and not wrong, "; ".join([seen, *wrong]), f"403; rows of web alone; {metrics}, 200, 200")


@check("/healthz and /readyz are open, and tell nothing", "web/gateway.py", routes=True)
async def health(on: Stage) -> Saw:
    said = [await on.service.ask("GET", page, caller=None) for page in ("/healthz", "/readyz")]
    size = sum(len(heard.body) for heard in said)
    return Saw({h.status for h in said} == {200} and size < 200, f"{said[0]}, {said[1]}, {size} bytes", "200, 200")


@check("neither a key nor a spoken text is in any log line, at debug level", "logs.py, upstream.py")
async def not_logged(on: Stage) -> Saw:
    await _provoke(on)
    found = list(_found(on, on.children["service"].said()))
    lines = on.children["service"].said().count("\n")
    return Saw(not found, f"{', '.join(found)} in the log" if found else f"{lines} lines, nothing", "nothing")


@check("neither is in the log of an application that logs everything in its own way", "upstream.py, listening.py")
async def not_logged_by_hosts(on: Stage) -> Saw:
    await _provoke(on)
    said = on.children["service"].said()
    found = list(_found(on, said))
    seen = f"{', '.join(found)} in the log" if found else f"{said.count(chr(10))} lines, nothing"
    return Saw(not found, seen, "nothing")


@check("neither is in an answer, the usage, the metrics or the dashboard", "web/", routes=True)
async def not_told(on: Stage) -> Saw:
    pages = [await on.service.ask("GET", page) for page in PAGES]
    told = "".join(page.body.decode("utf-8", "replace") + str(dict(page.headers)) for page in pages)
    found = list(_found(on, told))
    return Saw(not found, f"{', '.join(found)} in a page" if found else f"{len(pages)} pages, nothing", "nothing")


async def _provoke(on: Stage) -> None:
    """Good answers and every kind of fault, with words and keys that are easy to find again."""
    faults = ("ok", "500", "429", "cut", "html", "reset", "empty", "401;kind=key", "ok")
    await on.sandbox.set(faults=list(faults))
    headers = {"x-deadline-ms": "3000"}
    for number, fault in enumerate(faults):
        model = STANDARD if number % 2 else FLASH
        await on.service.speak(f"{SAID}, {fault}.", model, stream=number % 3 == 0, headers=headers)
    await on.service.speak(f"{SAID}.", "no_such_model")
    await on.service.hear(recording(1))
    await on.service.speak(f"{SAID}, at last.", FLASH, fields={"previous_text": f"{SAID} before."})


def _found(on: Stage, told: str) -> Iterator[str]:
    secrets = {"the ElevenLabs key": on.env["ELEVENLABS_API_KEY"], "the text": SAID}
    secrets |= {f"the key of {name}": key for name, key in on.service.keys.items()}
    return (name for name, secret in secrets.items() if any(spelling in told for spelling in _spellings(secret)))


def _spellings(secret: str) -> set[str]:
    raw = secret.encode()
    shifted = {base64.b64encode(b"\0" * shift + raw).decode()[4:].rstrip("=")[:-2] for shift in range(3)}
    return {secret, json.dumps(secret)[1:-1], urllib.parse.quote(secret), urllib.parse.quote_plus(secret), *shifted}


@check("the dashboard runs nothing but its own, and asks no third party", "web/dashboard.py", routes=True)
async def dashboard(on: Stage) -> Saw:
    page = await on.service.ask("GET", "/dashboard")
    policy = page.headers.get("content-security-policy", "")
    foreign = re.findall(rb"""(?:src|href)\s*=\s*["']?(?:https?:)?//[^"'\s>]+""", page.body)
    asked = ("default-src 'none'", "frame-ancestors 'none'")
    lacking = [rule for rule in asked if rule not in policy]
    right = not foreign and not lacking and "unsafe" not in policy
    seen = f"policy {policy[:60] or 'none'}..., {len(foreign)} addresses of others"
    return Saw(right, seen, "a policy from default-src 'none', nothing unsafe, no other address")


@check("no other site may ask in a browser's name: no CORS", "web/", routes=True)
async def no_cors(on: Stage) -> Saw:
    headers = {"origin": "https://example.org", "access-control-request-method": "POST"}
    said = [await on.service.ask(method, SPEAK, caller=None, headers=headers) for method in ("OPTIONS", "GET")]
    allowed = [name for heard in said for name in heard.headers if name.startswith("access-control-")]
    return Saw(not allowed, ", ".join(allowed) or "no access-control header", "none")


@check("a request that carries our own hop header is refused: no service speaks to itself", "web/wire.py", routes=True)
async def hop(on: Stage) -> Saw:
    before = await on.sandbox.state()
    heard = await on.service.ask("POST", SPEAK, body={"text": "Round and round."}, headers={"x-speech-hop": "1"})
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    wrong = complaints(on, heard, 422, "malformed")
    return Saw(not wrong and not asked, "; ".join([str(heard), *wrong]), "422 malformed, 0 asked")


@check("an upload beyond SPEECH_MAX_UPLOAD_MB is 413 too_large", "web/reading.py", routes=True)
async def uploads(on: Stage) -> Saw:
    before = await on.sandbox.state()
    form = {"data": {"model_id": POOLS["stt"]}, "files": {"file": ("a.wav", bytes(2 * UPLOAD_MB * 10**6), "audio/wav")}}
    heard = await on.service.ask("POST", "/v1/speech-to-text", form=form)
    asked = (await on.sandbox.state())["calls"] - before["calls"]
    wrong = complaints(on, heard, 413, "too_large")
    return Saw(not wrong and not asked, "; ".join([str(heard), *wrong]), "413 too_large, 0 asked")


@check("in production it does not start without client keys", "web/serve.py", routes=True)
async def closed_by_default(on: Stage) -> Saw:
    return await _does_not_start(on, SPEECH_ENV="production")


@check("nor in development, where others could reach it", "web/serve.py", routes=True)
async def closed_to_the_network(on: Stage) -> Saw:
    return await _does_not_start(on, "--host", "0.0.0.0", SPEECH_ENV="development")


async def _does_not_start(on: Stage, *argv: str, **env: str) -> Saw:
    child = on.start(f"serve {env['SPEECH_ENV']}", "serve", "--port", "0", *argv, SPEECH_CLIENT_KEYS="", **env)
    code = await child.code_or_address()
    lines = [line for line in child.said().splitlines() if line.strip()]
    child.kill()
    right = code == 2 and len(lines) == 1 and "SPEECH_CLIENT_KEYS" in lines[0]
    seen = "it serves" if code is None else f"exit {code}: {lines[-1][:100] if lines else 'no word'}"
    return Saw(right, seen, "exit 2, and one line that names SPEECH_CLIENT_KEYS")


PRODUCTION = {"SPEECH_ENV": "production", "SPEECH_LOG_LEVEL": "debug", "SPEECH_MAX_UPLOAD_MB": str(UPLOAD_MB)}
SERVED = (strangers, not_admin, health, dashboard, no_cors, hop, uploads, not_logged, not_told)
THEME = Theme(
    "security",
    "security configuration",
    (
        Act(SERVED, PRODUCTION, unless=without_routes),
        Act((not_logged_by_hosts,), {"SPEECH_LOG_LEVEL": "debug"}, driven=True),
        Act((closed_by_default, closed_to_the_network), starts=False),
        Act(FILES, starts=False),
    ),
)
