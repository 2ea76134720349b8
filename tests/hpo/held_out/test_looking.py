"""The one way to the test images: a look is a row, and is taken once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from hpo.commands import running
from hpo.commands.request import Order
from hpo.data.source import Source
from hpo.database import digests, outcomes, tables
from hpo.database.looks import looks_of
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import NoResult
from hpo.experiment.records import Slot
from hpo.held_out import looking
from hpo.views.story import Story
from model.data import Dataset, digits, digits_test

DIGITS = Source(spec="digits", name="digits")
FIRST = Slot(0, 0)
DEFINITION = StudyDefinition(
    name="last", grid=Values((1e-4, 1e-3)), n_s=10, n_cycles=1, evaluates_test=True
)


class Examiner:
    """Gets the first 100 images right, and counts how often it was asked."""

    def __init__(self) -> None:
        self.n_asked = 0

    def __call__(self, test: Dataset) -> np.ndarray:
        self.n_asked += 1
        return np.arange(len(test)) < 100


def looks(storage: Storage, study: str) -> list[sa.Row]:
    return storage.write(lambda connection: looks_of(connection, study))


def test_a_look_is_a_row_that_says_who_looked_at_what(storage: Storage) -> None:
    taken = looking.look(storage, "uuid", FIRST, "a network", Examiner(), DIGITS)

    (row,) = looks(storage, "uuid")
    assert taken == looking.Look(297, 100)
    assert taken.accuracy == 100 / 297
    assert (row.cell, row.replicate, row.n_images, row.n_right) == (0, 0, 297, 100)
    assert row.what == "a network"
    assert " on " in row.who
    assert row.fingerprint == digits_test().fingerprint
    assert row.looked_at > 1.7e9  # seconds since 1970


def test_a_look_that_was_taken_is_not_taken_again(storage: Storage) -> None:
    examiner = Examiner()
    taken = [looking.look(storage, "u", FIRST, "it", examiner, DIGITS) for _ in range(3)]

    assert len(set(taken)) == 1
    assert examiner.n_asked == 1
    assert len(looks(storage, "u")) == 1


def test_the_bits_of_a_look_say_which_images_were_right(storage: Storage) -> None:
    looking.look(storage, "u", FIRST, "it", Examiner(), DIGITS)

    (row,) = looks(storage, "u")
    bits = np.unpackbits(np.frombuffer(row.hits, np.uint8), count=297)
    assert np.flatnonzero(bits).tolist() == list(range(100))


def test_a_look_that_is_taken_again_is_one_more_row(storage: Storage) -> None:
    examiner = Examiner()
    looking.look(storage, "u", FIRST, "it", examiner, DIGITS)
    looking.look(storage, "u", FIRST, "it again", examiner, DIGITS, again=True)

    assert examiner.n_asked == 2
    assert [row.what for row in looks(storage, "u")] == ["it", "it again"]
    assert looking.taken_before(storage, "u", FIRST) == looking.Look(297, 100)


@pytest.mark.parametrize("again", [False, True])
def test_a_commit_whose_answer_was_lost_leaves_one_row(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    def write_twice(action: Any) -> Any:
        write(action)
        return write(action)

    write = storage.write
    monkeypatch.setattr(storage, "write", write_twice)

    looking.look(storage, "u", FIRST, "it", Examiner(), DIGITS, again=again)

    assert len(looks(storage, "u")) == 1


def test_every_study_and_every_cell_has_its_own_look(storage: Storage) -> None:
    examiner = Examiner()
    for study, slot in (("u", FIRST), ("u", Slot(1, 0)), ("u", Slot(0, 1)), ("v", FIRST)):
        looking.look(storage, study, slot, "it", examiner, DIGITS)

    assert examiner.n_asked == 4
    assert len(looks(storage, "u")) == 3


def test_nothing_was_taken_before_the_first_look(storage: Storage) -> None:
    assert looking.taken_before(storage, "u", FIRST) is None


def test_a_source_without_test_images_has_no_test_accuracy(
    storage: Storage, tmp_path: Path
) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, images=np.zeros((4, 2), np.uint8), labels=np.arange(4) % 2)
    source = Source(spec=f"npz:{path}", name="mine")

    sentence = "mine has no test images, so there is no test accuracy. Add test_images and test_la"
    with pytest.raises(NoResult, match=sentence):
        looking.look(storage, "u", FIRST, "it", Examiner(), source)
    assert looks(storage, "u") == []


def test_a_look_that_came_to_no_end_is_a_row_which_the_next_one_completes(
    storage: Storage,
) -> None:
    def dies(test: Dataset) -> np.ndarray:
        raise MemoryError

    with pytest.raises(MemoryError):
        looking.look(storage, "u", FIRST, "it", dies, DIGITS)
    (begun,) = looks(storage, "u")
    assert not begun.is_complete
    assert looking.taken_before(storage, "u", FIRST) is None

    taken = looking.look(storage, "u", FIRST, "it", Examiner(), DIGITS)

    (row,) = looks(storage, "u")
    assert (row.is_complete, row.n_right, row.id) == (True, taken.n_right, begun.id)
    assert (row.who, row.looked_at) == (begun.who, begun.looked_at)


def test_what_was_begun_for_other_images_is_not_completed_with_these(storage: Storage) -> None:
    def dies(test: Dataset) -> np.ndarray:
        raise MemoryError

    with pytest.raises(MemoryError):
        looking.look(storage, "u", FIRST, "it", dies, DIGITS)
    other = tables.test_looks.update().values(fingerprint="f" * 64)

    def change(connection: sa.Connection) -> None:
        connection.execute(other)
        digests.seal(connection, tables.test_looks, tables.test_looks.select())

    storage.write(change)
    looking.look(storage, "u", FIRST, "it", Examiner(), DIGITS)

    assert [row.is_complete for row in looks(storage, "u")] == [False, True]


@pytest.mark.parametrize("again", [False, True])
def test_of_two_that_look_at_once_one_waits_for_the_other(url: str, again: bool) -> None:
    opened = [Storage(url), Storage(url)]
    examiner, inside, go_on = Examiner(), threading.Event(), threading.Event()

    def slow(test: Dataset) -> np.ndarray:
        inside.set()
        assert go_on.wait(20)
        return examiner(test)

    def look(storage: Storage, examine: Any) -> looking.Look:
        return looking.look(storage, "u", FIRST, "it", examine, DIGITS, again=again)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(look, opened[0], slow)
        assert inside.wait(20)
        second = pool.submit(look, opened[1], examiner)
        assert [row.is_complete for row in looks(opened[0], "u")] == [False]
        assert examiner.n_asked == 0
        go_on.set()
        assert first.result() == second.result()

    n = 2 if again else 1  # on purpose it is one more row
    assert [row.is_complete for row in looks(opened[0], "u")] == [True] * n
    assert examiner.n_asked == n
    for storage in opened:
        storage.close()


def test_weights_that_were_not_kept_are_a_sentence(storage: Storage) -> None:
    study = running.run(Order(DEFINITION, digits()), storage, Story(), lambda: False).study

    with pytest.raises(
        NoResult, match="The weights of cell 3, replicate 0, are not stored: only th"
    ):
        storage.write(lambda c: looking.final_network(c, study.stored, Slot(3, 0)))


def test_the_weights_of_the_best_three_cells_are_kept(storage: Storage) -> None:
    definition = StudyDefinition(
        name="five", grid=Values((1e-5, 0.4, 1e-3, 1e-1, 1e-4)), n_s=20, n_cycles=1
    )
    study = running.run(Order(definition, digits()), storage, Story(), lambda: False).study
    results = storage.write(lambda connection: outcomes.results_of(connection, study.uuid))
    ranked = sorted(results, key=lambda r: (-(r.value or 0), r.slot.cell))

    for result in ranked[:3]:
        storage.write(lambda c, slot=result.slot: looking.final_network(c, study.stored, slot))
    for result in ranked[3:]:
        with pytest.raises(NoResult):
            storage.write(lambda c, slot=result.slot: looking.final_network(c, study.stored, slot))


def test_the_weights_of_the_best_three_cells_are_kept_in_every_replicate(storage: Storage) -> None:
    definition = StudyDefinition(
        name="five", grid=Values((1e-5, 0.4, 1e-3, 1e-1, 1e-4)), n_s=20, n_cycles=1, replicates=2
    )
    study = running.run(Order(definition, digits()), storage, Story(), lambda: False).study
    results = storage.write(lambda connection: outcomes.results_of(connection, study.uuid))
    expected = set()
    for replicate in range(2):
        mine = [r for r in results if r.slot.replicate == replicate]
        ranked = sorted(mine, key=lambda r: (-(r.value or 0), r.slot.cell))
        expected |= {r.slot for r in ranked[:3]}

    table = tables.checkpoints
    kept = storage.write(lambda c: c.execute(sa.select(table.c.cell, table.c.replicate)).all())
    assert {Slot(*row) for row in kept} == expected
