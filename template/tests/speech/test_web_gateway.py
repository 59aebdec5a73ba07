"""The gateway's contract, the same for every framework: the service as a process, real sockets, the vendor's SDK."""

import asyncio
import base64
import csv
import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.types.export_options import ExportOptions_Srt

import speech
from speech import answers
from speech.testing.plugin import SandboxThread

VOICE = "OZ0L6eISlOejga3XjDFt"
ALICE, ADMIN = "alice-client-key-0001", "admin-client-key-0001"
ONCE: Any = {"max_retries": 0}
SAY, JSON = f"/v1/text-to-speech/{VOICE}", {"content-type": "application/json"}


@contextmanager
def serving(**environ: str) -> Iterator[str]:
    """The service, as ``serve`` starts it, on a free port; its address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", speech.__name__, "serve", "--port", str(port)]
    source = str(Path(speech.__file__).parents[2])
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("SPEECH_", "ELEVENLABS_"))}
    with subprocess.Popen(command, env={**mine, "PYTHONPATH": source, **environ}) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/healthz", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None, "the service did not start"
        try:
            httpx.get(url)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the service does not answer")


@pytest.fixture(autouse=True)
def backend() -> None:
    """Not a fresh one for each test: one service serves them all."""


@pytest.fixture(scope="module")
def vendor() -> Iterator[SandboxThread]:
    with SandboxThread() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def url(vendor: SandboxThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(
        ELEVENLABS_BASE_URL=vendor.url,
        ELEVENLABS_API_KEY="sandbox-takes-any",
        SPEECH_ENV="development",
        SPEECH_CLIENT_KEYS=f"alice:{ALICE},admin:{ADMIN}",
        SPEECH_CALLERS='{"alice": {"daily_usd": 8}}',
        SPEECH_LIMITS='{"standard": 2}',
        SPEECH_MAX_UPLOAD_MB="1",
        SPEECH_CACHE_DIR=str(tmp_path_factory.mktemp("cache")),
    ) as url:
        yield url


@pytest.fixture
def sandbox(vendor: SandboxThread) -> SandboxThread:
    vendor.set(reset=True, faults=None, latency_s=0.01)
    return vendor


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"xi-api-key": ALICE}, timeout=20) as http:
        yield http


@pytest.fixture
def sdk(url: str) -> ElevenLabs:
    return ElevenLabs(base_url=url, api_key=ALICE)


def spoken(sdk: ElevenLabs, text: str) -> bytes:
    return b"".join(sdk.text_to_speech.convert(VOICE, text=text, request_options=ONCE))


def eventually(what: Any) -> None:
    """Within two seconds *what* is so."""
    for _ in range(100):
        if what():
            return
        time.sleep(0.02)
    raise AssertionError("it never came")


def pool(http: httpx.Client, name: str = "standard") -> dict[str, Any]:
    answer = http.get("/usage", headers={"xi-api-key": ADMIN}).json()
    state: dict[str, Any] = answer["now"]["pools"][name]
    return state


# ------------------------------------------------------------------------------------------ the vendor's own SDK


def test_the_sdk_speaks_whole_and_streamed(sdk: ElevenLabs, sandbox: SandboxThread) -> None:
    """Both give all the audio, and each text is paid once."""
    assert spoken(sdk, "Whole, please.").startswith(b"ID3")
    streamed = b"".join(sdk.text_to_speech.stream(VOICE, text="Streamed, please.", request_options=ONCE))
    assert streamed.startswith(b"ID3")
    assert sandbox.state()["calls"] == 2


def test_the_sdk_gets_timestamps(sdk: ElevenLabs, sandbox: SandboxThread) -> None:
    """As one JSON and as JSON lines."""
    whole = sdk.text_to_speech.convert_with_timestamps(VOICE, text="One, timed.", request_options=ONCE)
    assert whole.alignment and "".join(whole.alignment.characters) == "One, timed."
    assert base64.b64decode(whole.audio_base_64)
    lines = list(sdk.text_to_speech.stream_with_timestamps(VOICE, text="Two, timed.", request_options=ONCE))
    assert b"".join(base64.b64decode(line.audio_base_64) for line in lines).startswith(b"ID3")
    assert "".join(c for line in lines if line.alignment for c in line.alignment.characters) == "Two, timed."


def test_the_sdk_transcribes(sdk: ElevenLabs, sandbox: SandboxThread) -> None:
    """With every kind of form field; that they arrive shows in the vendor's bill."""
    audio, srt = spoken(sdk, "Say it again."), ExportOptions_Srt()
    sandbox.set(reset=True)
    heard: Any = sdk.speech_to_text.convert(
        model_id="scribe_v2", file=("a.mp3", audio, "audio/mpeg"), diarize=True, num_speakers=2, keyterms=["again"],
        entity_detection=["pii"], additional_formats=[srt], language_code="en", request_options=ONCE,
    )  # fmt: skip
    assert heard.text == "Say it again."
    state = sandbox.state()
    assert state["bill_usd"] == pytest.approx(state["seconds"] * (0.22 + 0.07 + 0.05) / 3600, rel=1e-3)


