"""What is settled before training: the recipe of a derived study, and what cannot be searched."""

from dataclasses import replace

import pytest

from hpo.database.checkpoints import experiment_hash
from hpo.database.storage import Storage
from hpo.definition import lookup
from hpo.definition.grids import Best, Values
from hpo.definition.ranges import Real
from hpo.definition.study import Epochs, StudyDefinition
from hpo.errors import InvalidDefinition
from hpo.experiment.resolution import check_budget, resolve
from hpo.planning import parents
from tests.hpo.small_search import DATA, GRID, HALVED, JOINT, SPACE, RunSearch

FINAL = StudyDefinition(
    name="final", parent="mine", grid=Best(), n_s=500, n_cycles=3, batch_size=100,
    inherits_recipe=True,
)  # fmt: skip


@pytest.mark.long
def test_a_derived_study_has_the_recipe_of_its_parents_cell(
    storage: Storage, run_search: RunSearch
) -> None:
    parent = run_search().study
    best = storage.write(lambda c: parents.finished_best(c, parent.stored)).slot.cell
    recipe = parent.experiment.recipe(best)

    derived = run_search(FINAL).study.experiment

    assert derived.lambdas == (recipe.lambda_,)
    assert derived.recipe(0) == recipe
    assert derived.definition.n_cycles == JOINT.n_cycles
    run_search(FINAL)  # goes on with what is stored


def test_a_derived_study_takes_over_the_kind_of_network(run_search: RunSearch) -> None:
    run_search(replace(GRID, hidden=20, loss="binary-cross-entropy", batch_size=50, n_s=30))

    derived = run_search(replace(FINAL, parent="coarse")).study.experiment

    definition = derived.definition
    assert (definition.hidden, definition.loss, definition.batch_size) == (
        20, "binary-cross-entropy", 50
    )  # fmt: skip
    assert derived.n_s == 30


def test_a_number_of_updates_is_taken_over_as_it_is(run_search: RunSearch) -> None:
    run_search(replace(GRID, n_s=25))

    derived = run_search(replace(FINAL, parent="coarse")).study.experiment

    assert derived.n_s == 25


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"protocol": "notebook"}, "which the notebook did not do"),
        ({"grid": Values((0.1,))}, "needs a grid or a space, and not both"),
        ({"space": None}, "needs a grid or a space, and not both"),
        ({"space": "joint"}, r"must be a hpo\.Space; got 'joint'"),
        ({"eta_min": 0.1}, "0 <= eta_min <= eta_max"),
        ({"evaluates_test": True}, "cannot look at the test images"),
    ],
)
def test_a_definition_that_cannot_be_searched_is_refused(
    changes: dict[str, object], told: str
) -> None:
    with pytest.raises(InvalidDefinition, match=told):
        replace(JOINT, **changes)  # type: ignore[arg-type]


def test_a_budget_that_pays_for_no_cell_is_refused() -> None:
    with pytest.raises(InvalidDefinition, match="one cell may need 144, and 140 of the budget"):
        check_budget(resolve(JOINT, DATA), replace(SPACE, budget=200))


def test_rates_that_are_too_high_for_the_penalty_are_refused() -> None:
    space = replace(SPACE, lambda_=Real(0.1, 4.0))
    with pytest.raises(InvalidDefinition, match="keep 1 - 2 eta lambda above 0"):
        resolve(replace(JOINT, space=space), DATA)


@pytest.mark.parametrize(
    ("definition", "known"),
    [
        (JOINT, "77212f9b0c54ce7a"),
        (HALVED, "066871e45d753287"),
        (GRID, "20abfb0c69f3b3f5"),
        (lookup.definition("joint"), "09140aa7bcd3d12f"),
        (lookup.definition("coarse"), "b10e831140f3f104"),
    ],
)
def test_a_study_is_identified_as_it_was_before_more_could_be_searched(
    definition: StudyDefinition, known: str
) -> None:
    if definition.space is not None:  # what was the default then
        budget = 300_000 if definition.space.budget_epochs else None
        definition = definition.changed(sampler="tpe", budget=budget, n_validation=5_000)
    if isinstance(definition.n_s, Epochs):  # nor did small data have more
        definition = replace(definition, n_s=Epochs(2))

    assert experiment_hash(resolve(definition, DATA)).startswith(known)


def test_small_data_have_enough_updates_in_half_a_cycle_for_a_curve() -> None:
    coarse = lookup.definition("coarse")
    large = replace(DATA, n_training=45_000)

    assert (resolve(coarse, DATA).n_s, resolve(coarse, large).n_s) == (240, 900)


def test_a_stored_study_of_small_data_keeps_what_it_had() -> None:
    coarse = lookup.definition("coarse")
    stored = resolve(replace(coarse, n_s=Epochs(2)), DATA)

    assert resolve(coarse, DATA, stored=stored) == stored


def test_a_budget_in_epochs_fits_the_data() -> None:
    joint = lookup.definition("joint")

    def budget(n_training: int) -> int:
        space = resolve(joint, replace(DATA, n_training=n_training)).definition.space
        assert space is not None
        assert space.budget_epochs is None
        return space.budget

    assert [budget(n) for n in (45_000, 1200, 1299, 200)] == [300_000, 8000, 8000, 1333]
