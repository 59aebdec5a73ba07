"""What differs between two folders, and the patch that says it: it is one that `git apply` takes."""

import os
from pathlib import Path

import pytest
from rendering import git, run

from generator.changes import between, count, tree, unified

CASES: dict[str, tuple[bytes | None, bytes | None]] = {
    "added": (None, b"one\ntwo\n"),
    "added empty": (None, b""),
    "removed": (b"one\n", None),
    "in the middle": (b"".join(b"%d\n" % i for i in range(40)), b"".join(b"%d\n" % i for i in range(40) if i != 20)),
    "to CRLF": (b"one\ntwo\n", b"one\r\ntwo\r\n"),
    "within CRLF": (b"one\r\ntwo\r\nthree\r\n", b"one\r\n2\r\nthree\r\n"),
    "loses its last line end": (b"one\ntwo\n", b"one\ntwo"),
    "gains its last line end": (b"one\ntwo", b"one\ntwo\n"),
    "never had one": (b"one\ntwo", b"1\ntwo"),
    "other line separators": ("a\u2028b\x0cc\rd\n".encode(), "a\u2028b\x0cc\rD\n".encode()),
    "latin-1": (b"caf\xe9\n", b"caf\xe9s\n"),
    "no text that looks like a head": (b"-- old\n++ new\n", b"++ new\n-- old\n"),
}


@pytest.mark.parametrize(("old", "new"), CASES.values(), ids=CASES)
def test_the_patch_makes_one_of_the_other(tmp_path: Path, old: bytes | None, new: bytes | None) -> None:
    """Byte for byte, by Git itself."""
    for folder, content in (("old", old), ("new", new)):
        (tmp_path / folder).mkdir()
        if content is not None:
            (tmp_path / folder / 'a "b" \\ c.txt').write_bytes(content)
    changes = between(tmp_path / "old", tmp_path / "new", ['a "b" \\ c.txt'])
    patch = "".join(map(unified, changes)).encode("utf-8", "surrogateescape")
    (tmp_path / "patch").write_bytes(patch)
    git(tmp_path / "old", "init", "-q")
    git(tmp_path / "old", "apply", tmp_path / "patch")

    assert tree(tmp_path / "old") == tree(tmp_path / "new")


def test_modes_and_links(tmp_path: Path) -> None:
    """As Git writes them."""
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "run").write_text("x\n")
    (tmp_path / "new/run").chmod(0o755)
    os.symlink("run", tmp_path / "new/link")
    patch = "".join(map(unified, between(tmp_path / "old", tmp_path / "new", ["run", "link"])))
    (tmp_path / "patch").write_text(patch)
    git(tmp_path / "old", "init", "-q")
    git(tmp_path / "old", "apply", tmp_path / "patch")

    assert tree(tmp_path / "old") == tree(tmp_path / "new")
    assert "new file mode 120000" in patch
    assert "old mode 100644\nnew mode 100755" in patch


def test_what_is_no_text_is_named_alone(tmp_path: Path) -> None:
    """Its bytes would not be read by anybody."""
    for folder, content in (("old", b"\0a"), ("new", b"\0b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "logo").write_bytes(content)
    change = between(tmp_path / "old", tmp_path / "new", ["logo"])[0]

    assert unified(change) == "diff --git a/logo b/logo\nBinary files a/logo and b/logo differ\n"
    assert count(change) == (0, 0)


def test_counts_lines_as_git_does(tmp_path: Path) -> None:
    """Lines that begin with plus or minus themselves are counted too."""
    for folder, content in (("old", "a\n-- b\n"), ("new", "a\n++ b\nc\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text(content)
    numbers = run("git", "diff", "--no-index", "--numstat", "old", "new", cwd=tmp_path).stdout.split()[:2]

    assert [str(n) for n in count(between(tmp_path / "old", tmp_path / "new", ["x"])[0])] == numbers
