"""Models and voices that ended, or will: as code means them, and as configuration names them."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from datetime import date

import yaml

from .. import facts, files
from ..facts import Ending
from ..findings import Severity
from ..rule import Case, Hit, Rule, at
from ..syntax import Module
from ..values import argument, text_of

TOKEN = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z0-9_]{6,60}(?![A-Za-z0-9_])")
SETS = re.compile(
    r"""(?:(?:model|voice)(?:_?-?id)?\w*["'\])]*\s*[:=]+>?\s*["'`]?"""
    r"""|text-to-speech/|--(?:model|voice)(?:-id)?[= ]["']?)$""",
    re.IGNORECASE,
)
# Whoever lists what ends, or what takes its place, knows already.
KNOWS = re.compile(
    r"retire|deprecat|legacy|obsolete|removed|superse|replace|successor|migrat|sunset|end_of_life|ends|old_|_old|unsupported|blocked|refused|dead|gone",
    re.IGNORECASE,
)
LIFE = {
    "retires",
    "retired",
    "retire",
    "successor",
    "status",
    "state",
    "deprecated",
    "replaces",
    "replacement",
    "replaced_by",
    "superseded_by",
    "sunset",
}
OLD_CALLS = re.compile(r"^elevenlabs\.(?:generate|(?:Async)?ElevenLabs\(\)\.generate)$")


def retired_models(case: Case) -> Iterator[Hit]:
    yield from found(case, facts.models(), lambda ending: of_model(ending))


def retired_voices(case: Case) -> Iterator[Hit]:
    by_id = {name: ending for name, ending in facts.voices().items() if name == ending.id}
    yield from found(case, by_id, lambda ending: of_voice(ending, case.today))
    for module in case.project.served:
        yield from by_name(module, case)


def of_model(ending: Ending) -> tuple[str, str, str, Severity]:
    mend = f"use {ending.successor}" if ending.successor else ""
    if ending.state == "retired":
        return (
            f"{ending.id} is retired",
            "ElevenLabs refuses it: each call is a 400, and no audio",
            mend,
            Severity.severe,
        )
    if ending.state == "deprecated":
        why = f"{ending.id} costs what its successor costs, answers later, and may be switched off"
        return f"{ending.id} is deprecated", why, mend, Severity.warning
    return (
        f"{ending.id} is superseded",
        "it still answers; its successor understands more for the same price",
        mend,
        Severity.note,
    )


def of_voice(ending: Ending, today: date) -> tuple[str, str, str, Severity]:
    mend = f"use {ending.successor}" if ending.successor else f"choose another voice: {facts.default_voice()}, for one"
    if ending.day is None:
        return (
            f"{ending.name} ({ending.id}) is a legacy voice",
            f"{ending.note}: what is heard is not what was chosen",
            mend,
            Severity.warning,
        )
    if ending.day <= today:
        return (
            f"{ending.name} ({ending.id}) ended on {ending.day}",
            "calls with it are refused: no audio at all",
            mend,
            Severity.severe,
        )
    left = (ending.day - today).days
    why = f"from {ending.day} on calls with it are refused; accounts made since March 2026 may not have it today"
    return f"{ending.name} ({ending.id}) ends on {ending.day}, in {left} days", why, mend, Severity.warning


def found(
    case: Case, endings: dict[str, Ending], words: Callable[[Ending], tuple[str, str, str, Severity]]
) -> Iterator[Hit]:
    parsed = {module.source.name: module for module in case.project.served}
    for module in parsed.values():
        for node, name in in_code(module, endings):
            what, why, mend, severity = words(endings[name])
            yield at(module, node, what, why=why, mend=mend, severity=severity)
    for source in case.project.texts:
        if source.suffix in files.CODE | {files.NOTEBOOK} | files.PROSE or any(source.name == name for name in parsed):
            continue
        if any(name in source.text for name in endings):
            for line, column, name in in_text(source, endings):
                what, why, mend, severity = words(endings[name])
                yield Hit(source.name, line, column, what, why, mend, severity)


def in_code(module: Module, endings: dict[str, Ending]) -> Iterator[tuple[ast.Constant, str]]:
    for node in module.strings:
        text = str(node.value)
        names = [name for name in TOKEN.findall(text) if name in endings] if 6 <= len(text) <= 2000 else []
        if names and is_use(node, names[0], module):
            yield node, names[0]


def is_use(node: ast.Constant, name: str, module: Module) -> bool:
    """Not a docstring, a message about it, a table of what replaces it, nor a comparison with it."""
    text = str(node.value)
    before = text[: text.index(name)]
    if text != name and (not SETS.search(before) or re.search(r"\bwhere\b", before, re.IGNORECASE)):
        return False
    above = module.parents.get(node)
    if isinstance(above, (ast.Compare, ast.Expr)) or (isinstance(above, ast.Dict) and node in above.keys):
        return False
    if isinstance(above, ast.Dict) and any(isinstance(key, ast.Constant) and key.value in LIFE for key in above.keys):
        return False
    for higher in module.above(node):
        if isinstance(higher, ast.Compare):
            return False
        if isinstance(higher, (ast.Assign, ast.AnnAssign)):
            targets = higher.targets if isinstance(higher, ast.Assign) else [higher.target]
            return not any(KNOWS.search(ast.unparse(target)) for target in targets)
        if isinstance(higher, ast.stmt):
            break
    return not isinstance(above, ast.MatchValue)


def in_text(source: files.Source, endings: dict[str, Ending]) -> Iterator[tuple[int, int, str]]:
    if source.suffix in (".json", ".yaml", ".yml"):
        try:
            yield from in_data(source, endings)
            return
        except (yaml.YAMLError, ValueError, RecursionError):
            pass  # a template, or several languages in one file: line by line, as any other text
    for number, line in enumerate(source.lines, 1):
        if line.lstrip().startswith(("#", "//", "*", "<!--")) or KNOWS.search(line):
            continue
        for token in TOKEN.finditer(line):
            before = line[: token.start()]
            # a voice's id is nothing else, whatever it is given to
            if token[0] in endings and (
                SETS.search(before) or (len(token[0]) == 20 and before.endswith(('"', "'", "=")))
            ):
                yield number, token.start() + 1, token[0]


def in_data(source: files.Source, endings: dict[str, Ending]) -> Iterator[tuple[int, int, str]]:
    """Values of JSON and YAML.  An object that says of itself when it ends, or what follows it, is a table of facts."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if source.suffix == ".json":
        json.loads(source.text)
    waiting: list[tuple[yaml.Node, str]] = [
        (tree, "") for tree in yaml.compose_all(source.text.replace("\t", "  "), loader)
    ]
    while waiting:
        node, key = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            names = {str(inner.value) for inner, _ in node.value}
            if names == {"name", "value"}:  # an environment of Kubernetes
                said = {str(inner.value): value for inner, value in node.value}
                waiting.append((said["value"], str(said["name"].value)))
                continue
            if not names & LIFE and not KNOWS.search(key):
                waiting += [(value, str(inner.value)) for inner, value in node.value]
            elif not KNOWS.search(key):
                waiting += [
                    (value, str(inner.value)) for inner, value in node.value if not isinstance(value, yaml.ScalarNode)
                ]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(value, key) for value in node.value]
        elif isinstance(node, yaml.ScalarNode) and not KNOWS.search(key):
            text = str(node.value)
            names = {name for name in TOKEN.findall(text) if name in endings}
            for name in names:
                if (
                    text == name
                    and (re.search("model|voice|tts|speech|eleven", key, re.IGNORECASE) or len(name) == 20)
                    or SETS.search(text[: text.index(name)])
                ):
                    yield node.start_mark.line + 1, node.start_mark.column + 1, name


def by_name(module: Module, case: Case) -> Iterator[Hit]:
    """``generate(voice="Rachel")``: the SDK's old way."""
    for scope in module.scopes.values():
        for call in scope.calls:
            if OLD_CALLS.match(case.project.meaning.name(call.func, scope)):
                voice = argument(call, "voice")
                said = text_of(voice, scope, case.project.meaning)
                if voice is not None and said in facts.voices() and len(said) < 20:
                    what, why, mend, severity = of_voice(facts.voices()[said], case.today)
                    yield at(module, voice, what, why=why, mend=mend, severity=severity)


RULES = [
    Rule(
        "retired-model", "A model that ended, or will", Severity.severe,
        "a retired model answers 400 and no audio; a deprecated one may be switched off",
        "use its successor",
        retired_models,
    ),
    Rule(
        "retired-voice", "A voice that ended, or will", Severity.warning,
        "all default voices end on 2026-12-31: calls with them are refused from then on",
        "use its official successor",
        retired_voices,
    ),
]  # fmt: skip
