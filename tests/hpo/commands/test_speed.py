"""How fast a search goes here is measured with its own networks."""

import time

import pytest

from hpo.commands import speed
from hpo.experiment.resolution import resolve
from hpo.training.trainer import facts
from hpo.views.duration import in_words
from model.data import digits
from tests.hpo.small_search import HALVED, run


@pytest.mark.long
def test_what_is_measured_is_about_what_a_search_takes(storage: object) -> None:
    dataset = digits()
    experiment = resolve(HALVED, facts(dataset, HALVED))
    began = time.perf_counter()
    rate = speed.rate(experiment, dataset, 1)
    middle = time.perf_counter()
    run(storage, HALVED)
    took = time.perf_counter() - middle

    assert middle - began < 10
    assert took / 10 < HALVED.space.budget / rate < took * 10  # on a machine that others use


def test_more_workers_are_faster_and_less_than_in_proportion() -> None:
    dataset = digits()
    experiment = resolve(HALVED, facts(dataset, HALVED))

    alone, four = (speed.rate(experiment, dataset, n) for n in (1, 4))

    assert four < 6 * alone


def test_times_are_told_in_a_unit_that_fits() -> None:
    assert list(map(in_words, (0.2, 94, 3000, 90_000))) == [
        "1 s",
        "94 s",
        "50 minutes",
        "25 hours",
    ]
