"""Where a project makes its web application: read from its syntax, with imports and aliases resolved."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

MAKERS = {
    f"{module}.{name}": framework
    for framework, name, modules in (
        ("fastapi", "FastAPI", ("fastapi", "fastapi.applications")),
        ("flask", "Flask", ("flask", "flask.app")),
        ("litestar", "Litestar", ("litestar", "litestar.app")),
    )
    for module in modules
}
FRAMEWORKS = ("fastapi", "flask", "django", "litestar")
SETTINGS = ("INSTALLED_APPS", "MIDDLEWARE", "ROOT_URLCONF")
NAMED = "DJANGO_SETTINGS_MODULE"
WORDS = {word.encode() for word in (*FRAMEWORKS, *SETTINGS, NAMED)}


class App(NamedTuple):
    """*name* is made in lines *line* to *end* of *file*, perhaps inside a function: what is pasted goes after *end*."""

    framework: str
    file: str
    line: int
    end: int
    name: str
    inside: str = ""


class Seen(NamedTuple):
    """What one file says."""

    apps: list[App]
    imported: set[str]  # absolute names, such as fastapi.FastAPI
    settings: list[str]  # dotted names that it gives to DJANGO_SETTINGS_MODULE


def look(tree: ast.Module, file: str) -> Seen:
    names = imports(tree)
    makers = MAKERS | {name: MAKERS[base] for name, base in _subclasses(tree, names)}
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [(call, makers[made]) for call in calls if (made := resolve(call.func, names)) in makers]
    apps = [_app(call, framework, file, parents) for call, framework in made]
    return Seen(apps + _settings(tree, file), set(names.values()), list(_named(tree, names)))


def imports(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for; relative ones stay unresolved."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                names[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def resolve(node: ast.expr, names: dict[str, str]) -> str:
    """``f.FastAPI`` after ``import fastapi as f`` is ``fastapi.FastAPI``; a local name stands for itself."""
    if isinstance(node, ast.Attribute):
        return f"{resolve(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _subclasses(tree: ast.Module, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from ((node.name, base) for base in (resolve(b, names) for b in node.bases) if base in MAKERS)


def _app(call: ast.Call, framework: str, file: str, parents: dict[ast.AST, ast.AST]) -> App:
    above = [call, *_above(call, parents)]
    statement = next(node for node in above if isinstance(node, ast.stmt))
    inside = next((node.name for node in above if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))), "")
    return App(framework, file, statement.lineno, statement.end_lineno or 0, _target(statement, call), inside)


def _above(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    while node in parents:
        node = parents[node]
        yield node


def _target(statement: ast.stmt, call: ast.Call) -> str:
    """``app`` of ``app = FastAPI()``; nothing where it is wrapped or returned at once."""
    if isinstance(statement, ast.Assign) and statement.value is call:
        return ast.unparse(statement.targets[0])
    if isinstance(statement, ast.AnnAssign) and statement.value is call:
        return ast.unparse(statement.target)
    return ""


def _settings(tree: ast.Module, file: str) -> list[App]:
    """A Django settings module, by two of the three that every project sets."""
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    set_here = {target.id for target in targets if isinstance(target, ast.Name)} & set(SETTINGS)
    last = tree.body[-1].end_lineno or 0 if tree.body else 0
    return [App("django", file, 1, last, "globals()")] if len(set_here) > 1 else []


def _named(tree: ast.Module, names: dict[str, str]) -> Iterator[str]:
    """``os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")``, or the same as an assignment."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(args=[ast.Constant(value=name), ast.Constant(value=str(module))]) if name == NAMED:
                if resolve(node.func, names) == "os.environ.setdefault":
                    yield module
            case ast.Assign(targets=[ast.Subscript(value=of, slice=ast.Constant(value=name))], value=given):
                if name == NAMED and resolve(of, names) == "os.environ" and isinstance(given, ast.Constant):
                    yield str(given.value)
