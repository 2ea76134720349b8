"""How a run stands: what is best, what is left and how fast it goes, from what was told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Slot, State
from hpo.experiment.resolution import resolve
from hpo.testing import digits_facts
from hpo.views.screen import best_so_far, cycle_of, state_of
from hpo.views.standing import SlotStanding, Snapshot, Standing
from tests.hpo.small_grid import SMALL

SEEDS = replace(SMALL, pruner="halving", replicates=3)
#: What may happen to a slot: cell, replicate, kind, log point, accuracy.
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 2),
        st.sampled_from(["claimed", "advanced", "complete", "pruned", "looked"]),
        st.integers(1, 8),
        st.integers(0, 100),
    ),
    max_size=60,
)


@pytest.fixture
def experiment() -> Experiment:
    return resolve(replace(SMALL, pruner="halving"), digits_facts(), None)


def test_what_will_be_cut_is_not_left(experiment: Experiment) -> None:
    standing = Standing("small", experiment)

    assert standing.n_left == 4 * 40 + 2 * 40


def test_nothing_is_left_of_a_halved_study_that_is_done(experiment: Experiment) -> None:
    standing = Standing("small", experiment)
    for cell in range(4):
        standing.advanced(Slot(cell, 0), 40, 0.1 * cell)
    for cell in range(2):
        standing.ended(Slot(cell, 0), Outcome.PRUNED, None)
    for cell in range(2, 4):
        standing.ended(Slot(cell, 0), Outcome.COMPLETE, 0.5)

    assert (standing.n_trained, standing.n_left) == (240, 0)
    assert state_of(standing, 1) == "pruned there at 0.1000"


def test_the_best_so_far_is_not_the_one_that_reported_last(experiment: Experiment) -> None:
    standing = Standing("small", experiment)
    standing.ended(Slot(1, 0), Outcome.COMPLETE, 0.6)
    standing.advanced(Slot(2, 0), 10, 0.9)

    assert best_so_far(standing) == "0.6000 at cell 1 (lambda 0.001)"


def test_the_rate_is_taken_from_what_was_made_since_the_run_began(experiment: Experiment) -> None:
    now = [0.0]
    standing = Standing("small", experiment, clock=lambda: now[0])
    standing.look(Snapshot(experiment, {Slot(0, 0): SlotStanding(40, State.WAITING)}, 1))
    now[0] = 2.0
    standing.advanced(Slot(1, 0), 20, 0.5)

    assert standing.rate == 10
    assert standing.seconds_left == standing.n_left / 10


def test_an_older_look_takes_nothing_back(experiment: Experiment) -> None:
    standing = Standing("small", experiment)
    standing.advanced(Slot(0, 0), 40, 0.5)
    assert state_of(standing, 0) == "waits at the end of cycle 1"
    standing.look(Snapshot(experiment, {Slot(0, 0): SlotStanding(0, State.RUNNING)}, 2))

    assert standing.n_trained == 40
    assert standing.n_workers == 2


@given(EVENTS)
def test_whatever_happens_nothing_goes_back(
    events: list[tuple[int, int, str, int, int]],
) -> None:
    experiment = resolve(SEEDS, digits_facts(), None)
    standing = Standing("small", experiment)
    cut: set[int] = set()
    before = (0, [1] * 4, 0, (0, 0.0))

    for cell, replicate, kind, point, hits in events:
        slot = Slot(cell, replicate)
        n_updates = 10 * point
        known = standing.slots.get(slot, SlotStanding())
        accuracy = known.curve.get(n_updates, hits / 100)  # a log point has one accuracy
        if kind == "claimed":
            standing.claimed(slot, n_updates)
        elif kind == "advanced":
            standing.advanced(slot, n_updates, accuracy)
        elif kind == "looked":
            found = SlotStanding(n_updates, State.RUNNING, curve={n_updates: accuracy})
            standing.look(Snapshot(experiment, {slot: found}, 1))
        elif kind == "pruned" and all(own.outcome is None for own in standing.of_cell(cell)):
            cut.add(cell)
            for own in range(3):
                standing.ended(Slot(cell, own), Outcome.PRUNED, None)
        elif kind == "complete" and known.outcome is None and cell not in cut:
            standing.ended(slot, Outcome.COMPLETE, accuracy)
        best = standing.best
        now = (
            standing.n_trained,
            [cycle_of(standing, cell) for cell in range(4)],
            standing.n_done,
            (best.n_seeds, best.accuracy) if best else (0, 0.0),
        )
        assert now[0] >= before[0]
        assert all(new >= old for new, old in zip(now[1], before[1], strict=True))
        assert now[2:] >= before[2:]
        assert now[3] >= before[3]
        before = now


def test_a_cell_stays_in_the_cycle_at_whose_end_it_waits() -> None:
    standing = Standing("small", resolve(SEEDS, digits_facts(), None))
    told = []
    for replicate in range(3):
        for n_updates in (20, 40):
            standing.advanced(Slot(0, replicate), n_updates, 0.5)
            told.append(cycle_of(standing, 0))
    standing.claimed(Slot(0, 0), 40)
    standing.advanced(Slot(0, 0), 50, 0.5)

    assert told == [1] * 6
    assert cycle_of(standing, 0) == 2
    assert cycle_of(standing, 3) == 1


def test_a_worse_epoch_takes_nothing_from_the_best_in_training(experiment: Experiment) -> None:
    standing = Standing("small", experiment)
    standing.advanced(Slot(1, 0), 10, 0.7)
    standing.advanced(Slot(1, 0), 20, 0.6)

    assert best_so_far(standing) == "0.7000 in training at cell 1 (lambda 0.001)"


def test_more_seeds_of_a_finished_study_leave_its_best_and_say_how_many_count() -> None:
    experiment = resolve(replace(SMALL, pruner="halving"), digits_facts(), None)
    standing = Standing("small", experiment)
    for cell, value in enumerate((0.5, 0.6, 0.7, 0.4)):
        standing.ended(Slot(cell, 0), Outcome.COMPLETE, value)
    standing.follow(resolve(SEEDS, digits_facts(), None))

    grown = best_so_far(standing)
    standing.ended(Slot(1, 1), Outcome.COMPLETE, 0.5)

    assert grown == "0.7000 at cell 2, 1 of 3 seeds (lambda 0.01)"
    assert best_so_far(standing) == "0.5500 at cell 1, 2 of 3 seeds (lambda 0.001)"


def test_a_cell_that_diverged_in_one_seed_is_not_the_best() -> None:
    standing = Standing("small", resolve(SEEDS, digits_facts(), None))
    standing.ended(Slot(0, 0), Outcome.COMPLETE, 0.9)
    standing.ended(Slot(1, 0), Outcome.COMPLETE, 0.5)
    standing.ended(Slot(0, 1), Outcome.DIVERGED, None)

    assert best_so_far(standing) == "0.5000 at cell 1, 1 of 3 seeds (lambda 0.001)"
