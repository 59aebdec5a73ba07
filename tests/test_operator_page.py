"""speech/README.md, the operator's page: every metric, alert and variable, and none that isn't there."""

import json
import re

import yaml
from rendering import ROOT, SPEECH

PAGE = (SPEECH / "README.md").read_text("utf-8")


def rows(first: str) -> list[list[str]]:
    """The table whose first column is so called."""
    (_, _, below) = PAGE.partition(f"| {first} |")
    table = below.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def prometheus(name: str, kind: str) -> str:
    name = re.sub("_s$", "_seconds", name)
    return f"speech_{name}_total" if kind == "counter" else f"speech_{name}"


def test_every_metric_is_on_the_page() -> None:
    """Its two names, its kind, labels, unit and sentence, in the same order; and none beside them."""
    known = json.loads((SPEECH / "metrics.json").read_text("utf-8"))

    assert rows("Prometheus") == [
        [
            f"`{prometheus(name, kind)}`",
            f"`speech.{name.removesuffix('_s')}`",
            kind,
            ", ".join(labels) or "-",
            unit,
            text,
        ]
        for name, (kind, text, unit, *labels) in known.items()
    ]


def test_every_label_is_on_the_page() -> None:
    """With the values that it can have."""
    known = json.loads((SPEECH / "metrics.json").read_text("utf-8"))
    labels = {label for _, _, _, *labels in known.values() for label in labels}

    assert {row[0] for row in rows("label")} == labels


def test_every_attribute_of_a_span_is_on_the_page() -> None:
    """As the exporter names them."""
    source = (SPEECH / "exporters/opentelemetry_spans.py").read_text("utf-8")
    code = source.partition('"""\n\nimport')[2]
    told = re.search(r'^TOLD = "(.+)"', code, re.M)
    assert told
    names = set(re.findall(r'"((?:gen_ai|speech|error)\.[a-z_.]+)"', code)) | {f"speech.{n}" for n in told[1].split()}

    assert {name for name in names if f"`{name}`" not in PAGE} == set()


def test_every_alert_is_on_the_page() -> None:
    """Each leads to its own heading, and no heading is of an alert that is gone."""
    rules = yaml.safe_load((ROOT / "template/ops/prometheus/rules.yml").read_text("utf-8"))
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    headings = re.findall(r"^### (Alert \w+)$", PAGE, re.M)

    assert headings == [f"Alert {rule['alert']}" for rule in alerts]
    assert [rule["annotations"]["runbook"].partition("#")[2] for rule in alerts] == [
        heading.lower().replace(" ", "-") for heading in headings
    ]


def test_every_alert_says_what_to_do() -> None:
    """At 3 a.m. nobody wants to know why alone."""
    told = re.split(r"^### Alert ", PAGE.partition("## Alerts")[2].partition("## Variables")[0], flags=re.M)[1:]

    assert [one.split()[0] for one in told if "**Do:**" not in one] == []


def test_every_variable_is_on_the_page() -> None:
    """Those of the settings, and of a secret the twin that names a file."""
    source = (SPEECH / "settings.py").read_text("utf-8")
    names = re.findall(r'_var\("([A-Z_]+)"', source)
    secrets = re.findall(r'_var\("([A-Z_]+)".*secret=True', source)

    assert {row[0].strip("`") for row in rows("variable")} == set(names)
    assert {name for name in secrets if f"`{name}_FILE`" not in PAGE} == set()
