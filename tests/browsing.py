"""A real Chromium without a screen, driven by chromedriver's own HTTP: no library is needed for that."""

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PROBES = Path(__file__).with_suffix(".js").read_text("utf-8")
PATIENCE_S = 60
WIDE, PHONE = (1280, 900), (360, 740)


class Browser(NamedTuple):
    """One tab."""

    session: httpx.Client

    def command(self, path: str, **body: Any) -> Any:
        answer = self.session.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()["value"]

    def devtools(self, cmd: str, **params: Any) -> Any:
        return self.command("goog/cdp/execute", cmd=cmd, params=params)

    def open(self, url: str) -> None:
        self.command("url", url=url)

    def run(self, script: str, *args: Any) -> Any:
        """What the function body *script* returns; ``browsing.js`` lends it its functions."""
        return self.command("execute/sync", script=PROBES + script, args=list(args))

    def until(self, script: str, *args: Any) -> Any:
        """What *script* returns, as soon as that is truthy."""
        until = time.monotonic() + PATIENCE_S
        while not (found := self.run(script, *args)):
            assert time.monotonic() < until, f"never came: {script}\n{self.run('return document.body.innerText')}"
            time.sleep(0.1)
        return found

    def look(self, size: tuple[int, int] = WIDE, scheme: str = "light", motion: str = "no-preference") -> None:
        """As a reader with such a window, who likes it so."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=size[0], height=size[1], deviceScaleFactor=1, mobile=size == PHONE,
        )  # fmt: skip
        likes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in likes.items()]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def press(self, key: str) -> None:
        downs = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self.command("actions", actions=[{"type": "key", "id": "keyboard", "actions": downs}])

    @contextmanager
    def another_tab(self) -> Iterator[None]:
        """In front of this one."""
        here = self.session.get("window").json()["value"]
        self.command("window", handle=self.command("window/new", type="tab")["handle"])
        yield
        self.session.delete("window")
        self.command("window", handle=here)

    def screenshot(self, file: Path) -> None:
        """All of the page, not only what is in the window."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What the console said since it was asked last: errors, and what the policy forbade."""
        return [row["message"] for row in self.command("se/log", type="browser")]

    def asked(self) -> list[str]:
        """The address of every request since it was asked last, tried or done."""
        rows = (json.loads(row["message"])["message"] for row in self.command("se/log", type="performance"))
        return [row["params"]["request"]["url"] for row in rows if row["method"] == "Network.requestWillBeSent"]


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Skips, by name, where there is none."""
    browser, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not browser or not driver:
        pytest.skip("needs chromium and chromedriver on the path: apt-get install chromium chromium-driver")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL) as process:
        try:
            yield _session(f"http://127.0.0.1:{port}", browser, profile)
        finally:
            httpx.get(f"http://127.0.0.1:{port}/shutdown")
            process.wait(PATIENCE_S)


def _session(url: str, browser: str, profile: Path) -> Browser:
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": {"binary": browser, "args": [*FLAGS, f"--user-data-dir={profile}"]},
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    with httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=7), timeout=PATIENCE_S) as http:
        answer = http.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
    assert "sessionId" in answer, answer
    return Browser(httpx.Client(base_url=f"{url}/session/{answer['sessionId']}/", timeout=PATIENCE_S))
