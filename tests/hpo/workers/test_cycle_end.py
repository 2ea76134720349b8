"""What is written at the end of a cycle: results, divergence, and the weights of the best."""

import dataclasses
import json

import sqlalchemy as sa
from optuna.trial import TrialState

from hpo.database import outcomes, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from tests.hpo.reading import exported
from tests.hpo.small_grid import SMALL, RunGrid, trials


def test_a_cell_that_diverges_is_counted_and_its_neighbours_go_on(
    storage: Storage, run_grid: RunGrid
) -> None:
    wild = dataclasses.replace(SMALL, name="wild", grid=Values((0.0,)), eta_max=1e15, n_s=15)
    outcome = run_grid(wild)

    (result,) = storage.write(lambda c: outcomes.results_of(c, outcome.study.uuid))
    assert (result.outcome, result.value) == ("diverged", None)
    (trial,) = trials(storage, "wild-digits")
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs["outcome"] == "diverged"
    assert run_grid(wild).before.n_counted == 1  # never tried again
    entry = json.loads(exported(storage, outcome.study))["trials"][0]
    assert entry["curve"]["validation"]["cost"][-1] is None


def test_only_the_best_cells_keep_their_weights(storage: Storage, run_grid: RunGrid) -> None:
    outcome = run_grid()

    results = storage.write(lambda c: outcomes.results_of(c, outcome.study.uuid))
    kept = storage.write(lambda c: c.execute(sa.select(tables.checkpoints.c.cell)).scalars().all())
    ranked = sorted(results, key=lambda r: (-(r.value or 0), r.slot.cell))
    assert sorted(kept) == sorted(r.slot.cell for r in ranked[:3])
