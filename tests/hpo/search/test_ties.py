"""No cell is cut that ties with one that goes on: in a grid never, in a search while the budget pays."""

import itertools
from dataclasses import replace

import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database import outcomes, rows
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.ranges import Real
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Result
from hpo.search import ties
from hpo.search.generations import n_kept, spent
from hpo.training.progress import Silent
from model.data import digits

#: Lambdas that make no difference, so that all cells tie at every cycle.
ALIKE = StudyDefinition(
    name="alike",
    grid=Values((0.0, 1e-13, 2e-13, 3e-13)),
    n_s=2,
    n_cycles=2,
    pruner="halving",
)
SEARCH = replace(
    ALIKE,
    name="search",
    grid=None,
    space=Space(lambda_=Real(1e-14, 1e-13), sampler="random", width=4, budget=50),
)


def run(
    storage: Storage, definition: StudyDefinition, *, as_before: bool = False
) -> tuple[Experiment, list[Result]]:
    """Run a study, as one that was stored before if so."""
    order = Order(definition, digits())
    study, _ = running.submit(order, storage)
    if as_before:
        told = replace(study.experiment, ties_go_on=False)
        storage.write(lambda c: rows.set_experiment(c, study.uuid, told))
        assert "ties_go_on" not in told.to_json()
    done = running.run(order, storage, Silent(), lambda: False).study
    return done.experiment, storage.read(lambda c: outcomes.results_of(c, done.uuid))


@pytest.fixture
def storage(tmp_path: object) -> Storage:
    return Storage(f"sqlite:///{tmp_path}/hpo.db")


def test_who_ties_with_the_last_that_goes_on_is_found() -> None:
    table = {0: 0.5, 1: 0.4, 2: 0.4, 3: 0.3, 4: None, 5: 0.4 + 1e-15}

    assert ties.tied(table, (0, 1)) == (2, 5)
    assert ties.tied(table, (0,)) == ()
    assert ties.tied({0: None}, ()) == ()


def test_all_cells_of_a_grid_that_tie_go_on(storage: Storage) -> None:
    _, results = run(storage, ALIKE)

    assert {result.outcome for result in results} == {Outcome.COMPLETE}


def test_a_study_that_was_stored_before_keeps_its_rule(storage: Storage) -> None:
    _, results = run(storage, ALIKE, as_before=True)

    assert [r.slot.cell for r in results if r.outcome == Outcome.COMPLETE] == [0, 1]


@pytest.mark.parametrize("budget", [24, 28, 31, 32, 50, 100])
def test_ties_of_a_search_go_on_as_long_as_its_budget_pays(storage: Storage, budget: int) -> None:
    assert SEARCH.space is not None
    definition = replace(SEARCH, space=replace(SEARCH.space, budget=budget))

    experiment, results = run(storage, definition)

    assert spent(experiment, results) <= budget
    first = [r.outcome for r in results if r.slot.cell < 4]
    n_more = {24: 0, 28: 1, 31: 1}.get(budget, 2)  # two of four go on without ties, 4 updates each
    assert first.count(Outcome.COMPLETE) == 2 + n_more


def test_it_is_never_more_than_what_is_left() -> None:
    """Whatever cells were longer, and whoever is cut later."""
    cells = tuple({"lambda": 1e-3, "n_s": n} for n in (12, 24, 12, 36, 24, 12))
    space = Space(lambda_=Real(1e-14, 1e-13), width=6, budget=10_000)
    for budget, chosen in itertools.product(range(400, 900, 37), ((0, 1, 2), (3, 4, 5))):
        experiment = resolved(replace(SEARCH, n_cycles=3, space=replace(space, budget=budget)))
        experiment = replace(experiment, cells=cells)
        more = tuple(cell for cell in range(6) if cell not in chosen)

        found = ties.paid_for(experiment, [], [range(6)], chosen, more)

        going = [*chosen, *found]
        lengths = [2 * experiment.recipe(cell).n_s for cell in going]
        last = sorted(lengths, reverse=True)[: n_kept(len(going), 2)]
        cost = sum(2 * experiment.recipe(cell).n_s for cell in range(6))
        assert not found or cost + sum(lengths) + sum(last) <= budget


def resolved(definition: StudyDefinition) -> Experiment:
    from hpo.experiment.resolution import resolve
    from hpo.training.trainer import facts

    return resolve(definition, facts(digits(), definition))
