"""One module a command: its options, its help and how its answer looks.  The work is imported when it is called for.

The module ``plan`` holds two things that ``cli.py`` and the docs look for by name:

- the function ``plan``: its docstring is the help.  The first sentence stands in the list of commands, so it has at
  most 64 characters; paragraphs after it are re-wrapped.
- ``EXAMPLES``: lines to paste, each as one types it, with ``# why`` behind it where that is not plain::

    EXAMPLES = \"\"\"
    copier-elevenlabs plan --characters-month 400000
    copier-elevenlabs plan --peak-rps 3 --write answers.yml   # for `new --answers`
    \"\"\"

  ``--help`` ends with them as they stand, docs/cli.md has them too, and tests/test_help.py parses each one: an example
  of an option that is no more fails.  At most 96 characters a line.

Arguments, and options that take a value, have a ``metavar`` in capitals (``DEST``, ``FILE``, ``N``).
"""
