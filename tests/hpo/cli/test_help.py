"""Every command explains itself, with an example; help needs no heavy package and no time."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hpo.cli import app

Command = Callable[..., Any]
SCRIPT = Path(sys.executable).with_name("hpo")
HEAVY = ("numpy", "scipy", "optuna", "sqlalchemy", "matplotlib", "rich", "psutil")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, from the application's own registry."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield *path, name


def find(words: tuple[str, ...]) -> Any:
    found: Any = typer.main.get_command(app)
    for word in words:
        found = found.commands[word]
    return found


COMMANDS = sorted(commands(typer.main.get_command(app)))


def test_the_commands_of_the_issue_are_there() -> None:
    promised = {
        *("run", "train", "plot", "reproduce", "best", "status", "list", "delete"),
        *("check-gradients", "export", "data info", "data verify"),
    }

    assert promised <= {" ".join(words) for words in COMMANDS}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_has_help_with_an_example(words: tuple[str, ...], command: Command) -> None:
    answer = command(*words, "--help")

    assert (answer.status, answer.err) == (0, "")
    text = find(words).help
    assert f"Example: hpo {' '.join(words)}" in text
    assert len(text.split("Example:")[0].strip()) > 20
    assert f"Example: hpo {' '.join(words)}" in answer.out


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_is(words: tuple[str, ...]) -> None:
    silent = [p.name for p in find(words).params if not getattr(p, "help", None)]

    assert silent == []


def test_the_first_line_says_where_to_start(command: Command) -> None:
    assert (
        "Start with: hpo run coarse, then hpo run fine, then hpo run final."
        in command("--help").out
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [((), "Start with: hpo run coarse"), (("data",), "Look at the images and check them.")],
)
def test_a_group_alone_shows_its_help_and_not_a_mistake(
    words: tuple[str, ...], sentence: str, command: Command
) -> None:
    answer = command(*words)

    assert (answer.status, answer.err) == (0, "")
    assert sentence in answer.out
    assert answer.out == command(*words, "--help").out


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["data", "info", "--help"]])
def test_help_imports_no_heavy_package(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from hpo.cli import main\n"
        f"sys.argv = ['hpo', *{arguments!r}]\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        f"print('HEAVY', sorted({set(HEAVY)!r} & set(sys.modules)))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.endswith("HEAVY []\n"), done.stdout[-300:] + done.stderr


@pytest.mark.long
def test_help_answers_in_half_a_second(tmp_path: Path) -> None:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([SCRIPT, "--help"], cwd=tmp_path, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)

    assert min(seconds) < 0.5