def test_a_long_form_without_a_length_is_heard(http: httpx.Client, sandbox: SandboxThread) -> None:
    """A thousand keyterms, and chunks: frameworks have bounds for parts, and may take what has no length for empty."""
    audio = http.post(SAY, json={"text": "Say it in chunks."}).content
    form = {"model_id": "scribe_v2", "keyterms": [f"term {n}" for n in range(1000)]}
    request = http.build_request("POST", STT, data=form, files={"file": ("a.mp3", audio, "audio/mpeg")})
    body, kind = request.read(), {"content-type": request.headers["content-type"]}
    heard = http.post(STT, content=(body[n : n + 9999] for n in range(0, len(body), 9999)), headers=kind)
    assert heard.status_code == 200, heard.text
    assert heard.json()["text"] == "Say it in chunks."


def test_the_sdk_lists_models_voices_and_its_own_budget(sdk: ElevenLabs, sandbox: SandboxThread) -> None:
    """Nothing is asked upstream; the subscription is the caller's: eight dollars a day, as characters."""
    models = {model.model_id for model in sdk.models.list()}
    assert {"eleven_multilingual_v2", "eleven_flash_v2_5"} <= models and "eleven_monolingual_v1" not in models
    assert VOICE in {voice.voice_id for voice in sdk.voices.get_all().voices}
    page = sdk.voices.search(page_size=2)
    assert (len(page.voices), page.has_more) == (2, True)
    rest = sdk.voices.search(page_size=100, next_page_token=page.next_page_token)
    assert len(rest.voices) == page.total_count - 2 and not rest.has_more
    mine = sdk.user.subscription.get()
    assert mine.character_limit == 100_000 and 0 <= mine.character_count < 10_000
    assert sandbox.state()["calls"] == 0


def test_every_field_that_an_sdk_validates_is_there(http: httpx.Client) -> None:
    """The SDK for JavaScript refuses an answer that lacks one; the one for Python never looks."""
    from elevenlabs.types.get_voices_v_2_response import GetVoicesV2Response
    from elevenlabs.types.model import Model
    from elevenlabs.types.subscription import Subscription

    for kind, answer in (
        (Subscription, http.get("/v1/user/subscription").json()),
        (GetVoicesV2Response, http.get("/v2/voices").json()),
        (Model, http.get("/v1/models").json()[0]),
    ):
        needed = {name for name, field in kind.model_fields.items() if field.is_required()}
        assert needed <= answer.keys()


# ----------------------------------------------------------------------------------------------------- what it says


def test_an_answer_says_what_it_cost(http: httpx.Client, sandbox: SandboxThread) -> None:
    """A miss costs and has upstream's request id; a hit costs nothing and has ours."""
    miss, hit = (http.post(SAY, json={"text": "What does it cost?"}) for _ in range(2))
    assert miss.content == hit.content and int(miss.headers["content-length"]) == len(miss.content)
    assert [r.headers["x-cache"] for r in (miss, hit)] == ["miss", "hit"]
    assert [r.headers["character-cost"] for r in (miss, hit)] == ["18", "0"]
    assert miss.headers["x-model-id"] == "eleven_multilingual_v2"
    assert miss.headers["request-id"] != miss.headers["x-speech-request-id"]
    assert hit.headers["request-id"] == hit.headers["x-speech-request-id"]
    assert re.fullmatch(r"queue;dur=[\d.]+, upstream;dur=[\d.]+", miss.headers["server-timing"])
    assert sandbox.state()["bill_credits"] == 18


