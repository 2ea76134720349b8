"""Write docs/reference/cli.md from the commands themselves: ``python docs/commands.py``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hpo.cli import app

PAGE = Path(__file__).parent / "reference" / "cli.md"
HEAD = """# Commands

<!-- Written by docs/commands.py from the commands themselves; `make docs` writes it again. -->

Results go to standard output, the story of a run and every mistake to standard error.
[Exit statuses](exit-status.md) and [environment variables](environment.md) have pages of their own.
What stands in `<...>` is the kind of value.
"""


def page() -> str:
    """Return the page, with a section for each command in the order of ``hpo --help``."""
    sections = [HEAD]
    for words, command in _commands(typer.main.get_command(app), ("hpo",)):
        sections.append(_section(" ".join(words), command))
    return "\n".join(sections)


def _commands(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def _section(name: str, command: Any) -> str:
    context = command.context_class(command, info_name=name)
    told, _, example = command.help.partition("Example:")
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = [f"## {name}", "", *told.strip().splitlines(), "", "```text", usage, "```", ""]
    if example:
        lines += [f"Example: `{' '.join(example.split())}`", ""]
    records = [record for p in command.params if (record := p.get_help_record(context))]
    lines += ["| argument or option | meaning |", "|---|---|"] if records else []
    lines += [
        f"| `{_cell(written)}` | {_cell(meaning).replace('<', '&lt;')} |"
        for written, meaning in records
    ]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    """Return ``text`` so that it stays within one cell of a table."""
    plain = " ".join(text.split())
    return plain.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
