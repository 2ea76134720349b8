"""What Optuna stores of parameters, written by us: the same text, and the same numbers."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from optuna import distributions as optunas_own

import hpo
from hpo.commands import running
from hpo.commands.request import Order
from hpo.definition.ranges import Choice
from hpo.mirror import parameters
from hpo.mirror.parameters import Range
from model.data import digits
from tests.hpo import small_grid

DIMENSIONS = [
    (hpo.Real(1e-5, 1e-1), [1e-5, 0.003, 1e-1]),
    (hpo.Real(0, 1, logarithmic=False), [0.0, 1.0]),
    (hpo.Whole(450, 1350, 450), [450, 900, 1350]),
    (hpo.Whole(4, 64, logarithmic=True), [4, 17]),
    (Choice(("image", "none")), ["image", "none"]),
    (Choice((True, False)), [False, True]),
]


@pytest.mark.parametrize(("dimension", "values"), DIMENSIONS)
def test_a_range_and_its_values_are_stored_as_optuna_stores_them(
    dimension: Any, values: list[Any]
) -> None:
    kind, given = dimension.for_optuna()
    own = getattr(optunas_own, kind)(**given)

    assert Range(kind, given).as_json() == optunas_own.distribution_to_json(own)
    assert [Range(kind, given).number(v) for v in values] == [
        own.to_internal_repr(v) for v in values
    ]


def test_a_range_that_is_no_multiple_of_its_step_ends_before() -> None:
    given = {"low": 1, "high": 10, "step": 4}

    assert optunas_own.json_to_distribution(
        Range("IntDistribution", given).as_json()
    ) == optunas_own.IntDistribution(1, 9, step=4)


def test_a_grid_that_spans_decades_is_logarithmic() -> None:
    _, _, experiment = running.prepare(Order(small_grid.SMALL, digits()), None)
    narrow = replace(experiment, cells=({"lambda": 2e-4}, {"lambda": 3e-4}))

    (wide,) = parameters.ranges(experiment).values()
    (near,) = parameters.ranges(narrow).values()

    assert optunas_own.json_to_distribution(wide.as_json()).log  # type: ignore[attr-defined]
    assert not optunas_own.json_to_distribution(near.as_json()).log  # type: ignore[attr-defined]


def test_nobody_needs_optuna_to_train_a_grid() -> None:
    program = (
        "import sys, hpo.workers.worker, hpo.mirror.trials, hpo.mirror.parameters as p; "
        "p.Range('FloatDistribution', {'low': 1, 'high': 2, 'log': False}).as_json(); "
        "sys.exit('optuna' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