def test_unknown_fields_and_parameters_go_upstream(http: httpx.Client, sandbox: SandboxThread) -> None:
    """They may change the audio: each alone is another entry in the cache; a null is none."""
    body = {"text": "Is it new?"}
    for more, query in (
        ({}, ""),
        ({"brand_new": 1}, ""),
        ({}, "?brand_new=1"),
        ({"seed": None}, ""),
        ({"seed": 7}, ""),
    ):
        assert http.post(SAY + query, json={**body, **more}).status_code == 200
    assert sandbox.state()["calls"] == 4


def test_no_store_is_neither_read_nor_kept(http: httpx.Client, sandbox: SandboxThread) -> None:
    """And says so."""
    for _ in range(2):
        answer = http.post(SAY, json={"text": "Forget it."}, headers={"cache-control": "no-store"})
        assert answer.headers["x-cache"] == "bypass"
    assert sandbox.state()["calls"] == 2


# ----------------------------------------------------------------------------------------------- what it refuses

STT, SCRIBE = "/v1/speech-to-text", {"model_id": "scribe_v2"}
FORM = {"content-type": "multipart/form-data; boundary=y"}
REFUSALS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", SAY, {"content": b""}, 422, "malformed"),
    ("POST", SAY, {"content": b"{"}, 422, "malformed"),
    ("POST", SAY, {"content": '{"text": "ü"}'.encode("latin-1")}, 422, "malformed"),
    ("POST", SAY, {"content": b'{"text":' * 5000}, 422, "malformed"),
    ("POST", SAY, {"content": b'{"text": "a", "seed": NaN}'}, 422, "malformed"),
    ("POST", SAY, {"json": ["text"]}, 422, "malformed"),
    ("POST", SAY, {"json": {}}, 422, "malformed"),
    ("POST", SAY, {"json": {"text": None}}, 422, "malformed"),
    ("POST", SAY, {"json": {"text": 1}}, 422, "malformed"),
    ("POST", SAY, {"json": {"text": "a", "model_id": 1}}, 422, "malformed"),
    ("POST", SAY, {"json": {"text": "a", "voice_settings": 1}}, 422, "malformed"),
    ("POST", SAY, {"json": {"text": "a" * 2**20}}, 413, "too_large"),
    ("POST", SAY, {"json": {"text": ""}}, 400, "invalid_request"),
    ("POST", SAY, {"json": {"text": " \n"}}, 400, "invalid_request"),
    ("POST", SAY, {"json": {"text": "a\0"}}, 400, "invalid_request"),
    ("POST", SAY, {"content": b'{"text": "\\ud800"}'}, 400, "invalid_request"),
    ("POST", SAY, {"json": {"text": "a" * 10_001}}, 400, "invalid_request"),
    ("POST", SAY, {"json": {"text": "a", "model_id": "eleven_monolingual_v1"}}, 400, "invalid_request"),
    ("POST", SAY, {"json": {"text": "a", "model_id": "scribe_v2"}}, 400, "invalid_request"),
    ("POST", SAY, {"json": {"text": "a", "voice_settings": {"speed": 3}}}, 400, "invalid_request"),
    ("POST", f"{SAY}?output_format=mp3_1", {"json": {"text": "a"}}, 400, "invalid_request"),
    ("POST", f"{SAY}?output_format=pcm_44100", {"json": {"text": "a"}}, 400, "invalid_request"),
    ("POST", f"{SAY}/stream?output_format=wav_16000", {"json": {"text": "a"}}, 400, "invalid_request"),
    ("POST", f"{SAY}?enable_logging=perhaps", {"json": {"text": "a"}}, 422, "malformed"),
    ("POST", f"{SAY}?optimize_streaming_latency=x", {"json": {"text": "a"}}, 422, "malformed"),
    ("POST", "/v1/text-to-speech/short", {"json": {"text": "a"}}, 400, "invalid_request"),
    ("POST", "/v1/text-to-speech/..%2Fmodels%2F1234567", {"json": {"text": "a"}}, 404, "not_offered"),
    ("POST", SAY, {"json": {"text": "a"}, "headers": {"x-priority": "first"}}, 422, "malformed"),
    ("POST", SAY, {"json": {"text": "a"}, "headers": {"x-deadline-ms": "soon"}}, 422, "malformed"),
    ("POST", SAY, {"json": {"text": "a"}, "headers": {"x-speech-hop": "1"}}, 422, "malformed"),
    ("POST", SAY, {"json": {"text": "a"}, "headers": {"xi-api-key": "nobody's"}}, 401, "invalid_client_key"),
    ("POST", STT, {"headers": {"xi-api-key": ""}}, 401, "invalid_client_key"),
    ("POST", STT, {"content": b"no form"}, 422, "malformed"),
    ("POST", STT, {"data": SCRIBE, "files": {}}, 422, "malformed"),
    ("POST", STT, {"files": {"file": b"RIFF\0\0\0\0WAVE\0\0"}}, 422, "malformed"),
    ("POST", STT, {"data": SCRIBE, "files": {"file": b""}}, 400, "invalid_request"),
    ("POST", STT, {"data": SCRIBE, "files": {"file": b"only words"}}, 400, "invalid_request"),
    ("POST", STT, {"data": {"model_id": "eleven_v3"}, "files": {"file": b"RIFF\0\1"}}, 400, "invalid_request"),
    ("POST", STT, {"data": {**SCRIBE, "webhook": "true"}, "files": {"file": b"RIFF\0\1"}}, 422, "not_offered"),
    ("POST", STT, {"data": SCRIBE, "files": {"file": b"RIFF\0\1" * 200_000}}, 413, "too_large"),
    ("POST", STT, {"content": b"--x\r\nbroken", "headers": FORM}, 422, "malformed"),
    ("POST", f"{SAY}/", {"json": {"text": "a"}}, 404, "not_offered"),
    ("GET", "/v1/voices/x", {}, 404, "not_offered"),
    ("GET", "/v1/history", {}, 404, "not_offered"),
    ("POST", "/v1/text-to-dialogue", {"json": {}}, 404, "not_offered"),
    ("GET", "/nothing", {}, 404, "not_offered"),
    ("GET", "/v2/voices?page_size=x", {}, 422, "malformed"),
    ("GET", SAY, {}, 405, "not_offered"),
    ("OPTIONS", SAY, {}, 405, "not_offered"),
    ("DELETE", "/v1/models", {}, 405, "not_offered"),
    ("GET", "/metrics", {}, 403, "forbidden"),
    ("GET", "/dashboard", {}, 403, "forbidden"),
]  # fmt: skip


