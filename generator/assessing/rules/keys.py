"""Keys in sources, in what a browser is sent, and in logs."""

import ast
import re
from collections.abc import Iterator

from .. import files
from ..findings import Severity
from ..names import Names
from ..rule import Case, Hit, Rule, at
from ..syntax import Module, Scope
from ..values import READS_ENVIRONMENT, argument, bound_value, text_of

# The shapes that public scanners use: today's keys, and the 32 hex digits of before, which many other things have too.
KEY = re.compile(r"\bsk_[a-f0-9]{48}\b")
OLD_KEY = re.compile(r"(?<![a-fA-F0-9-])[a-f0-9]{32}(?![a-fA-F0-9-])")
NEAR = re.compile(r"xi[-_]?api[-_]?key|eleven\w*[-_.]?key|elevenlabs\([^)]*api_key|set_api_key", re.IGNORECASE)
ASSIGNED = re.compile(
    r"""\b(?:ELEVEN_?LABS?|ELEVEN|XI)_(?:API_)?KEY\b["']?\]?\s*(?::|=|\s)\s*(["']?)([A-Za-z0-9_+/=-]{20,})(?=["'\s,;]|$)"""
)
QUOTES = files.CODE | {".ipynb", ".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".vue", ".svelte", ".go", ".rb"}
WORDS = re.compile(
    r"your|example|placeholder|dummy|fake|sample|changeme|change_me|replace|insert|secret|xxxx|\.\.\.|test|<|\$|{",
    re.IGNORECASE,
)
RUNS = ("0123456789", "1234567890", "abcdef0123", "deadbeef", "abcdefab", "123456781234")
PUBLIC = re.compile(
    r"\b(?:NEXT_PUBLIC|VITE|REACT_APP|EXPO_PUBLIC|NUXT_PUBLIC|GATSBY|PUBLIC|VUE_APP)_\w*(?:ELEVEN|XI_API)\w*KEY\b"
)

KEY_NAME = re.compile(r"^(?:\w*_)?(?:eleven_?labs?|eleven|xi)_?(?:api_?)?key$", re.IGNORECASE)
KEY_PATH = re.compile(
    r"(?:^|[._])(?:eleven_?labs?|eleven|xi)(?:_\w+)?\.(?:api_?)?key$", re.IGNORECASE
)  # settings.elevenlabs.api_key
AS_PATH = re.compile(r"""\[['"](\w+)['"]\]""")  # settings["elevenlabs"]["api_key"]
SENT = re.compile(r"(?<!self)\.request\.headers$")  # of a response or an error: what we sent, not what we were asked
KEY_VARIABLE = re.compile(r"ELEVEN\w*KEY|XI_API_KEY")
PRINTS = {
    "builtins.print",
    "pprint.pprint",
    "rich.print",
    "sys.stdout.write",
    "sys.stderr.write",
    "click.echo",
    "typer.echo",
    "streamlit.write",
    "streamlit.text",
    "streamlit.code",
    "warnings.warn",
}
LEVELS = {"debug", "info", "warning", "warn", "error", "critical", "exception", "log", "trace", "success", "msg"}
LEAVES_OUT = re.compile(r"\bif\b.*(?:key|secret|eleven)", re.IGNORECASE)
SHOWS = {
    "builtins.str",
    "builtins.repr",
    "builtins.format",
    "builtins.dict",
    "builtins.list",
    "json.dumps",
    "pprint.pformat",
}


def is_placeholder(value: str) -> bool:
    body = value.removeprefix("sk_")
    return bool(WORDS.search(body)) or len(set(body)) < 8 or any(run in body.lower() for run in RUNS)


def masked(value: str) -> str:
    return f"{value[:6]}… ({len(value)} characters)"


# -- in sources --------------------------------------------------------------------------------------------------------


def hardcoded(case: Case) -> Iterator[Hit]:
    for source in case.project.texts:
        if files.is_env(source.name):
            continue  # env-not-ignored's
        quoted = source.suffix in QUOTES
        small = source.text.lower()
        near = [NEAR] if any(word in small for word in ("eleven", "xi-api", "xi_api", "set_api_key")) else []
        for number, line in lines_with(source.text, KEY, *near):
            for column, value in keys_in(line, quoted=quoted):
                yield Hit(source.name, number, column, f"a key stands in the source: {masked(value)}")


def lines_with(text: str, *patterns: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Number and content of the lines that one of the patterns is in."""
    starts = sorted(
        {text.rfind("\n", 0, found.start()) + 1 for pattern in patterns for found in pattern.finditer(text)}
    )
    number, at = 1, 0
    for start in starts:
        number += text.count("\n", at, start)
        at = start
        end = text.find("\n", start)
        yield number, text[start : end if end >= 0 else len(text)]


def keys_in(line: str, *, quoted: bool) -> Iterator[tuple[int, str]]:
    """Column and value of each, once."""
    if len(line) > 20_000:
        line = line[:20_000]
    spans = [(match.start(), match[0]) for match in KEY.finditer(line)]
    if not spans and NEAR.search(line):
        spans = [(match.start(), match[0]) for match in OLD_KEY.finditer(line)]
        spans = spans or [(match.start(2), match[2]) for match in ASSIGNED.finditer(line) if is_secret(match, quoted)]
    yield from ((start + 1, value) for start, value in spans if not is_placeholder(value))


def is_secret(match: re.Match[str], quoted: bool) -> bool:
    value = match[2]
    return (bool(match[1]) or not quoted) and any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def in_browser(case: Case) -> Iterator[Hit]:
    for source in case.project.texts:
        if source.suffix in files.PROSE:
            continue
        for number, line in lines_with(source.text, PUBLIC):
            if found := PUBLIC.search(line):
                yield Hit(
                    source.name, number, found.start() + 1, f"{found[0]} is built into what every visitor is sent"
                )


# -- in logs -----------------------------------------------------------------------------------------------------------


def logged(case: Case) -> Iterator[Hit]:
    for module in case.project.served:
        names = given_as_key(module, case.project.meaning)
        for scope in module.scopes.values():
            for call in scope.calls:
                if is_sink(call, scope, case.project.meaning):
                    yield from told(call, scope, names, case.project.meaning, "written to the log")
                elif talks(call, scope, case.project.meaning):
                    yield at(module, call, "debug output that has the request's headers, xi-api-key among them")
            for node in scope.nodes:
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    yield from told(node.exc, scope, names, case.project.meaning, "put into an exception's text")


def told(call: ast.Call, scope: Scope, names: set[str], meaning: Names, how: str) -> Iterator[Hit]:
    for expr in [*call.args, *(keyword.value for keyword in call.keywords)]:
        if found := shown(expr, scope, names, meaning):
            yield at(scope.module, call, f"{found} is {how}")
            return


def is_sink(call: ast.Call, scope: Scope, meaning: Names) -> bool:
    name = meaning.name(call.func, scope)
    if name in PRINTS or ast.unparse(call.func).endswith(("stdout.write", "stderr.write")):
        return True
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in LEVELS:
        return False
    owner = name.rpartition(".")[0] or ast.unparse(call.func.value)
    return bool(re.search(r"log", owner, re.IGNORECASE))


def talks(call: ast.Call, scope: Scope, meaning: Names) -> bool:
    """The SDK's logger at debug keeps the headers, key and all, in each record."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "setLevel" or not call.args:
        return False
    logger = call.func.value
    named = isinstance(logger, ast.Call) and text_of(argument(logger, "name", 0), scope, meaning)
    return named == "fern" and meaning.name(call.args[0], scope) in ("logging.DEBUG", "logging.NOTSET")


def shown(expr: ast.expr, scope: Scope, names: set[str], meaning: Names, depth: int = 3) -> str:
    """What of a key this expression would show; empty where nothing, or no more than a piece."""

    def inside(*parts: ast.expr | None) -> str:
        return next((found for part in parts if part and (found := shown(part, scope, names, meaning, depth))), "")

    match expr:
        case ast.Name() | ast.Attribute() | ast.Subscript(slice=ast.Constant()):
            return is_key(expr, scope, names, meaning)
        case ast.FormattedValue(value=value, format_spec=spec):
            return "" if spec is not None and "." in ast.unparse(spec) else inside(value)
        case ast.JoinedStr(values=values) | ast.Tuple(elts=values) | ast.List(elts=values) | ast.BoolOp(values=values):
            return inside(*values)
        case ast.Dict(keys=keys, values=values):
            if has_key_header(keys):
                said = [value for key, value in zip(keys, values, strict=True) if key and has_key_header([key])]
                hidden = isinstance(said[-1], (ast.Constant, ast.JoinedStr, ast.Subscript, ast.Call, ast.BinOp))
                return inside(said[-1]) if hidden else "the xi-api-key header"
            return inside(*values)
        case ast.BinOp(left=left, right=right):
            return inside(left, right)
        case ast.IfExp(body=body, orelse=orelse):
            return inside(body, orelse)
        case ast.Call(func=ast.Attribute(value=value, attr="format" | "format_map"), args=args, keywords=keywords):
            return inside(*args, *(keyword.value for keyword in keywords))
        case ast.Call(func=func, args=args):
            name = meaning.name(func, scope)
            if name in READS_ENVIRONMENT:
                return is_key(expr, scope, names, meaning)
            if isinstance(func, ast.Attribute) and func.attr == "get_secret_value":
                return is_key(func.value, scope, names, meaning, unwrapped=True)
            if own := meaning.functions.get(name):
                return given_back(own, names, meaning, depth - 1) if depth else ""
            return inside(*args, *(one.value for one in expr.keywords)) if name in SHOWS else ""
        case ast.DictComp(generators=generators) | ast.ListComp(generators=generators):
            return inside(*(over(one) for one in generators if not LEAVES_OUT.search(ast.unparse(one))))
        case _:
            return ""


def given_back(function: Scope, names: set[str], meaning: Names, depth: int) -> str:
    """A key that a function of the project's returns as it is: a mask returns a piece, or what it was given."""
    returned = (node.value for node in function.nodes if isinstance(node, ast.Return) and node.value)
    plain = (one for one in returned if not (isinstance(one, ast.Name) and one.id in function.bindings))
    others = names - set(function.bindings)
    return next((found for one in plain if (found := shown(one, function, others, meaning, depth))), "")


def over(loop: ast.comprehension) -> ast.expr:
    """``os.environ`` of ``for name, value in os.environ.items()``"""
    match loop.iter:
        case ast.Call(func=ast.Attribute(value=value, attr="items" | "values")):
            return value
        case _:
            return ast.Constant(value=None)


def is_key(expr: ast.expr, scope: Scope, names: set[str], meaning: Names, *, unwrapped: bool = False) -> str:
    if not unwrapped and meaning.name(expr, scope).endswith(("SecretStr()", "Secret()")):
        return ""  # it prints as asterisks
    if meaning.name(expr, scope) == "os.environ":
        return "the whole environment, keys and all,"
    if isinstance(expr, ast.Subscript):
        where, key = meaning.name(expr.value, scope), text_of(expr.slice, scope, meaning)
        kept = (
            key.lower() == "xi-api-key"
            or (where == "os.environ" and KEY_VARIABLE.search(key))
            or KEY_NAME.match(key)
            or KEY_PATH.search(AS_PATH.sub(r".\1", ast.unparse(expr)))
        )
        return f"the key ({key})" if kept else ""
    if isinstance(expr, ast.Call):
        key = text_of(argument(expr, "key", 0), scope, meaning)
        return f"the key ({key})" if KEY_VARIABLE.search(key) else ""
    said = ast.unparse(expr)
    if SENT.search(said):
        return f"every header that was sent ({said}), xi-api-key among them,"
    last = said.rpartition(".")[2]
    owner = meaning.name(expr.value, scope) if isinstance(expr, ast.Attribute) else ""
    of_class = bool(re.fullmatch(r"(?:api_?)?key", last) and "eleven" in owner.rpartition(":")[2].lower())
    if KEY_NAME.match(last) or KEY_PATH.search(said) or of_class or said in names:
        return f"the key ({said})"
    value = bound_value(expr, scope, meaning)
    if isinstance(value, ast.Dict):
        return f"the xi-api-key header ({said})" if has_key_header(value.keys) else ""
    if isinstance(value, (ast.Subscript, ast.Call)):
        reads = meaning.name(value.func, scope) in READS_ENVIRONMENT if isinstance(value, ast.Call) else True
        return f"the key ({said})" if reads and is_key(value, scope, names, meaning) else ""
    return ""


def has_key_header(keys: list[ast.expr | None]) -> bool:
    return any(isinstance(key, ast.Constant) and str(key.value).lower() == "xi-api-key" for key in keys)


def given_as_key(module: Module, meaning: Names) -> set[str]:
    """Variables that the module gives to the SDK as its key."""
    found = set()
    for scope in module.scopes.values():
        for call in scope.calls:
            if re.match(r"elevenlabs\.(Async)?ElevenLabs$|elevenlabs\.set_api_key$", meaning.name(call.func, scope)):
                key = argument(call, "api_key", 0)
                if isinstance(key, (ast.Name, ast.Attribute)):
                    found.add(ast.unparse(key))
    return found


RULES = [
    Rule(
        "key-hardcoded", "A key stands in the source", Severity.severe,
        "whoever reads the repository, or an image built of it, speaks on your bill until the key is revoked",
        "revoke it in the dashboard, then read ELEVENLABS_API_KEY from the environment; it stays in Git's history",
        hardcoded,
    ),
    Rule(
        "key-in-browser", "A key is built into a front end", Severity.severe,
        "the key can be read in the page's source, and everybody speaks on your bill",
        "keep the key on a server of yours, and give browsers single-use tokens or a route behind a login",
        in_browser,
    ),
    Rule(
        "key-logged", "A key is written to a log", Severity.severe,
        "logs are kept for months, copied to other services, and read by more people than the key is meant for",
        "log whether it is set, never what it is",
        logged,
    ),
]  # fmt: skip
