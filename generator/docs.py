"""``docs/cli.md``: the command line as its own code describes it.  `make docs` writes it, a test holds it."""

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
from typer.main import get_group

from .cli import COMMANDS, EXIT_CODES, app, name

TARGET = Path(__file__).parent.parent / "docs/cli.md"
NO_BRACES = str.maketrans("", "", "{}")  # newer Typers write {DEST}
PAGE = """\
# The command line

<!-- Written by `make docs` from the code. -->

{{ what }} Plain `copier copy` and
`copier update` stay enough; these commands add what Copier can't do: look before it writes, ask before it loses.

```
{% for command in commands %}
copier-elevenlabs {{ "%-10s" % command.name }} # {{ command.help[0] }}
{% endfor %}
```

Results go to stdout, everything else to stderr. Colour is for terminals alone, and `NO_COLOR` switches it off. Every
question that is asked can be answered by an option; without a terminal nothing is asked. `python -m generator` is the
same program.

| exit code | means |
|---|---|
{% for code, meaning in exit_codes %}
| {{ code }} | {{ meaning }} |
{% endfor %}

{% for option in options %}
- `{{ option[0] }}`: {{ option[1] }}
{% endfor %}

Completion knows commands, options and the values of some: `copier-elevenlabs --install-completion` once, then a new
shell (bash, zsh, fish, PowerShell).
{% for command in commands %}

## {{ command.name }}

```
{{ command.usage }}
```

{% for paragraph in command.help %}
{{ paragraph | wordwrap(120) }}

{% endfor %}
{% for param in command.params %}
- `{{ param[0] }}`: {{ param[1] }}
{% endfor %}
{% if command.params %}

{% endif %}
```
{{ command.examples }}
```
{% endfor %}
"""


def page() -> str:
    group = get_group(app)
    context = group.make_context("copier-elevenlabs", ["new"], resilient_parsing=True)
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(PAGE).render(
        what=group.help,
        exit_codes=[line.split(maxsplit=1) for line in EXIT_CODES.strip().splitlines()],
        options=records(group, context),
        commands=[described(module, group.commands[name(module)], context) for module in COMMANDS],
    )


def described(module: ModuleType, command: Any, parent: Any) -> dict[str, Any]:
    """*command* is Typer's: a Click command, whichever Click it has inside."""
    context = command.make_context(command.name, [], parent=parent, resilient_parsing=True)
    return {
        "name": command.name,
        "usage": " ".join([context.command_path, *command.collect_usage_pieces(context)]).translate(NO_BRACES),
        "help": [" ".join(part.split()) for part in inspect.cleandoc(command.help).split("\n\n")],
        "params": records(command, context),
        "examples": module.EXAMPLES.strip(),
    }


def records(command: Any, context: Any) -> list[tuple[str, str]]:
    """As `--help` has them, without itself."""
    found = [param.get_help_record(context) for param in command.get_params(context)]
    return [(opts, " ".join(said.split())) for opts, said in filter(None, found) if opts != "--help"]


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
