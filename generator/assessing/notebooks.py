"""A notebook's code cells as one Python text, and the notebook's line of each of its lines."""

import json
import re
from typing import Any, NamedTuple

MAGIC = re.compile(r"^(\s*)(?:[%!?]|.*\?{1,2}\s*$)")


class Code(NamedTuple):
    text: str
    lines: list[int]


def code(text: str) -> Code:
    """Cells one below the other, magics blanked.  Raises ValueError for what is no notebook."""
    content = json.loads(text)
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        raise ValueError("a notebook without cells")
    taken: list[str] = []
    places: list[int] = []
    finder = Places(text)
    for cell in cells:
        for line in cell_lines(cell):
            places.append(finder.of(line))
            taken.append(without_magic(line))
    return Code("\n".join(taken), places)


def cell_lines(cell: Any) -> list[str]:
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return []
    source = cell.get("source", "")
    lines = ("".join(source) if isinstance(source, list) else str(source)).split("\n")
    return [] if lines and lines[0].startswith("%%") and not lines[0].startswith(("%%time", "%%capture")) else lines


def without_magic(line: str) -> str:
    if assigned := re.match(r"^(\s*)(\w+)\s*=\s*[!%]", line):
        return f"{assigned[1]}{assigned[2]} = None"
    return MAGIC.sub(r"\1pass  #", line, count=1) if MAGIC.match(line) and "#" not in line else line


class Places:
    """Where a line of a cell stands in the notebook: they come in the same order."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._line = text, 0, 1

    def of(self, line: str) -> int:
        written = (json.dumps(line, ensure_ascii=plain)[1:-1] for plain in (False, True))
        found = max(self._text.find(text, self._at) for text in written) if line.strip() else -1
        if found > self._at:
            self._line += self._text.count("\n", self._at, found)
            self._at = found
        return self._line
