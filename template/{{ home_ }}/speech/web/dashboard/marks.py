"""What a page is made of: tags that escape what they hold, tables, numbers as people read them, and small charts.

Charts are drawn by hand: bars and lines are a few SVG rectangles, and a library would be ten times the page. Whatever a
chart shows also stands beside it in words, or in its label.
"""

import html
import math
from collections.abc import Iterable, Sequence

NONE = "–"


class Html(str):
    """Made by ``tag``: not to be escaped again."""


Cell = str | int


def tag(name: str, *content: Cell, **attributes: str | float) -> Html:
    """An element; ``class_`` and ``aria_label`` are class and aria-label."""
    inside = "".join(c if isinstance(c, Html) else html.escape(str(c)) for c in content)
    named = (f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items())
    return Html(f"<{name}{''.join(named)}>{inside}</{name}>")


def section(key: str, title: str, *content: Html, note: str = "", width: str = "whole") -> Html:
    """*width* is whole, half or third of the page, where there is room."""
    heading, about = tag("h2", title, id=f"{key}-title"), tag("p", note, class_="note")
    return tag("section", heading, about, *content, class_=f"{key} {width}", aria_labelledby=f"{key}-title")


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], empty: str = "None yet.") -> Html:
    """The first cell names its row. Roles are spoken out: on a phone the rows are drawn as cards, not as a table."""
    top = tag("tr", *(tag("th", head, scope="col", role="columnheader") for head in heads), role="row")
    body = [tag("tr", *_cells(heads, row), role="row") for row in rows]
    if not body:
        return tag("p", empty, class_="note")
    parts = tag("thead", top, role="rowgroup"), tag("tbody", *body, role="rowgroup")
    return tag("table", *parts, role="table")


def _cells(heads: Sequence[str], row: Sequence[Cell]) -> Iterable[Html]:
    yield tag("th", row[0], scope="row", role="rowheader")
    yield from (tag("td", cell, role="cell", data_head=head) for head, cell in zip(heads[1:], row[1:], strict=True))


def name(text: str) -> Html:
    """Somebody's name, however long: two lines of it are seen, all of it is there."""
    return tag("span", text, class_="name", title=text)


# -------------------------------------------------------------------------------------------------------------- numbers


def usd(amount: float) -> str:
    """To the cent; what is less than half of one is not nothing."""
    return "< 0.01 USD" if 0 < amount < 0.005 else f"{amount:,.2f} USD"


def whole(number: float) -> str:
    return f"{round(number):,}"


def percent(part: float, of: float) -> str:
    """To a tenth; none of what never happened."""
    if not of:
        return NONE
    return "< 0.1 %" if 0 < part / of < 0.0005 else f"{100 * part / of:.1f} %"


def seconds(value: float | None) -> str:
    if value is None:
        return NONE
    if value < 1:
        return f"{1000 * value:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:,.1f} h"


def size(value: float) -> str:
    """Bytes, by thousands."""
    power = min(3, int(math.log10(max(1, value)) // 3))
    return f"{value / 1000**power:,.{1 if power else 0}f} {('B', 'kB', 'MB', 'GB')[power]}"


# --------------------------------------------------------------------------------------------------------------- charts


def bar(used: float, limit: float, full: str = "second") -> Html:
    """How much of a limit is used, in another colour where that is all. Its numbers stand beside it in words."""
    share = min(1.0, used / limit) if limit else float(used > 0)
    looks = f"fill {full}" if share >= 1 else "fill"
    return _svg("bar", 100, 8, _rect("track", 0, 0, 100, 8), _rect(looks, 0, 0, 100 * share, 8), aria_hidden="true")


def past(key: str, label: str, *values: float, grows: bool = False) -> Html:
    """The last two minutes of up to two numbers, as the browser saw them; of what ``grows``, how much it did."""
    facts = {"data_now": " ".join(f"{value:g}" for value in values)} | ({"data_grows": ""} if grows else {})
    lines = [tag("polyline") for _ in values]
    return _svg("past", 100, 20, *lines, id=f"past-{key}", role="img", aria_label=label, **facts)


def keys(first: str, second: str, *, dashed: bool = True) -> Html:
    """What the two colours of a chart are; dashed, where the second line is."""
    looks = "key second dashed" if dashed else "key second"
    return tag("span", tag("span", first, class_="key"), tag("span", second, class_=looks))


def spread(*pairs: Sequence[float]) -> Html:
    """From p50 to p95, one line each, on a logarithmic scale from 50 ms to 2 minutes; a mark at 1 and at 10 s."""
    grid = [_rect("grid", _place(at), 0, 0.4, 20) for at in (0.1, 1, 10, 100)]
    bars = [
        _rect(looks, _place(low), top, max(1.0, _place(high) - _place(low)), 5)
        for (low, high), looks, top in zip(pairs, ("fill", "fill second"), (3, 12), strict=True)
    ]
    return _svg("spread", 100, 20, *grid, *bars, aria_hidden="true")


def _place(value: float) -> float:
    return 100 * math.log(min(120.0, max(0.05, value)) / 0.05) / math.log(120 / 0.05)


def columns(label: str, values: Sequence[float]) -> Html:
    top = max(*values, 1e-9)
    bars = [_rect("fill", 10 * n + 1, 100 - 100 * v / top, 8, 100 * v / top) for n, v in enumerate(values)]
    return _svg("days", 10 * len(values), 100, *bars, role="img", aria_label=label)


def _svg(kind: str, width: int, height: int, *content: Html, **attributes: str) -> Html:
    return tag("svg", *content, class_=kind, viewBox=f"0 0 {width} {height}", preserveAspectRatio="none", **attributes)


def _rect(kind: str, x: float, y: float, width: float, height: float) -> Html:
    return tag("rect", class_=kind, x=round(x, 2), y=round(y, 2), width=round(width, 2), height=round(height, 2))
