"""What `hpo best` says of stored results, from bits that were put into a real database."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from hpo.database import rows, tables
from hpo.database.hits import hits_of
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Result, Slot, StoredStudy
from hpo.experiment.resolution import resolve
from hpo.judging import ranking
from hpo.judging.comparisons import Behind
from hpo.judging.judgement import Judgement, in_words
from hpo.judging.statistics import Interval, layout_of
from hpo.judging.winner import Separation
from hpo.planning import parents
from hpo.testing import digits_facts
from hpo.views import report

N_IMAGES = 1003  # not whole bytes
LAMBDAS = (1e-3, 1e-2, 1e-1, 1.0)
DATA = replace(digits_facts(), n_validation=N_IMAGES)
Bits = NDArray[np.bool_]
#: Outcome and bits of each slot; a share of right answers stands for random bits.
Contents = Mapping[tuple[int, int], tuple[str, float | Bits | bytes]]
Fill = Callable[..., StoredStudy]


def bits(share: float, cell: int, replicate: int) -> Bits:
    """Return bits that the networks of a replicate have in common but for a few."""
    hardness = np.random.default_rng(0).random(N_IMAGES)
    own = np.random.default_rng((1, cell, replicate)).normal(0, 0.05, N_IMAGES)
    found: Bits = hardness + own < share
    return found


@pytest.fixture
def fill(storage: Storage) -> Fill:
    def store(contents: Contents, replicates: int = 1) -> StoredStudy:
        definition = StudyDefinition(name="mine", grid=Values(LAMBDAS), n_s=10, eta_max=0.1)
        experiment = resolve(replace(definition, replicates=replicates), DATA)

        def write(connection: sa.Connection) -> StoredStudy:
            stored = StoredStudy("a uuid", "mine-digits", experiment)
            rows.insert_study(connection, stored)
            for (cell, replicate), (outcome, what) in contents.items():
                right = bits(what, cell, replicate) if isinstance(what, float) else what
                packed = right if isinstance(right, bytes) else np.packbits(right).tobytes()
                value = None if isinstance(right, bytes) else float(right.mean())
                row = {
                    "study": stored.uuid,
                    "cell": cell,
                    "replicate": replicate,
                    "attempt": 0,
                    "outcome": outcome,
                    "value": value if outcome == "complete" else None,
                    "cycles": 2,
                    "n_updates": 40,
                    "hits": packed,
                    "environment": "{}",
                }
                connection.execute(tables.results.insert().values(row))
            return stored

        return storage.write(write)

    return store


def complete(*shares: float, replicates: int = 1) -> Contents:
    """Return cells with these shares of right answers."""
    return {
        (cell, replicate): ("complete", share)
        for cell, share in enumerate(shares)
        for replicate in range(replicates)
    }


def judged(storage: Storage, stored: StoredStudy) -> Judgement:
    found = storage.write(lambda connection: report.judged(connection, stored))
    assert found is not None
    return found


def told(storage: Storage, stored: StoredStudy) -> list[str]:
    """Return what `hpo best` prints."""

    def action(connection: sa.Connection) -> str:
        return report.best(report.read(connection, stored), report.judged(connection, stored))

    return storage.write(action).splitlines()


def test_bits_come_back_as_they_were_stored(storage: Storage, fill: Fill) -> None:
    expected = bits(0.5, 2, 1)
    stored = fill(
        {
            (2, 1): ("complete", expected),
            (0, 0): ("complete", 0.5),
            (1, 0): ("diverged", 0.1),
            (3, 0): ("pruned", 0.4),
            (1, 1): ("complete", b""),  # of an objective of the user's own
        },
        2,
    )

    found = storage.write(lambda connection: hits_of(connection, stored))

    assert list(found) == [Slot(0, 0), Slot(2, 1)]
    assert found[Slot(2, 1)].dtype == np.bool_
    assert found[Slot(2, 1)].tolist() == expected.tolist()


@pytest.mark.parametrize(
    "contents",
    [
        {},
        {(0, 0): ("complete", b""), (1, 0): ("complete", b"")},
        {(0, 0): ("diverged", 0.5), (1, 0): ("pruned", 0.5)},
    ],
)
def test_without_bits_there_is_nothing_to_judge(
    storage: Storage, fill: Fill, contents: Contents
) -> None:
    stored = fill(contents)

    assert storage.write(lambda connection: report.judged(connection, stored)) is None


@pytest.mark.parametrize("outcome", ["diverged", "pruned"])
def test_a_cell_that_did_not_end_never_wins(storage: Storage, fill: Fill, outcome: str) -> None:
    contents = dict(complete(0.5, 0.9, 0.52, 0.3, replicates=2))
    contents[1, 1] = (outcome, 0.9)
    stored = fill(contents, 2)

    found = judged(storage, stored)

    assert (found.best, found.n_compared) == (2, 3)
    assert 1 not in found.contenders
    lines = told(storage, stored)
    assert lines[0].startswith("mine-digits: lambda 0.1 (cell 2) with validation accuracy 0.")
    assert f"not compared, and never the winner: cell 1 ({outcome})" in lines


def test_a_cell_waits_for_all_its_replicates(storage: Storage, fill: Fill) -> None:
    contents = dict(complete(0.5, 0.9, 0.52, 0.3, replicates=3))
    del contents[1, 2]
    stored = fill(contents, 3)

    assert judged(storage, stored).n_compared == 3
    assert told(storage, stored)[0].endswith(
        ", the mean of 3 replicates so far; 1 of 12 results are missing"
    )


def test_the_winner_has_the_highest_mean_not_the_highest_result(
    storage: Storage, fill: Fill
) -> None:
    shares = {(0, 0): 0.60, (0, 1): 0.50, (1, 0): 0.57, (1, 1): 0.57}
    contents = {slot: ("complete", share) for slot, share in shares.items()}
    diverged = {(cell, replicate): ("diverged", 0.1) for cell in (2, 3) for replicate in (0, 1)}
    stored = fill(contents | diverged, 2)

    assert judged(storage, stored).best == 1
    parent = storage.write(lambda connection: parents.finished_best(connection, stored))
    assert parent.slot.cell == 1
    lines = storage.write(lambda c: report.table(report.read(c, stored))).splitlines()
    (marked,) = [line.split() for line in lines if line.endswith("best")]
    assert marked[:3] == ["1", "0.01", "mean"]


def test_one_replicate_speaks_of_images_only(storage: Storage, fill: Fill) -> None:
    stored = fill(complete(0.5, 0.51, 0.505, 0.2))

    found = judged(storage, stored)

    assert not found.accuracy.covers_seeds
    assert found.separation is None
    assert told(storage, stored)[2].endswith(
        "for other images only: one replicate says nothing of other seeds"
    )


def test_several_replicates_compare_the_contenders(storage: Storage, fill: Fill) -> None:
    stored = fill(complete(0.506, 0.51, 0.508, 0.2, replicates=4), 4)

    found = judged(storage, stored)

    assert (found.best, set(found.contenders)) == (1, {0, 1, 2})
    assert found.contenders[1].value == 0
    assert 0 < found.contenders[0].value < found.contenders[0].most
    assert found.contenders[1].most > 0  # it may be behind the truly best itself
    assert 0 < found.measured - found.accuracy.value < 0.01
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high
    assert found.separation is not None
    assert found.n_replicates == 4


def test_a_judgement_goes_by_the_cells_of_the_study(storage: Storage, fill: Fill) -> None:
    contents = dict(complete(0.5, 0.51, 0.505, 0.51))
    contents[0, 0] = ("diverged", 0.5)
    contents[3, 0] = contents[2, 0]  # cells 1, 2 and 3 are compared

    found = judged(storage, fill(contents))

    assert (found.best, set(found.contenders)) == (1, {1, 2, 3})
    assert found.parsimonious == 3  # the largest lambda


def test_a_clear_winner_is_told_from_every_other_cell(storage: Storage, fill: Fill) -> None:
    lines = told(storage, fill(complete(0.2, 0.9, 0.3, 0.1)))

    assert lines[-1] == "it can be told from every other cell at 95 %"


def test_a_study_of_one_cell_has_an_interval_only(storage: Storage, fill: Fill) -> None:
    lines = told(storage, fill(complete(0.8, replicates=3), 3))

    assert len(lines) == 2
    assert lines[1].endswith("for other images and other seeds")


def test_a_judgement_is_the_same_every_time(storage: Storage, fill: Fill) -> None:
    stored = fill(complete(0.5, 0.51, 0.505, 0.2, replicates=2), 2)

    assert judged(storage, stored) == judged(storage, stored)


@given(arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(2, 9))))
def test_stored_values_and_bits_have_the_same_winner(hits: Bits) -> None:
    results = [
        Result(Slot(cell, replicate), 0, "complete", float(hits[cell, replicate].mean()), 2, 40)
        for cell in range(hits.shape[0])
        for replicate in range(hits.shape[1])
    ]

    definition = StudyDefinition(name="mine", grid=Values(LAMBDAS), eta_max=0.1)
    experiment = resolve(replace(definition, replicates=hits.shape[1]), DATA)
    assert ranking.best_cell(results, experiment) == layout_of(hits).best


JUDGEMENT = Judgement(
    n_replicates=3,
    n_images=5000,
    n_compared=4,
    best=1,
    measured=0.5214,
    accuracy=Interval(0.5194, 0.5094, 0.5294, 0.005, covers_seeds=True),
    contenders={0: Behind(0.002, 0.008), 1: Behind(0.0, 0.004), 2: Behind(0.001, 0.006)},
    parsimonious=2,
    separation=Separation(0.005, 6, 0.0013),
)


def over(*lambdas: float) -> Experiment:
    """Return the experiment of a grid."""
    return resolve(StudyDefinition(name="mine", grid=Values(lambdas), eta_max=0.01), DATA)


def test_a_judgement_in_words() -> None:
    assert in_words(JUDGEMENT, over(*LAMBDAS)) == [
        "corrected for having been chosen from 4 cells: 0.5194",
        "95 % interval 0.5094 to 0.5294, for other images and other seeds",
        "lambda 0.001 and 0.1 cannot be told from it at 95 %; 6 more replicates would separate a "
        "cell that is 0.5 points behind in 3 of 4 searches or more",
        "cell  lambda      points behind it  behind the truly best at most (95 %, all at once)",
        "   1  0.01                    0.00                           0.40",
        "   2  0.1                     0.10                           0.60",
        "   0  0.001                   0.20                           0.80",
        "largest lambda within one standard error of the best: 0.1 (cell 2)",
    ]


def test_what_chose_the_finalists_is_not_corrected_for_and_said() -> None:
    found = in_words(replace(JUDGEMENT, are_finalists=True), over(*LAMBDAS, 2.0))

    assert found[0] == (
        "corrected for having been chosen from 4 finalists of 5 cells (not for the choice of the "
        "finalists): 0.5194"
    )


@pytest.mark.parametrize(
    ("separation", "words"),
    [
        (
            Separation(0.005, 1, 0.001),
            "1 more replicate would separate a cell that is 0.5 points behind in 3 of 4 searches or more",
        ),
        (
            Separation(0.005, 0, 0.001),
            "a cell that is 0.5 points behind would be separated in 3 of 4 searches or more",
        ),
        (
            Separation(0.005, None, 0.0062),
            "no number of replicates separates a cell that is 0.5 points behind in 3 of 4 searches "
            "or more, because 5000 images alone leave 0.62 open: more images are needed",
        ),
        (
            Separation(0.005, None, 0.00499),
            "more than 1000 more replicates would separate a cell that is 0.5 points behind "
            "in 3 of 4 searches or more",
        ),
        (
            None,
            "a second replicate would tell how many more separate a cell that is 0.5 points behind",
        ),
    ],
)
def test_what_would_separate_the_contenders(separation: Separation | None, words: str) -> None:
    found = in_words(replace(JUDGEMENT, separation=separation), over(*LAMBDAS))

    assert found[2] == f"lambda 0.001 and 0.1 cannot be told from it at 95 %; {words}"


def test_many_contenders_are_summed_up() -> None:
    behind = {cell: Behind(cell / 1000, (cell + 5) / 1000) for cell in range(15)}
    many = replace(JUDGEMENT, n_compared=15, best=0, contenders=behind)

    lines = in_words(many, over(*map(float, behind)))

    assert lines[2].startswith("lambda 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 4 more cannot be told")
    assert [line.split()[0] for line in lines[4:14]] == [*"0123456789"]
    assert lines[14] == "and 5 more, behind the truly best by 1.90 at most"
