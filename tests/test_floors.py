"""Nothing imports upward: the floors of docs/design.md, walked in the rendered code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from rendering import PACKAGES, SERVICES, Renders, home, names

FLOORS = {
    0: "request errors faults clock catalogue allowance sound",
    1: "limiter breaker retry cache ledger meter",
    2: "flight client listening advice usage blocking",
    3: "upstream stores exporters",
    4: "settings answers wiring logs commands reconciling diary kept warming __init__",
    5: "web",
    6: "__main__",
}
FLOOR_OF = {module: floor for floor, modules in FLOORS.items() for module in modules.split()}
FOREIGN = {
    "elevenlabs", "httpx", "opentelemetry", "prometheus_client", "redis", "fastapi", "starlette", "flask", "werkzeug",
    "django", "litestar", "uvicorn", "gunicorn",
}  # fmt: skip
SERVERS_AND_FRAMEWORKS = FOREIGN - {"elevenlabs", "httpx", "opentelemetry", "prometheus_client", "redis"}


def a_service(**answers: str) -> dict[str, str]:
    return next(row for row in SERVICES if answers.items() <= row.items())


# Every framework and every backend, with and without gateway.
EVERY_FILE = [
    a_service(framework="fastapi", cache_backend="memory"),
    a_service(framework="flask", cache_backend="disk"),
    a_service(framework="django", cache_backend="redis"),
    a_service(framework="litestar", metrics="opentelemetry"),
    PACKAGES[0],
]


def modules(speech: Path) -> Iterator[tuple[str, ast.Module]]:
    """Dotted name below speech/ and tree of each module; testing/ stands apart."""
    for file in sorted(speech.rglob("*.py")):
        name = ".".join(file.relative_to(speech).with_suffix("").parts)
        if not name.startswith("testing."):
            yield name, ast.parse(file.read_text("utf-8"))


def own_imports(name: str, tree: ast.Module) -> Iterator[str]:
    """Modules of speech/ that *name* imports, wherever in the file, lazily or for types alone."""
    package = name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            if node.module:
                yield ".".join([*base, node.module])
            else:
                yield from (".".join([*base, alias.name]) for alias in node.names)


def outside_imports(tree: ast.Module) -> set[str]:
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in found}


def floor(module: str) -> int:
    top = module.split(".")[0]
    assert top in FLOOR_OF, f"{module} has no floor: say in FLOORS where it belongs"
    return FLOOR_OF[top]


@pytest.mark.parametrize("answers", EVERY_FILE, ids=names(EVERY_FILE))
def test_nothing_imports_upward(renders: Renders, answers: dict[str, str]) -> None:
    """A floor knows only those below and itself; a lazy import is an import."""
    speech = home(renders.of(answers)) / "speech"
    upward = [
        f"{name} (floor {floor(name)}) imports {target} (floor {floor(target)})"
        for name, tree in modules(speech)
        for target in own_imports(name, tree)
        if target.split(".")[0] != "testing" and floor(target) > floor(name)
    ]

    assert upward == []


@pytest.mark.parametrize("answers", EVERY_FILE, ids=names(EVERY_FILE))
def test_policies_know_nothing_of_each_other(renders: Renders, answers: dict[str, str]) -> None:
    """Which of them nests in which is said once, in flight.py."""
    speech = home(renders.of(answers)) / "speech"
    known = [
        (name, t)
        for name, tree in modules(speech)
        if floor(name) == 1
        for t in own_imports(name, tree)
        if floor(t) == 1
    ]

    assert known == []


@pytest.mark.parametrize("answers", EVERY_FILE, ids=names(EVERY_FILE))
def test_outside_is_known_in_one_place_each(renders: Renders, answers: dict[str, str]) -> None:
    """The SDK in upstream.py alone, the framework in web/ alone, and neither below floor 3."""
    speech = home(renders.of(answers)) / "speech"
    imports = {name: outside_imports(tree) for name, tree in modules(speech)}

    assert [name for name, found in imports.items() if "elevenlabs" in found] == ["upstream"]
    assert [n for n, f in imports.items() if "opentelemetry" in f and not n.startswith("exporters.opentelemetry")] == []
    assert [n for n, found in imports.items() if "redis" in found and not n.startswith("stores.redis")] == []
    assert [n for n, found in imports.items() if found & SERVERS_AND_FRAMEWORKS and not n.startswith("web.")] == []
    for name, found in imports.items():
        assert not found & FOREIGN or floor(name) >= 3, f"{name} imports {found & FOREIGN}"


@pytest.mark.parametrize("answers", EVERY_FILE[:1], ids=names(EVERY_FILE[:1]))
def test_production_never_imports_the_sandbox(renders: Renders, answers: dict[str, str]) -> None:
    """testing/ runs as a process of its own, and could be deleted from a production image."""
    speech = home(renders.of(answers)) / "speech"
    knowing = [name for name, tree in modules(speech) if any(t.startswith("testing") for t in own_imports(name, tree))]

    assert knowing == ["__main__"]  # whose command `sandbox` it is
