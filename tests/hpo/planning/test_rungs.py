"""Synchronous halving: one decision a rung, whatever the order of completion."""

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from hpo.database import decisions, outcomes, rows, tables
from hpo.definition.grids import Values
from hpo.experiment.records import Point, Slot, State, StoredStudy
from hpo.experiment.resolution import resolve
from hpo.planning import rungs
from hpo.training.trainer import facts
from model.data import digits
from tests.hpo.planning.halved import HALVED

pytestmark = pytest.mark.sqlite_first

# --- the decision


@pytest.mark.parametrize(
    ("n", "eta", "kept"),
    [
        (8, 2, 4),  # coarse
        (10, 2, 5),  # fine, after the first cycle
        (5, 2, 3),  # and after the second
        (9, 3, 3),
        (1, 2, 1),  # the last one is never cut
    ],
)
def test_how_many_go_on(n: int, eta: float, kept: int) -> None:
    assert rungs.n_kept(n, eta) == kept


def test_of_equal_cells_the_lower_one_goes_on() -> None:
    assert rungs.survivors({0: 0.4, 1: 0.5, 2: 0.5, 3: 0.5}, 2) == (1, 2)


def test_a_cell_without_a_value_comes_last_and_never_goes_on() -> None:
    assert rungs.survivors({0: None, 1: 0.1, 2: None}, 2) == (1,)


@given(
    st.permutations(range(8)), st.lists(st.sampled_from([0.3, 0.4, 0.5]), min_size=8, max_size=8)
)
def test_the_order_of_the_table_does_not_matter(order: list[int], values: list[float]) -> None:
    table = dict(enumerate(values))
    assert rungs.survivors({cell: table[cell] for cell in order}, 4) == rungs.survivors(table, 4)


N_REPLICATES = 2
EXPERIMENT = resolve(
    dataclasses.replace(
        HALVED, grid=Values((0.1, 0.2, 0.3, 0.4, 0.5, 0.6)), replicates=N_REPLICATES, n_cycles=3
    ),
    facts(digits(), HALVED),
)
STORED = StoredStudy("some", "some", EXPERIMENT)


@pytest.fixture(scope="module")
def empty() -> Iterator[Engine]:
    engine = sa.create_engine("sqlite://")
    tables.metadata.create_all(engine)
    yield engine
    engine.dispose()


def accuracy(slot: Slot, cycle: int) -> float:
    """A made-up value, with ties between cells 1 and 2 and between 3 and 4."""
    return round(0.5 + 0.01 * ((7 * ((slot.cell + 1) // 2) + 3 * slot.replicate + cycle) % 5), 2)


def arrive(connection: sa.Connection, slot: Slot, cycle: int) -> None:
    """Let a trial reach the end of a cycle, as a worker does."""
    n_updates = 2 * EXPERIMENT.n_s * cycle
    (attempt,) = [a for a in rows.attempts_of(connection, "some") if a.slot == slot]
    values = (0.0, 0.0, 0.0, 0.0, 0.0, accuracy(slot, cycle))
    outcomes.append_curves(connection, "some", {slot: [Point(n_updates, values)]})
    rows.update_attempt(connection, "some", attempt, state=State.PAUSED)
    decisions.lock(connection, "some")
    rungs.decide(connection, STORED)


def played(engine: Engine, rng: random.Random) -> tuple[Any, Any]:
    """Play a study in which trials arrive in any order; return its decisions and results."""
    slots = [Slot(c, r) for c in range(6) for r in range(N_REPLICATES)]
    with engine.connect() as connection, connection.begin() as transaction:
        rows.insert_study(connection, STORED)
        for slot in slots:
            connection.execute(
                tables.attempts.insert().values(
                    study="some",
                    cell=slot.cell,
                    replicate=slot.replicate,
                    attempt=0,
                    state="waiting",
                    in_optuna=True,
                )
            )
        done = dict.fromkeys(slots, 0)
        while True:
            waiting = rows.attempts_of(connection, "some", states=["waiting"])
            movable = [a.slot for a in waiting if done[a.slot] < 2]
            if not movable:
                break
            slot = rng.choice(movable)
            done[slot] += 1
            arrive(connection, slot, done[slot])
        known = decisions.decided(connection, "some")
        results = [
            (r.slot, r.outcome, r.value, r.cycles) for r in outcomes.results_of(connection, "some")
        ]
        transaction.rollback()
    return known, results


# --- the record of it, for any order of completion


@pytest.mark.long
def test_every_order_of_completion_gives_the_same_decisions(empty: Engine) -> None:
    expected = played(empty, random.Random(0))
    assert expected[0].keys() == {1, 2}
    assert [len(chosen) for chosen in expected[0].values()] == [3, 2]

    @settings(max_examples=500)
    @given(st.randoms(use_true_random=False))
    def in_any_order(rng: random.Random) -> None:
        assert played(empty, rng) == expected

    in_any_order()
