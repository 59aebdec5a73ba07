"""Form data as httpx, requests and browsers send it: split by the boundary."""

import re
from dataclasses import dataclass, field

BOUNDARY = re.compile(r'multipart/form-data;.*\bboundary="?([^";]+)', re.IGNORECASE)
NAME = re.compile(rb'content-disposition:[^\r\n]*?;\s*name="([^"\r\n]*)"', re.IGNORECASE)
FILENAME = re.compile(rb'content-disposition:[^\r\n]*?;\s*filename="([^"\r\n]*)"', re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    name: str
    is_file: bool
    data: bytes = field(repr=False)


def parts_of(content_type: str, body: bytes) -> list[Part]:
    """Every part, repeated names included; none where this is no form."""
    boundary = BOUNDARY.match(content_type)
    if not boundary:
        return []
    sections = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]
    return [part for section in sections if (part := _part(section))]


def _part(section: bytes) -> Part | None:
    head, _, data = section.partition(b"\r\n\r\n")
    name = NAME.search(head)
    return Part(name[1].decode("utf-8", "replace"), bool(FILENAME.search(head)), data) if name else None
