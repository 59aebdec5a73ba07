"""ops/: rules and dashboard hold together with the metrics there are; when alerts fire, says promtool."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitored import SHORT, need, panels, rules
from rendering import ROOT, SPEECH, Renders, run

OPS = ROOT / "template/ops"
BOARD: dict[str, Any] = json.loads((OPS / "grafana/dashboards/speech.json").read_text("utf-8"))
ALERTS = {rule["alert"]: rule for rule in rules(OPS)}
TARGETS = [target["expr"] for panel in panels(OPS) for target in panel["targets"]]
QUERIES = TARGETS + [rule["expr"] for rule in ALERTS.values()]
TIMES: dict[str, Any] = yaml.safe_load((ROOT / "tests/data/alerts.yaml").read_text("utf-8"))


def exposed() -> dict[str, set[str]]:
    """What a scrape reads, by name: its labels."""
    names: dict[str, set[str]] = {}
    for name, (kind, _, _, *labels) in json.loads((SPEECH / "metrics.json").read_text("utf-8")).items():
        full = f"speech_{re.sub('_s$', '_seconds', name) if kind == 'histogram' else name}"
        suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}[kind]
        names |= {full + suffix: {*labels, *(["le"] if suffix == "_bucket" else [])} for suffix in suffixes}
    return names


def test_every_query_asks_for_a_metric_that_there_is() -> None:
    """By its name, and by labels that it has."""
    known = exposed()
    for query in QUERIES:
        for name, matchers in re.findall(r"\b(speech_\w+)(\{[^}]*\})?", query):
            assert name in known, f"{name} in {query}"
            assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= known[name] | {"job"}, query


def test_every_metric_is_on_the_dashboard() -> None:
    """But for what only a rule needs, and the sums that no quantile asks for."""
    shown = {name for query in TARGETS for name in re.findall(r"\bspeech_\w+", query)}

    assert {name for name in exposed() if not name.endswith(("_sum", "_count"))} - shown == {"speech_renewal_days"}


def test_every_outcome_is_a_failure_or_a_mistake_or_neither() -> None:
    """A code that is new has to be sorted: else its requests would count as good ones."""
    source = (SPEECH / "errors.py").read_text("utf-8").partition("STATUS = {")[2].partition("}")[0]
    failures, mistakes = (
        set(found.split("|")) for found in re.findall(r'outcome[=!]~"([^"]+)"', ALERTS["SpeechErrorRate"]["expr"])
    )
    refused = {"queue_full", "deadline_unreachable", "draining"}

    assert failures | (mistakes - {"left"}) | refused == set(re.findall(r'"(\w+)":', source))
    assert f'outcome=~"{"|".join(sorted(failures))}"' in [
        f'outcome=~"{"|".join(sorted(m.split("|")))}"' for t in TARGETS for m in re.findall(r'outcome=~"([^"]+)"', t)
    ]


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_and_where_to_read_on(name: str) -> None:
    """One sentence for the phone, some for the screen, and a place on the operator's page."""
    rule = ALERTS[name]

    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"speech/README.md#alert-{name.lower()}"


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """Its ids are its own, nothing lies over anything else, and all asks the datasource that is chosen."""
    boxes = [panel["gridPos"] for panel in BOARD["panels"]]
    cells = [(x, y) for b in boxes for x in range(b["x"], b["x"] + b["w"]) for y in range(b["y"], b["y"] + b["h"])]
    variables = {variable["name"] for variable in BOARD["templating"]["list"]}

    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) == 23
    assert variables == {"datasource", "job"}
    for panel in panels(OPS):
        assert panel["title"] and panel["type"] in ("stat", "timeseries", "heatmap")
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in (panel, *panel["targets"]):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert all('job="$job"' in query for query in TARGETS)


def test_grafana_finds_what_compose_mounts() -> None:
    """Datasource and dashboards, where their provisioning says."""
    provider = yaml.safe_load((OPS / "grafana/provisioning/dashboards/speech.yml").read_text())["providers"][0]
    source = yaml.safe_load((OPS / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    services = yaml.safe_load((ROOT / "template/compose.yaml.jinja").read_text().replace("{{ package_name }}", "x"))
    mounted = {v["target"]: v["source"] for v in services["services"]["grafana"]["volumes"] if isinstance(v, dict)}

    assert mounted[provider["options"]["path"]] == "./ops/grafana/dashboards"
    assert mounted["/etc/grafana/provisioning"] == "./ops/grafana/provisioning"
    assert source["url"] == "http://prometheus:9090" and "prometheus" in services["services"]


def test_every_span_has_its_short_one() -> None:
    """The live test shortens them all, as docs/deploy.md says."""
    page = (ROOT / "docs/deploy.md").read_text("utf-8")
    spans = {
        span for query in QUERIES for span in re.findall(r"\[([^\]]+)\]|offset (\w+)", query) for span in span if span
    }

    assert spans == set(SHORT)
    assert all(f"`{long}` {short}" in page for long, short in SHORT.items())


def test_every_alert_is_timed() -> None:
    assert set(ALERTS) <= set(TIMES)


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """promtool plays each fault to the real rules: quiet before, firing after its time, quiet when it is over."""
    tests = []
    for title, row in TIMES.items():
        name = title.split()[0]
        assert all(isinstance(values, str) for values in row["series"].values()), f"{title}: 0x10 is a number in YAML"
        series = [{"series": with_job(key), "values": values} for key, values in row["series"].items()]
        expected = [
            {"eval_time": at, "alertname": name, "exp_alerts": [alert(name, labels) for labels in rows]}
            for at, rows in row["alerts"].items()
        ]
        about = {"name": title, "interval": row.get("interval", "1m")}
        tests.append(about | {"input_series": series, "alert_rule_test": expected})
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "speech", "rules": unannotated()}]}))
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests}))
    done = run(need("promtool"), "test", "rules", "test.yml", cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


def with_job(series: str) -> str:
    if "job=" in series:
        return series
    return series.replace("{", '{job="speech", ') if "{" in series else f'{series}{{job="speech"}}'


def alert(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"exp_labels": {"job": "speech", "severity": ALERTS[name]["labels"]["severity"]} | labels}


def unannotated() -> list[dict[str, Any]]:
    """Times are tested here, not words."""
    return [{key: value for key, value in rule.items() if key != "annotations"} for rule in ALERTS.values()]


def test_prometheus_takes_rules_and_configuration(renders: Renders) -> None:
    """As rendered, to the letter: no Jinja has eaten what is Prometheus' own."""
    folder = renders.of({"layout": "service", "deploy": True}) / "ops/prometheus"
    for what, file in ((["rules"], "rules.yml"), (["config", "--syntax-only"], "prometheus.yml")):
        done = run(need("promtool"), "check", *what, folder / file)

        assert done.returncode == 0, done.stdout + done.stderr
    assert "{{ $labels.pool }}" in (folder / "rules.yml").read_text()