@pytest.mark.parametrize("method, path, request_, status, code", REFUSALS)
def test_a_refusal_wears_the_vendors_shape_and_costs_nothing(
    http: httpx.Client, sandbox: SandboxThread, method: str, path: str, request_: Any, status: int, code: str
) -> None:
    """Whoever refuses, we or the framework: one shape, an id, one line that is safe to show, and nothing upstream."""
    headers = {**(JSON if "content" in request_ and path != STT else {}), **request_.get("headers", {})}
    answer = http.request(method, path, **{**request_, "headers": headers})
    detail = answer.json()["detail"]
    assert (answer.status_code, detail["code"], detail["status"]) == (status, code, code)
    assert {"type", "message", "request_id"} <= detail.keys() and "\n" not in detail["message"]
    assert answer.headers["x-speech-request-id"] == detail["request_id"]
    assert answer.headers["content-type"] == "application/json"
    assert "access-control-allow-origin" not in answer.headers
    assert sandbox.state()["calls"] == 0


def test_head_never_spends(http: httpx.Client, sandbox: SandboxThread) -> None:
    """Not even its headers are worth a call."""
    assert http.head(SAY).status_code == 405
    assert http.head("/v1/models").status_code == 200 and http.head("/v1/models").content == b""
    assert sandbox.state()["calls"] == 0


def test_a_model_that_got_lost_on_a_retry_is_explained(http: httpx.Client) -> None:
    """The official SDK drops the form when it repeats by itself."""
    answer = http.post(STT, files={"file": b"RIFF\0\0\0\0WAVE\0\0"})
    assert "max_retries" in answer.json()["detail"]["message"]


def test_a_route_that_is_not_offered_names_those_that_are(http: httpx.Client) -> None:
    message = http.get("/v1/history").json()["detail"]["message"]
    assert all(path in message for path in ("/v1/text-to-speech/{voice_id}/stream", STT, "/v1/user/subscription"))


