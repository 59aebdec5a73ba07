"""A Prometheus beside a service, as ops/prometheus says, but a minute there is a second here."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

# Spans of time in rules and panels, for a test that has no five minutes. docs/deploy.md names these replacements.
SHORT = {
    "1m": "3s",
    "5m": "5s",
    "10m": "5s",
    "1h": "4s",
    "6h": "5s",
    "1d": "10s",
    "24h": "10s",
    "$__rate_interval": "5s",
}
Series = list[tuple[float, float]]


def need(command: str) -> str:
    found = shutil.which(command)
    if not found:
        pytest.skip(f"needs {command} on the path: apt-get install prometheus")
    return found


def shortened(query: str) -> str:
    """With the spans of SHORT. One that it does not know is a KeyError."""
    query = re.sub(r"\[([^\]]+)\]", lambda span: f"[{SHORT[span[1]]}]", query)
    return re.sub(r"offset (\w+)", lambda span: f"offset {SHORT[span[1]]}", query)


def rules(ops: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((ops / "prometheus/rules.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def configure(ops: Path, folder: Path, target: str, key: str) -> Path:
    """The project's own files, with another target, and every wait a second."""
    folder.mkdir()
    (folder / "metrics_key").write_text(key)
    quick = [rule | {"expr": shortened(rule["expr"])} | ({"for": "1s"} if "for" in rule else {}) for rule in rules(ops)]
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "speech", "rules": quick}]}))
    config = (ops / "prometheus/prometheus.yml").read_text("utf-8")
    for ours, theirs in {"15s": "1s", "speech:8000": target, "/run/secrets": str(folder)}.items():
        assert ours in config
        config = config.replace(ours, theirs)
    (folder / "prometheus.yml").write_text(config)
    return folder / "prometheus.yml"


class Prometheus(NamedTuple):
    url: str
    since: float

    def get(self, path: str, **params: str | float) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def firing(self) -> set[str]:
        """Names of alerts, now."""
        return {a["labels"]["alertname"] for a in self.get("alerts")["alerts"] if a["state"] == "firing"}

    def history(self, query: str, start: float | None = None) -> list[Series]:
        """Every series that the query gave since the beginning, by the second."""
        found = self.get("query_range", query=query, start=start or self.since, end=time.time(), step=1)["result"]
        return [[(at, float(value)) for at, value in series["values"]] for series in found]

    def fired(self, start: float, end: float) -> set[str]:
        """Names of alerts that fired in between."""
        found = self.get("query_range", query='ALERTS{alertstate="firing"}', start=start, end=end, step=1)["result"]
        return {series["metric"]["alertname"] for series in found}


@contextmanager
def prometheus(config: Path, port: int) -> Iterator[Prometheus]:
    argv = ["--config.file", config, "--storage.tsdb.path", config.parent / "data", "--web.listen-address"]
    command = [need("prometheus"), *map(str, argv), f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: httpx.get(f"{url}/-/ready").status_code == 200, "Prometheus is ready")
            yield Prometheus(url, time.time())
        finally:
            child.kill()


def until(there: Any, what: str, patience_s: float = 60) -> None:
    """Wait for it, and fail with its name; whatever isn't there yet may raise an error of the network."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            if there():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    pytest.fail(f"waited {patience_s:g} s in vain: {what}")


def moved(series: list[Series]) -> bool:
    """Whether any of them had two values."""
    return any(len({value for _, value in one if value == value}) > 1 for one in series)


def panels(ops: Path) -> list[Mapping[str, Any]]:
    import json

    board = json.loads((ops / "grafana/dashboards/speech.json").read_text("utf-8"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]
