"""The dashboard in a real Chromium, of a service that runs: its looks, its life, its honesty. Screenshots are kept.

They lie in $DASHBOARD_SHOTS, or in the tests' own folder.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from browsing import PHONE, WIDE, Browser, chromium
from rendering import FRAMEWORKS, Renders
from test_runs import VOICE, environment, free_port, started

ADMIN, OTHER = "the-admin-of-these-tests", "another-key-of-these-tests"
TENANTS = [f"tenant-{n}" for n in range(199)] + ["a-name-that-some-machine-made-" + "0123456789abcdef" * 2]
KEYS = {name: f"{name}-client-key" for name in TENANTS}
TAB = "\ue004"
SPEND = {"SPEECH_DAILY_BUDGET_USD": "5", "SPEECH_CALLERS": '{"tenant-0": {"daily_usd": 0.05}}'}


class Service(NamedTuple):
    """One that runs, and what speaks with it."""

    url: str
    process: subprocess.Popen[str]
    http: httpx.Client

    @property
    def dashboard(self) -> str:
        """With the admin's key in it: what somebody would type into the browser's question."""
        return self.url.replace("//", f"//anybody:{ADMIN}@") + "/dashboard"

    def usage(self) -> dict[str, Any]:
        told: dict[str, Any] = self.http.get("/usage", headers={"xi-api-key": ADMIN}).json()
        return told

    def say(self, text: str, caller: str = "tenant-0", model: str = "eleven_flash_v2_5", **headers: str) -> int:
        """The status of the answer."""
        body, headers = {"text": text, "model_id": model}, {"xi-api-key": KEYS[caller]} | headers
        return self.http.post(f"/v1/text-to-speech/{VOICE}", json=body, headers=headers).status_code

    def load(self, calls: list[tuple[Any, ...]], **headers: str) -> list[int]:
        with ThreadPoolExecutor(20) as threads:
            return list(threads.map(lambda call: self.say(*call, **headers), calls))


@contextmanager
def serving(renders: Renders, folder: Path, framework: str = "fastapi", **env: str) -> Iterator[Service]:
    answers = {"layout": "service", "framework": framework, "cache_backend": "memory", "metrics": "prometheus"}
    port = int(env.pop("PORT", free_port()))
    keys = ",".join(f"{name}:{key}" for name, key in (KEYS | {"admin": ADMIN}).items())
    env = environment(renders.of(answers), SPEECH_LOG_LEVEL="error", SPEECH_CLIENT_KEYS=keys) | env
    stand_in = [] if "ELEVENLABS_API_KEY" in env else ["--sandbox"]
    argv, url = ("-m", "acme_voice", "serve", "--port", str(port), *stand_in), f"http://127.0.0.1:{port}"
    with started(*argv, cwd=folder, port=port, env=env) as process, httpx.Client(base_url=url, timeout=120) as http:
        try:
            yield Service(url, process, http)
        finally:
            process.terminate()  # killed, it would leave its sandbox behind
            process.wait(60)


@pytest.fixture(scope="module")
def busy(renders: Renders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that 200 callers have used, with every kind of fault."""
    with serving(renders, tmp_path_factory.mktemp("busy"), **SPEND) as service:
        texts = [(f"Text number {n}, for {who}. " * (1 + n % 7), who) for n, who in enumerate(TENANTS)]
        assert set(service.load(texts)) == {200}
        for n, fault in enumerate(("503", "500", "empty", "cut;after=3", "429;kind=busy", "silence")):
            service.say(f"It fails in its own way: {fault}", f"tenant-{n}", **{"X-Sandbox-Fault": fault})
            service.load([(f"In between all is well, {n} {m}.", "tenant-9") for m in range(10)])
        service.load(texts[:60])
        long = "A longer one, of another model. " * 9
        service.load([(f"{long}{n}", "tenant-7", "eleven_multilingual_v2") for n in range(9)])
        yield service


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(chrome: Browser) -> Browser:
    """As if new."""
    chrome.open("about:blank")
    chrome.look()
    chrome.complaints(), chrome.asked()
    return chrome


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("DASHBOARD_SHOTS") or tmp_path_factory.mktemp("shots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def assert_quiet(browser: Browser, url: str) -> None:
    """No error, nothing that the policy forbade, and nobody else was asked for anything."""
    assert browser.complaints() == []
    asked = {address.replace(f"anybody:{ADMIN}@", "") for address in browser.asked()}
    assert asked - {"data:,", "about:blank"} == {f"{url}/dashboard"}


def cents(amount: float) -> str:
    return "< 0.01 USD" if 0 < amount < 0.005 else f"{amount:,.2f} USD"


# ---------------------------------------------------------------------------------------------------------------- looks

LOOKS = {"light": (WIDE, "light"), "dark": (WIDE, "dark"), "phone": (PHONE, "light"), "phone-dark": (PHONE, "dark")}


@pytest.mark.parametrize("name", LOOKS)
def test_it_can_be_read(busy: Service, browser: Browser, shots: Path, name: str) -> None:
    """Enough contrast for every word, all inside the window, and the reader's own scheme; with everything unfolded."""
    (width, height), scheme = LOOKS[name]
    browser.look((width, height), scheme)
    browser.open(busy.dashboard)
    browser.until("return document.querySelectorAll('#past-flash polyline')[0].getAttribute('points').includes(' ')")
    browser.screenshot(shots / f"busy-{name}.png")
    browser.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    seen, poor = browser.run("return contrast()")
    assert seen > 150 and poor == []
    assert browser.run("return innerWidth") == width
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return outside()") == []
    paper = browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(paper) < 60) if scheme == "dark" else (min(paper) > 220)
    browser.screenshot(shots / f"busy-{name}-unfolded.png")
    assert_quiet(browser, busy.url)


