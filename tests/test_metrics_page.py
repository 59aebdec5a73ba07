"""docs/metrics.md says of every metric what metrics.json says."""

import json
import re

from rendering import ROOT, SPEECH

PAGE = (ROOT / "docs/metrics.md").read_text("utf-8")


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
