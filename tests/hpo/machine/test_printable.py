"""Whatever stands in a name, a terminal gets text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from hpo.database import digests, tables
from hpo.database.storage import Storage
from hpo.machine.printable import printable, printable_lines
from hpo.weights.file import Weights
from hpo.weights.pictures import read
from model.losses import Loss
from model.normalisation import Normalisation
from model.order import StandardRandomness

HOSTILE = [
    "\x1b[31mred",  # a colour
    "\x1b]0;title\x07",  # the window's title
    "a\rb",  # writes over what stands there
    "\x9b2J",  # clears the screen, in one character
    "\x7f",
    "a\nhpo: everything is sound",  # a line of its own
    "\u202egnp.exe",  # from right to left
    "\u2066x\u2069",
    "a\u200bb\ufeff",  # not to be seen
    "\udc80",  # cannot be encoded
    "\x85\u2028",  # lines, too
    "\U000e0041",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_not_printable_is_escaped(text: str) -> None:
    shown = printable(text)

    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert shown != text
    assert "\n" not in printable(text)
    assert all(c.isprintable() or c in "\n\t" for c in printable_lines(text))


@pytest.mark.parametrize("text", ["coarse", "λ = 1e-3", "épreuve", "训练", "ok \\x1b", ""])
def test_what_is_printable_stays(text: str) -> None:
    assert printable(text) == text == printable_lines(text)


@pytest.mark.parametrize("name", [HOSTILE[0], HOSTILE[5], HOSTILE[6]])
def test_no_command_gives_a_name_from_a_database_to_the_terminal_as_it_is(
    command: Any, write_study: Any, name: str
) -> None:
    assert command("run", write_study(n_cycles=1), "--data", "digits").status == 0
    opened = Storage("sqlite:///hpo.db")

    def rename(connection: sa.Connection) -> None:  # somebody's own tool
        connection.execute(tables.studies.update().values(name=name, optuna_name=name))
        digests.seal(connection, tables.studies, tables.studies.select())

    opened.write(rename)
    opened.close()
    for arguments in (["list"], ["status"], ["best", name], ["doctor"], ["best", f"{name}2"]):
        told = command(*arguments)
        for text in (told.out, told.err):
            assert name not in text
            assert all(line.isprintable() for line in text.split("\n"))
            assert not any(line.startswith("hpo: everything") for line in text.split("\n"))


@pytest.mark.parametrize("name", ["a\nb", "tab\there", "\x1b[2J", "\u202efdp"])
def test_a_file_of_any_name_is_one_field_of_one_line(workplace: Path, name: str) -> None:
    weights = Weights(
        network=StandardRandomness(0, (4, 2, 2)).network(),
        normalisation=Normalisation.NONE,
        statistics=None,
        loss=Loss.CROSS_ENTROPY,
        image_shape=(),
        white=None,
        class_names=(),
        about={},
    )
    np.savez(workplace / f"{name}.npz", images=np.ones((2, 4)))
    np.savez(workplace / "other.npz", images=np.ones((2, 4)))

    pictures = read([Path(f"{name}.npz"), Path("other.npz")], weights)

    assert len(pictures.names) == 4
    assert all(shown.isprintable() for shown in pictures.names)