def test_it_can_be_heard(busy: Service, browser: Browser) -> None:
    """Tables are tables also where they are drawn as cards, rows have names, and every chart has words."""
    browser.look(PHONE)
    browser.open(busy.dashboard)
    nodes = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    told = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = [role for role, _ in told]
    assert roles.count("table") >= 6 and roles.count("rowheader") > 12 and roles.count("columnheader") > 20
    assert roles.count("status") == 2 and roles.count("main") == 1
    headings = [name for role, name in told if role == "heading"]
    assert headings[:3] == ["Speech", "Pools", "Advice"] and all(headings)
    charts = [name for role, name in told if role in ("image", "img")]
    assert len(charts) == 5 and any(name.startswith("flash: 0 in flight, 0 waiting; at most") for name in charts)


def test_the_keyboard_reaches_everything(busy: Service, browser: Browser) -> None:
    """In the order of the page, and one sees where one is."""
    browser.open(busy.dashboard)
    reached = []
    for _ in range(5):
        browser.press(TAB)
        reached.append(browser.run("return focused()"))
    assert reached == [[name, "solid"] for name in ("Pause", "By model", "By month", "By day", "usage")]
    assert browser.run("return document.querySelectorAll('a, button, summary, input, [tabindex]').length") == 5


def test_motion_is_for_those_who_like_it(busy: Service, browser: Browser) -> None:
    """A bar glides, or jumps."""
    browser.open(busy.dashboard)
    gliding = "return getComputedStyle(document.querySelector('.bar .fill')).transitionDuration"
    assert browser.run(gliding) == "0.4s"
    browser.look(motion="reduce")
    assert browser.run(gliding) == "0s"


# ----------------------------------------------------------------------------------------------------------------- life


def test_it_lives_where_it_stands(busy: Service, browser: Browser) -> None:
    """New numbers without a reload: nothing that is read, focused or unfolded moves, and nothing is announced."""
    browser.open(busy.dashboard)
    before = browser.run("return figure('Answers')")
    browser.run("watch()")
    polls = browser.run("return polls()")
    for n in range(3):
        assert busy.say(f"Something new, number {n}.", "tenant-3") == 200
    browser.until("return figure('Answers') !== arguments[0]", before)
    browser.until("return polls() >= arguments[0]", polls + 2)
    *kept, shift = browser.run("return kept()")
    assert kept == [True, True, "By month", 400, 1, []]
    assert shift < 0.01
    assert_quiet(browser, busy.url)


def test_it_asks_only_while_somebody_looks(busy: Service, browser: Browser) -> None:
    """Not while it is paused, nor behind another tab; and at once when it is seen again."""
    browser.open(busy.dashboard)
    browser.run("document.getElementById('pause').focus()")
    browser.press(" ")
    browser.until("return state() === 'Paused'")
    time.sleep(0.5)  # one may have been under way
    polls = browser.run("return polls()")
    time.sleep(2.5)
    assert browser.run("return polls()") == polls
    browser.press(" ")
    browser.until("return state() === 'Live'")
    browser.run("window.seen = []; document.addEventListener('visibilitychange', () => seen.push(performance.now()))")
    with browser.another_tab():
        time.sleep(3)
    hidden, shown = browser.until("return seen.length === 2 && seen")
    browser.until(
        "return performance.getEntriesByType('resource').some((e) => e.startTime > arguments[0])", shown - 100
    )
    asked = browser.run("return performance.getEntriesByType('resource').map((e) => e.startTime)")
    assert shown - hidden > 2500
    assert [at for at in asked if hidden + 100 < at < shown - 100] == []


