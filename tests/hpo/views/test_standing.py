"""How a run stands: what is best, what is left and how fast it goes, from what was told."""

from dataclasses import replace

import pytest

from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Slot, State
from hpo.experiment.resolution import resolve
from hpo.testing import digits_facts
from hpo.views.screen import best_so_far, state_of
from hpo.views.standing import SlotStanding, Snapshot, Standing
from tests.hpo.small_grid import SMALL


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
