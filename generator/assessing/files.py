"""Reading what may be old, foreign, huge or broken."""

import codecs
import io
import os
import tokenize
from pathlib import Path
from typing import NamedTuple

LARGEST_BYTES = 2_000_000  # a source of 2 MB was written by a program
CODE = {".py", ".pyw", ".pyi"}
NOTEBOOK = ".ipynb"
CONFIG = {
    ".yaml",
    ".yml",
    ".json",
    ".toml",
    ".ini",
    ".cfg",
    ".conf",
    ".env",
    ".properties",
    ".tf",
    ".tfvars",
    ".service",
}
SCRIPT = {
    ".js",
    ".jsx",
    ".mjs",
    ".cjs",
    ".ts",
    ".tsx",
    ".vue",
    ".svelte",
    ".html",
    ".sh",
    ".bash",
    ".ps1",
    ".bat",
    ".rb",
    ".go",
}
PROSE = {".md", ".rst", ".txt", ".adoc", ".in"}
BY_NAME = ("Dockerfile", "Containerfile", "Procfile", "Makefile", "Pipfile", "justfile", ".env", ".flaskenv")
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Source(NamedTuple):
    """A file as text, lines as Python counts them."""

    name: str
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @property
    def suffix(self) -> str:
        return suffix(self.name)


def suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def is_env(name: str) -> bool:
    """``.env``, ``.env.local``, ``prod.env``: but no example of one."""
    last = name.rpartition("/")[2]
    is_one = (
        last == ".env" or last.startswith(".env.") or (last.endswith(".env") and len(last) > 4) or last == ".flaskenv"
    )
    return is_one and not is_example(last)


def is_example(name: str) -> bool:
    return any(word in name.lower() for word in ("example", "sample", "template", "dist", "default", "schema", "test"))


def worth_reading(name: str) -> bool:
    last = name.rpartition("/")[2]
    return suffix(last) in CODE | CONFIG | SCRIPT | PROSE | {NOTEBOOK} or last.startswith(BY_NAME)


def read(path: Path) -> bytes | str:
    """The content; or, as a string, why there is none."""
    try:
        if not path.is_file():
            return "not a plain file"
        if path.stat().st_size > LARGEST_BYTES:
            return f"larger than {LARGEST_BYTES // 1_000_000} MB"
        data = path.read_bytes()
    except OSError as error:
        return error.strerror or type(error).__name__
    if b"\0" in data[:8192] and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "binary"
    return data


def decode(data: bytes, name: str) -> str:
    """By its byte order mark, the coding line of PEP 263, UTF-8; else as Latin-1, which reads anything."""
    encoding = next((encoding for mark, encoding in BOMS if data.startswith(mark)), None)
    if encoding is None and suffix(name) in CODE:
        try:
            encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        except (SyntaxError, UnicodeDecodeError):
            encoding = "latin-1"
    try:
        text = data.decode(encoding or "utf-8")
    except (UnicodeDecodeError, LookupError):
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")
