"""A derived study: from which cell of its parent, and when."""

import dataclasses

import pytest
import sqlalchemy as sa

from hpo.database import rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import AroundBest, Best
from hpo.definition.study import StudyDefinition
from hpo.errors import ParentUnfinished
from hpo.experiment.records import Slot
from hpo.mirror import deleting
from tests.hpo.small_grid import SMALL, Once, RunGrid
from tests.hpo.small_search import RunSearch, Watcher

FINAL = StudyDefinition(
    name="final", parent="mine", grid=Best(), n_s=500, n_cycles=3, batch_size=100,
    inherits_recipe=True,
)  # fmt: skip


def test_a_derived_study_goes_on_when_its_parent_is_gone(
    storage: Storage, run_search: RunSearch
) -> None:
    run_search()
    before = run_search(FINAL).study.experiment
    deleting.delete(storage, "mine-digits")

    assert run_search(FINAL).study.experiment == before


@pytest.mark.long
def test_any_cell_may_be_the_parent(run_search: RunSearch) -> None:
    parent = run_search().study.experiment

    derived = run_search(FINAL, cell=1).study.experiment

    assert derived.lambdas == (parent.lambdas[1],)
    assert derived.recipe(0).alike == parent.recipe(1).alike
    assert derived.recipe(0).eta_max == parent.recipe(1).eta_max


def test_an_unfinished_search_is_no_parent(run_search: RunSearch) -> None:
    run_search(watcher=Watcher(1))

    with pytest.raises(ParentUnfinished, match="its budget is not spent yet"):
        run_search(FINAL)


def test_a_derived_study_needs_a_finished_parent(run_grid: RunGrid) -> None:
    child = dataclasses.replace(SMALL, name="child", parent="small", grid=AroundBest(n=3))
    with pytest.raises(ParentUnfinished, match="needs the finished study 'small-digits'"):
        run_grid(child)
    run_grid(watcher=Once(stop_after=30))
    with pytest.raises(
        ParentUnfinished, match="4 of its 4 cells are missing. Run `hpo run small --data digits`"
    ):
        run_grid(child)


def test_a_derived_study_stays_with_the_cell_it_was_derived_from(
    storage: Storage, run_grid: RunGrid
) -> None:
    parent = run_grid().study
    child = dataclasses.replace(SMALL, name="child", parent="small", grid=Best())
    chosen = run_grid(child).study.experiment.parent
    assert chosen is not None

    def crown_another(connection: sa.Connection) -> None:
        other = (chosen.cell + 1) % 4
        table = tables.results
        at = rows.at(table, parent.uuid, Slot(other, 0))
        connection.execute(table.update().where(at).values(value=1.0))

    storage.write(crown_another)

    assert run_grid(child).study.experiment.parent == chosen
