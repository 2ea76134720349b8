"""``hpo run`` of a study that is derived from another: which parent, which of its cells, and when."""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.hpo.cli.derivation import BROAD, LAST, NARROW
from tests.hpo.cli.remains import stored

Command = Callable[..., Any]


def test_a_derived_study_is_searched_around_the_best_cell(
    command: Command, write_study: Command
) -> None:
    for study in (BROAD, NARROW, LAST):
        answer = command("run", write_study(**study), "--data", "digits")
        assert answer.status == 0

    assert re.search(r"^Test accuracy: 0\.\d{4}$", answer.out, re.MULTILINE)
    narrow = json.loads(command("export", "narrow-digits").out)
    assert narrow["definition"]["parent"]["study"] == "broad-digits"
    best = command("best", "last-digits").out
    assert "(one look at the test images)" in best


def test_a_study_derived_at_the_edge_says_that_it_is_one_sided(
    command: Command, write_study: Command
) -> None:
    command("run", write_study("broad", grid="Values((1e-3, 4.9))"), "--data", "digits")

    answer = command("run", write_study(**NARROW), "--data", "digits")

    assert "The best cell of broad-digits is the smallest of its grid, so the search" in answer.err
    assert answer.out.startswith("narrow-digits: 2 of 2 done")


def test_fine_before_coarse_says_what_to_run(command: Command, workplace: Path) -> None:
    answer = command("run", "fine", "--data", "digits")

    assert re.fullmatch(
        "hpo: 'fine' needs the finished study 'coarse-digits', which is not in this storage "
        r"\(it holds: none yet\)\. Run `hpo run coarse --data digits` first, or name one with --from\.",
        answer.sentence,
    )
    assert list(workplace.iterdir()) == []  # no database was made


def test_fine_before_coarse_has_finished_says_how_many_cells_are_missing(
    command: Command, workplace: Path
) -> None:
    command("run", "coarse", "--data", "digits")
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection, connection:
        connection.execute("delete from hpo_results where cell in (2, 5, 7)")

    answer = command("run", "fine", "--data", "digits")

    assert re.match(
        "hpo: 'coarse-digits' is not finished: 3 of its 8 cells are missing. Run "
        "`hpo run coarse --data digits` ",
        answer.sentence,
    )
    assert stored(workplace, "select name from hpo_studies") == [("coarse-digits",)]


def test_fine_on_one_data_set_does_not_take_its_parent_from_another(
    command: Command, write_study: Command, write_npz: Command
) -> None:
    command("run", write_study(**BROAD), "--data", "digits")
    data = write_npz()

    told = command("run", write_study(**NARROW, batch_size=10), "--data", data).sentence
    assert "needs the finished study 'broad-mine', which is not in this storage" in told
    told = command("run", "narrow.py", "--data", data, "--from", "broad-digits").sentence
    assert re.match("hpo: 'broad-digits' was trained on other images .* same --data", told)


def test_from_names_the_parent(command: Command, write_study: Command) -> None:
    command("run", write_study(**BROAD), "--data", "digits", "--name", "another")

    first = command("run", write_study(**NARROW), "--data", "digits", "--from", "another")
    again = command("run", "narrow.py", "--data", "digits")
    wrong = command("run", "narrow.py", "--data", "digits", "--from", "broad-digits")

    assert first.out == again.out
    assert "narrow-digits: 2 cells" in command("list").out
    assert ", from another" in command("list").out
    assert "'narrow-digits' is derived from 'another', not from 'broad-digits'" in wrong.sentence


def test_from_has_no_meaning_for_a_study_without_a_parent(command: Command) -> None:
    told = command("run", "coarse", "--data", "digits", "--from", "x").sentence

    assert told == "hpo: 'coarse' is derived from no other study, so --from has no meaning."


def test_a_parents_cell_never_moves_later(
    command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(**BROAD), "--data", "digits")
    first = command("run", write_study(**NARROW), "--data", "digits")
    command("delete", "broad-digits", "--yes")

    assert command("run", "narrow.py", "--data", "digits").out == first.out
