"""Render the default answers, start them, and speak through the official SDK: no API key, nothing beyond loopback.

python scripts/demo.py [FOLDER]        ./demo by default; it is made anew each time
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from elevenlabs.client import AsyncElevenLabs, ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.core.request_options import RequestOptions

from generator.copying import render

ROOT = Path(__file__).resolve().parent.parent
KEY = "demo-key-of-a-caller-0001"
VOICE = "OZ0L6eISlOejga3XjDFt"
TEXT = "Your order has shipped, and should be with you on Thursday."
NO_RETRY = RequestOptions(max_retries=0)
BURST = 40


def main(folder: Path) -> None:
    say("Rendering the default answers")
    shutil.rmtree(folder, ignore_errors=True)
    rendered = render(folder, {}, ask=False, quiet=True)
    tell(f"{len(rendered['files'])} files in {folder}")

    sandbox, service = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    with child(folder, sandbox, "sandbox", "--tier", "creator"), child(folder, service, "serve", sandbox=sandbox):
        tell(f"sandbox on {sandbox}, service on {service}")
        speak_and_transcribe(service, folder / "hello.mp3")
        asyncio.run(burst(service, sandbox))
        play_again(service)
        count(service)
    goodbye(folder)


def speak_and_transcribe(service: str, out: Path) -> None:
    say("Speaking and transcribing through the official SDK, its base_url set to the service")
    sdk = ElevenLabs(base_url=service, api_key=KEY)
    audio = b"".join(sdk.text_to_speech.convert(VOICE, text=TEXT, model_id="eleven_flash_v2_5"))
    out.write_bytes(audio)
    tell(f"spoken:  {TEXT!r}, {len(audio):,} bytes of MP3")
    heard = sdk.speech_to_text.convert(
        model_id="scribe_v2", file=("hello.mp3", audio, "audio/mpeg"), request_options=NO_RETRY
    )
    tell(f"heard:   {getattr(heard, 'text', '')!r}")


async def burst(service: str, sandbox: str) -> None:
    """The same load twice: straight at the sandbox, and through the service."""
    say(f"{BURST} calls at once on a plan of 10 at a time (creator, Flash)")
    for name, url in (("the SDK alone", sandbox), ("the service", service)):
        await control(sandbox, {"reset": True, "latency_s": [0.15, 0.25]})
        began = time.perf_counter()
        spoken = await asyncio.gather(*(speak(url, f"Burst {n} of {name}.") for n in range(BURST)))
        took, state = time.perf_counter() - began, await control(sandbox, {})
        bar = "".join("█" if ok else "·" for ok in spoken)
        tell(f"{name:14} {bar}  {sum(spoken)} of {BURST} spoken, {state['refused']} refused, "
             f"at most {state['peak']['flash']} at once, {took:.1f} s")  # fmt: skip


async def speak(url: str, text: str) -> bool:
    sdk = AsyncElevenLabs(base_url=url, api_key=KEY)
    try:
        return bool([c async for c in sdk.text_to_speech.convert(VOICE, text=text, model_id="eleven_flash_v2_5")])
    except ApiError:
        return False


async def control(sandbox: str, fields: dict[str, object]) -> dict[str, dict[str, int]]:
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{sandbox}/__sandbox/set", json=fields)
        return dict(answer.json())


def play_again(service: str) -> None:
    say("The same sentence again: from the cache, at no cost")
    body = {"text": TEXT, "model_id": "eleven_flash_v2_5"}
    began = time.perf_counter()
    answer = httpx.post(f"{service}/v1/text-to-speech/{VOICE}", json=body, headers={"xi-api-key": KEY})
    took, said = (time.perf_counter() - began) * 1000, answer.headers
    tell(f"X-Cache: {said['x-cache']}   character-cost: {said['character-cost']}   {took:.0f} ms")


def count(service: str) -> None:
    say("What it cost")
    usage = httpx.get(f"{service}/usage", headers={"xi-api-key": KEY}).json()["totals"]
    tell(f"{usage['requests']} requests, {usage['characters']} characters, {usage['credits']} credits, "
         f"${usage['cost_usd']:.4f}; {usage['saved_credits']} credits saved by the cache")  # fmt: skip


def goodbye(folder: Path) -> None:
    say("Next")
    for line in (
        f"listen        {folder / 'hello.mp3'}",
        f"read          {folder / 'README.md'}, then src/my_voice/speech/client.py and flight.py",
        f"run it        cd {folder} && python -m venv .venv && .venv/bin/pip install -e '.[dev]'",
        "              .venv/bin/python -m my_voice serve --sandbox       # and open /dashboard",
        "your own      copier-elevenlabs new my-voice",
    ):
        tell(line)


@contextmanager
def child(folder: Path, url: str, command: str, *options: str, sandbox: str = "") -> Iterator[None]:
    """One of the rendered commands, until the block ends; its log lies beside what was rendered."""
    log = folder / f"{command}.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPEECH_", "ELEVENLABS_"))}
    environment |= {
        "PYTHONPATH": str(folder / "src"),
        "ELEVENLABS_API_KEY": "sandbox-takes-any-key",
        "ELEVENLABS_BASE_URL": sandbox,
        "SPEECH_ENV": "development",
    }
    environment = {name: value for name, value in environment.items() if value}
    argv = [sys.executable, "-m", "my_voice", command, "--port", url.rpartition(":")[2], *options]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(url, process, log)
        yield
    finally:
        process.terminate()
        process.wait(20)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, patience_s: float = 30) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(f"{url}/healthz")
            return
        except httpx.TransportError:
            time.sleep(0.05)
    sys.exit(f"{url} did not start; it said:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(headline: str) -> None:
    bold = ("\033[1m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"\n{bold[0]}{headline}{bold[1]}", flush=True)


def tell(line: str) -> None:
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "demo")