def test_a_body_is_refused_while_it_arrives(url: str) -> None:
    """Not after all of it: the answer is there although the caller never stops sending."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        head = f"POST {SAY} HTTP/1.1\r\nHost: x\r\nxi-api-key: {ALICE}\r\nContent-Length: 1000000000\r\n\r\n"
        line.sendall(head.encode() + b" " * (2**20 + 1))
        assert line.recv(100).startswith(b"HTTP/1.1 413")


# --------------------------------------------------------------------------------------------------- when it breaks


def test_a_broken_stream_is_never_taken_for_whole(sdk: ElevenLabs, sandbox: SandboxThread) -> None:
    """Its headers were sent, so the connection breaks: the SDK raises instead of returning half a sentence."""
    sandbox.set(faults=["cut;after=3"])
    with pytest.raises(httpx.TransportError):
        list(sdk.text_to_speech.stream(VOICE, text="This breaks in the middle of it.", request_options=ONCE))


def test_whole_audio_that_broke_is_an_error(sdk: ElevenLabs, sandbox: SandboxThread) -> None:
    """Nothing was sent yet, so there still is a status."""
    sandbox.set(faults=["cut;after=3"])
    with pytest.raises(ApiError) as failed:
        spoken(sdk, "This breaks before anybody hears it.")
    assert failed.value.status_code == 503


def test_a_stream_that_fails_before_its_first_byte_has_a_status(sdk: ElevenLabs, sandbox: SandboxThread) -> None:
    """An error is an answer for as long as it can be."""
    with pytest.raises(ApiError) as failed:
        list(sdk.text_to_speech.stream("unknown" + VOICE[7:], text="By whom?", request_options=ONCE))
    assert (failed.value.status_code, sandbox.state()["calls"]) == (404, 1)


async def test_a_queued_caller_who_left_leaves_the_queue(url: str, http: httpx.Client, sandbox: SandboxThread) -> None:
    """The place is free at once, and nothing is sent for nobody."""
    sandbox.set(latency_s=1.5)
    async with httpx.AsyncClient(base_url=url, headers={"xi-api-key": ALICE}, timeout=20) as many:
        busy = [asyncio.create_task(many.post(SAY, json={"text": f"Long call number {n}."})) for n in range(2)]
        await asyncio.to_thread(eventually, lambda: pool(http)["in_flight"] == 2)
        for manner in ("", "/stream"):
            leaver = asyncio.create_task(many.post(SAY + manner, json={"text": f"I will not wait {manner}."}))
            await asyncio.to_thread(eventually, lambda: sum(pool(http)["queued"].values()) == 1)
            leaver.cancel()
            await asyncio.to_thread(eventually, lambda: sum(pool(http)["queued"].values()) == 0)
        assert [answer.status_code for answer in await asyncio.gather(*busy)] == [200, 200]
    assert sandbox.state()["calls"] == 2


def test_a_listener_who_left_closes_upstream(http: httpx.Client, sandbox: SandboxThread) -> None:
    """Halfway through a stream: the slot is free again, here and there."""
    fault = {"x-sandbox-fault": "stall;after=3;s=60"}
    with http.stream("POST", f"{SAY}/stream", json={"text": "I leave halfway through."}, headers=fault) as answer:
        chunks = answer.iter_bytes()
        assert answer.status_code == 200 and next(chunks)
        assert pool(http)["in_flight"] == 1
    eventually(lambda: pool(http)["in_flight"] == 0 and sandbox.state()["in_flight"]["standard"] == 0)


# ------------------------------------------------------------------------------------------------------- its own pages


def test_a_caller_sees_its_own_rows_and_admin_sees_all(http: httpx.Client, sandbox: SandboxThread) -> None:
    """Neither the others' money nor the account's state is a caller's business."""
    http.post(SAY, json={"text": "Mine."})
    http.post(SAY, json={"text": "The admin's."}, headers={"xi-api-key": ADMIN})
    mine, everybodys = http.get("/usage").json(), http.get("/usage", headers={"xi-api-key": ADMIN}).json()
    assert {row["caller"] for row in mine["by"]["caller"]} == {"alice"} and not mine["now"]
    assert {row["caller"] for row in everybodys["by"]["caller"]} == {"alice", "admin"}
    assert everybodys["totals"]["credits"] > mine["totals"]["credits"] > 0


