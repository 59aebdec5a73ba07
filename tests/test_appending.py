"""What `add` appends to .gitignore and .env.example: what is missing as git judges it, written as the file is."""

from pathlib import Path

import pytest
from hosts import build
from rendering import commit, git, run

from generator.hosting.appending import append, tail, variables
from generator.hosting.ignoring import ignored, missing

LACKING: dict[str, tuple[str | None, list[str]]] = {
    "no file": (None, [".env*", "!.env.example", ".speech/"]),
    "ours": (".env*\n!.env.example\n.speech/\n", []),
    "other words": ("/**/.env*\n!.env.example\n/.speech\n", []),
    "only .env": (".env\n", [".env*", "!.env.example", ".speech/"]),
    "the example ignored too": (".env*\n.speech/\n", ["!.env.example"]),
    "a rule of theirs after": (".env*\n!.env.sample\n", ["!.env.example", ".speech/"]),
    "theirs let in": (".env\n!.env.sample\n", [".env*", "!.env.example", "!.env.sample", ".speech/"]),
    "with a mark": ("\ufeff.env*\r\n!.env.example\r\n.speech/\r\n", []),
}


@pytest.mark.parametrize(("theirs", "ours"), LACKING.values(), ids=LACKING)
def test_only_the_lines_that_are_missing(tmp_path: Path, theirs: str | None, ours: list[str]) -> None:
    """Afterwards secrets and audio are ignored, examples are not, and whatever they let in they still do."""
    root = build(tmp_path, {"app/__init__.py": "", **({".gitignore": theirs} if theirs is not None else {})})
    assert missing(root, "app", ".") == ours

    file = root / ".gitignore"
    before = file.read_bytes() if file.exists() else b""
    file.write_bytes(before + tail(before, ours))
    kept_out = {".env", ".env.production", "app/.env", ".speech/audio/x"}
    let_in = {".env.example", "app/speech/.env.example"} | ({".env.sample"} if "sample" in (theirs or "") else set())
    assert ignored(root, kept_out | let_in) == kept_out
    assert missing(root, "app", ".") == []


def test_what_git_tracks_stays_let_in(tmp_path: Path) -> None:
    """Tools that go by .gitignore (wheels, search) keep finding a shared .envrc; a tracked .env is a leak."""
    tracked = {".envrc": "", "conf/.env.test": "", ".envoy/a.yaml": "", ".env": "", "x.environment": ""}
    root = build(tmp_path, {"app/__init__.py": "", **tracked})

    assert missing(root, "app", ".") == [
        ".env*", "!.env.example", "!/.envoy", "!/.envrc", "!/conf/.env.test", ".speech/",
    ]  # fmt: skip


def test_what_only_this_user_ignores_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """His colleagues don't have .git/info/exclude, nor his global excludes."""
    root = build(tmp_path / "host", {"app/__init__.py": ""})
    (root / ".git/info").mkdir(exist_ok=True)
    (root / ".git/info/exclude").write_text(".env*\n.speech/\n")
    (tmp_path / "excludes").write_text(".env*\n.speech/\n")
    git(root, "config", "core.excludesFile", str(tmp_path / "excludes"))

    assert run("git", "check-ignore", ".env", cwd=root).returncode == 0
    assert missing(root, "app", ".") == [".env*", "!.env.example", ".speech/"]


def test_a_folder_of_a_repository(tmp_path: Path) -> None:
    """The .gitignore above it counts."""
    root = build(tmp_path, {".gitignore": ".env*\n!.env.example\n", "apps/a/app/__init__.py": ""})

    assert missing(root / "apps/a", "app", ".") == [".speech/"]
    (root / "apps/a/.gitignore").write_text("/.speech/\n")
    commit(root)
    assert missing(root / "apps/a", "src/app", "src") == [".speech/"]


# --- the end of somebody's file ---

ENDS = {
    b"": b"x\ny\n",
    b"a\n": b"x\ny\n",
    b"a": b"\nx\ny",
    b"a\r\nb\r\n": b"x\r\ny\r\n",
    b"a\r\nb": b"\r\nx\r\ny",
    b"a\r\nb\nc\n": b"x\ny\n",
    b"caf\xe9\n": b"x\ny\n",
    "a\r\nb".encode("utf-16"): "\r\nx\r\ny".encode("utf-16-le"),
    b"\xef\xbb\xbf": b"x\ny\n",
}


@pytest.mark.parametrize(("before", "after"), ENDS.items(), ids=[repr(before) for before in ENDS])
def test_ends_as_it_ended(before: bytes, after: bytes) -> None:
    """Line ends, encoding, and with or without a last line break."""
    assert tail(before, ["x", "y"]) == after


def test_variables_that_are_there_are_not_repeated() -> None:
    """Set, commented out or exported; a longer name is another one."""
    rendered = "# --- A ---\n# What A is.\n# More of it.\nA=1\n# B is this.\n# B=\nC=\n"

    assert variables(b"", rendered, "f", ["A", "B", "C"])[1:] == ["# What A is.", "A=1", "# B is this.", "# B=", "C="]
    assert variables(b"export A=2\r\n#  B = 3\r\nMY_C=1", rendered, "f", ["A", "B", "C"])[1:] == ["C="]
    assert variables("C=1\r\nA=".encode("utf-16"), rendered, "f", ["A", "C"]) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """What it leads to is not the project's: says what to add, and where."""
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / ".gitignore").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ValueError, match="gitignore is not a plain file: add to it yourself .speech/"):
        append(tmp_path, ".gitignore", [".speech/"])