def test_costs_are_those_of_usage(busy: Service, browser: Browser) -> None:
    """To the cent, of the day, the month, each caller and model, after a load with faults that the page has watched."""
    browser.open(busy.dashboard)
    browser.run("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    faults = ("500", "503", "empty", "cut;after=2", "504", "silence")
    for turn, fault in enumerate(faults):
        calls = [(f"{turn} {n} " * 40, f"tenant-{n}", "eleven_multilingual_v2") for n in range(4)]
        busy.load(calls)
        busy.load([(f"Faulty {text}", *rest) for text, *rest in calls[:1]], **{"X-Sandbox-Fault": fault})
    usage = busy.usage()
    [today], [month] = usage["by"]["day"], usage["by"]["month"]
    browser.until("return figure('Cost today') === arguments[0]", cents(today["cost_usd"]))
    assert usage["totals"]["cost_usd"] > 0.3 and usage["totals"]["uncertain_credits"] > 0
    assert browser.run("return figure('Cost this month')") == cents(month["cost_usd"])
    assert browser.run("return figure('Uncertain')") == f"{usage['totals']['uncertain_credits']:,}"
    for key, table in (("caller", ".callers"), ("model", ".sums details:nth-of-type(1)")):
        costs = {row[key]: cents(row["cost_usd"]) for row in usage["by"][key]}
        shown = {name: cells[-1] for name, cells in browser.run("return rows(arguments[0])", table).items()}
        others = shown.pop("190 others", "")
        assert shown.items() <= costs.items() and len(shown) == min(10, len(costs))
        assert bool(others) == (key == "caller")


# -------------------------------------------------------------------------------------------------------------- honesty


def test_without_a_script_it_is_all_there(busy: Service, browser: Browser, shots: Path) -> None:
    """Numbers, tables and the cost's chart, and a line that says how to get new ones."""
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(busy.dashboard)
        browser.screenshot(shots / "without-a-script.png")
        nodes = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    finally:
        browser.devtools("Emulation.setScriptExecutionDisabled", value=False)
    told = [node.get("name", {}).get("value", "") for node in nodes if not node["ignored"]]
    assert any(word.startswith("Without JavaScript") for word in told) and "Pause" not in told
    assert {"standard", "flash", "tenant-7", "190 others"} <= set(told)


def test_nothing_happened_yet(renders: Renders, tmp_path: Path, browser: Browser, shots: Path) -> None:
    """A new service, its first caller, a failing ElevenLabs, the end: the page says each, and is never blank."""
    with serving(renders, tmp_path, SPEECH_GRACE_S="30") as service:
        browser.open(service.dashboard)
        assert (
            browser.run("return figure('Cost today')") == "0.00 USD" and browser.run("return figure('Errors')") == "–"
        )
        browser.screenshot(shots / "empty.png")
        assert service.say("Hello, first caller.") == 200
        browser.until("return figure('Answers') === '1'")
        assert browser.run("return rows('.callers')").keys() == {"tenant-0"}
        assert_quiet(browser, service.url)

        for n in range(4):
            service.say(f"It fails, {n}", **{"X-Sandbox-Fault": "503", "X-Deadline-Ms": "3000"})
        browser.until("return alarms().includes('Pool flash: ElevenLabs is failing')")
        browser.screenshot(shots / "breaker-open.png")

        with ThreadPoolExecutor() as threads:
            slow = threads.submit(
                service.say, "Slowly.", model="eleven_multilingual_v2", **{"X-Sandbox-Fault": "slow;s=6"}
            )
            browser.until("return rows('.pools').standard[0].startsWith('1 of')")
            service.process.send_signal(signal.SIGTERM)
            browser.until("return alarms().includes('Draining')")
            browser.screenshot(shots / "draining.png")
            assert slow.result() == 200
        browser.until("return state().startsWith('No answer since ')")
        red, green, _ = browser.run("return getComputedStyle(document.getElementById('state')).color.match(/\\d+/g)")
        assert int(red) > 2 * int(green)
        browser.screenshot(shots / "no-answer.png")
        assert browser.run("return figure('Answers')") == "1", "what was known stays"
        port = service.url.rpartition(":")[2]
    with serving(renders, tmp_path, PORT=port, SPEECH_CLIENT_KEYS=f"admin:{OTHER}"):
        browser.until("return state().startsWith('The key is not accepted')")
        time.sleep(1)  # for one that was on its way already
        polls = browser.run("return polls()")
        time.sleep(3)
        assert browser.run("return polls()") == polls


HEADERS = "content-type content-security-policy x-content-type-options referrer-policy cache-control".split()


def test_it_is_the_same_in_every_framework(renders: Renders, tmp_path: Path) -> None:
    """To the byte, but for the numbers; the headers too."""

    def told(framework: str) -> tuple[str, dict[str, str]]:
        with serving(renders, tmp_path, framework, ELEVENLABS_API_KEY="nothing-is-spoken-here") as service:
            page = service.http.get("/dashboard", headers={"xi-api-key": ADMIN})
        assert page.status_code == 200
        return re.sub(r"\d+", "0", page.text), {name: page.headers[name] for name in HEADERS}

    for framework in FRAMEWORKS:
        renders.of({"layout": "service", "framework": framework, "cache_backend": "memory", "metrics": "prometheus"})
    with ThreadPoolExecutor() as threads:
        first, *others = threads.map(told, FRAMEWORKS)
    assert all(other == first for other in others)