def test_usage_is_csv_too(http: httpx.Client, sandbox: SandboxThread) -> None:
    """By the query or by Accept, with the same money; a caller's own rows, or all; another format is refused."""
    http.post(SAY, json={"text": "As a table."})
    for ask in ({"params": {"format": "csv"}}, {"headers": {"accept": "text/csv"}}):
        answer = http.get("/usage", **ask)  # type: ignore[arg-type]
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert {row["caller"] for row in rows} == {"alice"}
        assert sum(int(row["credits"]) for row in rows) == http.get("/usage").json()["totals"]["credits"]
    everybodys = http.get("/usage?format=csv", headers={"xi-api-key": ADMIN}).text
    assert len(everybodys.splitlines()) >= 2 and everybodys.startswith("day,caller,model_id,")
    refused = http.get("/usage?format=xml")
    assert refused.status_code == 422 and "csv or json" in refused.json()["detail"]["message"]
    assert http.get("/usage", headers={"accept": "*/*"}).headers["content-type"] == "application/json"


def test_the_account_is_read_for_the_admin_alone(http: httpx.Client, sandbox: SandboxThread) -> None:
    """In the background, so nobody waits for it; what it said is there at the next look."""
    admin = {"xi-api-key": ADMIN}
    eventually(lambda: http.get("/usage", headers=admin).json()["account"]["credits_limit"])
    said = http.get("/usage", headers=admin).json()
    assert set(said["account"]) >= {"credits_used", "credits_limit", "resets_at", "drift_credits", "read_at", "why_not"}
    assert said["account"]["why_not"] is None and said["forecast"]["credits_left"] > 0
    mine = http.get("/usage").json()
    assert (mine["account"], mine["forecast"]["credits_left"]) == ({}, None)


def test_the_dashboard_needs_no_third_party_and_no_script(http: httpx.Client) -> None:
    """A browser asks for the key; what the page runs is named by its hash, and numbers are there without it."""
    asked = http.get("/dashboard", headers={"xi-api-key": ""})
    assert asked.status_code == 401 and asked.headers["www-authenticate"].startswith("Basic ")
    again = http.get("/dashboard", headers={"xi-api-key": "", "x-requested-with": "dashboard"})
    assert again.status_code == 401 and "www-authenticate" not in again.headers
    page = http.get("/dashboard", headers={"xi-api-key": ""}, auth=("anybody", ADMIN))
    policy = page.headers["content-security-policy"]
    for tag in ("script", "style"):
        [inside] = re.findall(f"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"(src|href)=\"?(https?:)?//", page.text) and " style=" not in page.text
    assert re.search(r">standard</th><td [^>]*><span>0 of 2<", page.text)
    polled = http.get("/usage", headers={"xi-api-key": ""}, auth=("anybody", ADMIN))
    assert polled.status_code == 200


def test_basic_is_for_looking_not_for_speaking(http: httpx.Client, sandbox: SandboxThread) -> None:
    """A browser sends it by itself, so it must not be able to spend."""
    answer = http.post(SAY, json={"text": "a"}, headers={"xi-api-key": ""}, auth=("anybody", ADMIN))
    assert answer.status_code == 401 and "www-authenticate" not in answer.headers


def test_metrics_are_for_the_admin(http: httpx.Client) -> None:
    """As Prometheus reads them; where another exporter was chosen there is no such route."""
    answer = http.get("/metrics", headers={"xi-api-key": ADMIN})
    if answers.METRICS != "prometheus":
        assert (answer.status_code, answer.json()["detail"]["code"]) == (404, "not_offered")
    else:
        assert answer.status_code == 200 and b"speech_requests_total" in answer.content
    assert answer.headers["x-speech-request-id"]


def test_health_is_open(url: str) -> None:
    """To whoever asks, without a key."""
    assert [httpx.get(url + path).status_code for path in ("/healthz", "/readyz")] == [200, 200]


def test_a_developer_needs_no_key_and_a_service_without_one_is_not_ready(tmp_path: Path) -> None:
    """On loopback in development anybody is ``local`` and admin; without the vendor's key it lives and isn't ready."""
    with serving(SPEECH_ENV="development", SPEECH_CACHE_DIR=str(tmp_path)) as url:
        assert httpx.get(f"{url}/usage").status_code == 200
        assert [httpx.get(url + path).status_code for path in ("/healthz", "/readyz")] == [200, 503]
        assert json.loads(httpx.get(f"{url}/readyz").text) == {"ready": False}
