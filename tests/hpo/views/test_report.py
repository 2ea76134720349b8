"""What the studies say as text, from results that were put into a real database."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from hpo.database import rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import NoResult, ParentUnfinished
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Result, Slot, StoredStudy
from hpo.experiment.resolution import resolve
from hpo.judging import ranking
from hpo.mirror import optuna_study
from hpo.planning import parents
from hpo.testing import digits_facts
from hpo.views import overview, report

DEFINITION = StudyDefinition(name="mine", grid=Values((1e-3, 1e-2, 1e-1)), n_s=10)
DATA = digits_facts()
Fill = Callable[..., StoredStudy]


def of(replicates: int) -> Experiment:
    return resolve(replace(DEFINITION, replicates=replicates), DATA)


@pytest.fixture
def fill(storage: Storage) -> Fill:
    """Store a study with values by cell; None stands for a diverged cell."""

    def store(values: dict[int, float | None], replicates: int = 1) -> StoredStudy:
        experiment = resolve(replace(DEFINITION, replicates=replicates), DATA)

        def write(connection: sa.Connection) -> StoredStudy:
            stored = StoredStudy("a uuid", "mine-digits", experiment)
            rows.insert_study(connection, stored)
            optuna_study.make(connection, stored)
            for cell, value in values.items():
                row = {
                    "study": stored.uuid,
                    "cell": cell,
                    "replicate": 0,
                    "attempt": 0,
                    "outcome": "diverged" if value is None else "complete",
                    "value": value,
                    "cycles": 2,
                    "n_updates": 40,
                    "hits": b"",
                    "environment": "{}",
                }
                connection.execute(tables.results.insert().values(row))
            return stored

        return storage.write(write)

    return store


def read(storage: Storage, stored: StoredStudy) -> report.StudyReport:
    return storage.write(lambda connection: report.read(connection, stored))


def looked(storage: Storage, stored: StoredStudy, n_right: int) -> None:
    """Store a look at 200 test images."""
    row = {
        "study": stored.uuid,
        "cell": 0,
        "replicate": 0,
        "looked_at": 0.0,
        "who": "somebody",
        "what": "a test",
        "fingerprint": "b" * 64,
        "n_images": 200,
        "n_right": n_right,
    }
    storage.write(lambda connection: connection.execute(tables.test_looks.insert().values(row)))


def test_the_table_has_a_line_a_cell_and_the_best_lambda(storage: Storage, fill: Fill) -> None:
    stored = fill({0: 0.5, 1: 0.91254, 2: None})

    assert report.table(read(storage, stored)).splitlines() == [
        "mine-digits: 3 of 3 done, 40 updates each, 1200 training and 300 validation images",
        "cell  lambda      validation accuracy",
        "   0  0.001       0.5000",
        "   1  0.01        0.9125  best",
        "   2  0.1         diverged",
        "Best lambda: 0.01",
    ]


def test_a_missing_cell_is_a_dash(storage: Storage, fill: Fill) -> None:
    text = report.table(read(storage, fill({1: 0.9})))

    assert "mine-digits: 1 of 3 done" in text
    assert text.splitlines()[2].split() == ["0", "0.001", "-"]


def test_with_replicates_each_has_its_line(storage: Storage, fill: Fill) -> None:
    lines = report.table(read(storage, fill({0: 0.5}, replicates=2))).splitlines()

    assert "replicate" in lines[1]
    assert [line.split() for line in lines[2:5]] == [
        ["0", "0.001", "0", "0.5000"],
        ["0", "0.001", "1", "-"],
        ["0", "0.001", "mean", "-"],
    ]


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ({0: 0.5, 1: 0.9, 2: 0.7}, 1),  # the highest
        ({0: 0.9, 1: 0.9, 2: 0.9}, 0),  # the first of equals
        ({0: None, 1: 0.1, 2: 0.05}, 1),  # a diverged one never
        ({2: 0.0}, 2),  # 0 is a value
        ({0: None}, None),
        ({}, None),
    ],
)
def test_the_best_cell(
    storage: Storage, fill: Fill, values: dict[int, float | None], best: int | None
) -> None:
    found = read(storage, fill(values)).best

    assert (found.slot.cell if found else None) == best


def test_the_best_does_not_depend_on_the_order_of_the_results() -> None:
    results = [Result(Slot(cell, 0), 0, "complete", 0.9, 2, 40) for cell in (2, 0, 1)]

    assert ranking.best_result(results) == results[1]
    assert ranking.best_result(results[::-1]) == results[1]


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ({0: (0.5, 0.5), 1: (0.9, 0.2)}, 1),  # the highest mean
        ({0: (0.6, 0.6), 1: (0.9, 0.2)}, 0),  # not the highest result
        ({0: (0.1, 0.2), 1: (0.2, 0.1)}, 0),  # the first of equals
        ({0: (0.5,), 1: (0.1, 0.2)}, 1),  # a replicate is missing
        ({0: (0.9, None), 1: (0.1, 0.2)}, 1),  # one diverged
        ({0: (0.9, 0.9, 0.9), 1: (0.95, 0.95)}, 1),  # a third replicate does not count
        ({0: (0.5,)}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("step", [1, -1])  # results come in any order
def test_the_best_cell_has_the_highest_mean(
    values: dict[int, tuple[float | None, ...]], best: int | None, step: int
) -> None:
    results = [
        Result(Slot(cell, r), 0, "diverged" if value is None else "complete", value, 2, 40)
        for cell, several in values.items()
        for r, value in enumerate(several)
    ][::step]

    assert ranking.best_cell(results, of(2)) == best
    winner = ranking.winner(results, of(2))
    assert (winner.slot.cell if winner else None) == best


def test_a_pruned_cell_is_not_the_best() -> None:
    results = [Result(Slot(cell, 0), 0, "complete", 0.5, 2, 40) for cell in (1, 2)]
    results.append(Result(Slot(0, 0), 0, "pruned", 0.9, 1, 20))

    assert ranking.best_cell(results, of(1)) == 1


def test_means_that_differ_by_rounding_are_equal() -> None:
    shares = {0: (0.1, 0.2, 0.6), 1: (0.3, 0.3, 0.3)}  # 0.9 in sum, and 0.8999999999999999
    results = [
        Result(Slot(cell, r), 0, "complete", value, 2, 40)
        for cell, several in shares.items()
        for r, value in enumerate(several)
    ]

    assert ranking.best_cell(results, of(3)) == 0
    assert ranking.cell_means(results, of(3)) == {0: 0.3, 1: 0.3}


def test_the_best_in_words(storage: Storage, fill: Fill) -> None:
    text = report.best(read(storage, fill({0: 0.5, 1: 0.9, 2: 0.7})))

    assert text == "mine-digits: lambda 0.01 (cell 1) with validation accuracy 0.9000"


def test_the_best_so_far_says_what_is_missing(storage: Storage, fill: Fill) -> None:
    assert report.best(read(storage, fill({0: 0.5}))).endswith(
        "accuracy 0.5000 so far; 2 of 3 cells are missing"
    )


@pytest.mark.parametrize(("values", "n"), [({}, 0), ({0: None, 1: None}, 2)])
def test_without_a_complete_cell_there_is_no_best(
    storage: Storage, fill: Fill, values: dict[int, float | None], n: int
) -> None:
    report_ = read(storage, fill(values))

    sentence = rf"'mine-digits' has no complete cell yet \({n} of 3 have a result\). Run `hpo run m"
    with pytest.raises(NoResult, match=sentence):
        report.best(report_)
    assert "Best lambda" not in report.table(report_)


def test_the_test_accuracy_is_shown_with_the_number_of_looks(storage: Storage, fill: Fill) -> None:
    stored = fill({0: 0.5, 1: 0.4, 2: 0.3})
    looked(storage, stored, 100)

    assert report.table(read(storage, stored)).endswith("Test accuracy: 0.5000")
    assert report.best(read(storage, stored)).endswith(
        "test accuracy 0.5000 (one look at the test images)"
    )

    looked(storage, stored, 150)
    assert report.best(read(storage, stored)).endswith(
        "test accuracy 0.7500 (2 looks at the test images)"
    )


def test_an_empty_database_says_how_to_start(storage: Storage) -> None:
    sentence = "No studies yet. `hpo run coarse` starts one."

    assert storage.write(overview.status) == sentence
    assert storage.write(overview.listing) == sentence


def test_status_counts_what_is_done_and_what_diverged(storage: Storage, fill: Fill) -> None:
    fill({0: 0.5, 1: None})

    heading, line = storage.write(overview.status).splitlines()

    counts = ["cells", "done", "running", "waiting", "pruned", "diverged"]
    assert heading.split() == ["study", *counts, "best"]
    assert line.split() == [
        "mine-digits",
        "3",
        "2",
        "0",
        "0",
        "0",
        "1",
        "0.5000",
        "at",
        "lambda",
        "0.001",
    ]


def test_the_list_says_what_a_study_is_about(storage: Storage, fill: Fill) -> None:
    fill({})

    assert storage.write(overview.listing) == (
        "mine-digits: 3 cells, 40 updates each, standard protocol, digits"
    )


@pytest.mark.parametrize(
    ("values", "n"),
    [
        ({}, 3),
        ({0: 0.5, 2: 0.4}, 1),
        ({0: 0.5, 2: None}, 1),  # a diverged cell is counted
    ],
)
def test_an_unfinished_parent_says_how_many_cells_are_missing(
    storage: Storage, fill: Fill, values: dict[int, float | None], n: int
) -> None:
    stored = fill(values)

    sentence = rf"'mine-digits' is not finished: {n} of its 3 cells are missing. Run `hpo run mine "
    with pytest.raises(ParentUnfinished, match=sentence):
        storage.write(lambda connection: parents.finished_best(connection, stored))


def test_with_replicates_more_trials_can_be_missing_than_there_are_cells(
    storage: Storage, fill: Fill
) -> None:
    stored = fill({0: 0.5}, replicates=2)

    with pytest.raises(ParentUnfinished, match="5 of its 6 "):
        storage.write(lambda connection: parents.finished_best(connection, stored))


def test_a_parent_whose_cells_all_diverged_has_no_best(storage: Storage, fill: Fill) -> None:
    stored = fill({0: None, 1: None, 2: None})

    with pytest.raises(ParentUnfinished, match="Every cell of 'mine-digits' diverged"):
        storage.write(lambda connection: parents.finished_best(connection, stored))
