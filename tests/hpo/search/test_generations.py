"""The search of a space: generations within a budget, a race of the best, the same whatever happens."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.commands import joining, running
from hpo.commands.request import Order
from hpo.database import outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Best, Values
from hpo.definition.ranges import Real, WholeEpochs
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.errors import (
    DefinitionChanged,
    InvalidDefinition,
    MissingPackage,
    ParentUnfinished,
    StudyDeleted,
)
from hpo.experiment.experiment import DataFacts, Experiment
from hpo.experiment.records import Result, Slot
from hpo.experiment.resolution import check_budget, resolve
from hpo.judging import ranking
from hpo.machine.process import this_worker
from hpo.mirror import deleting, study
from hpo.mirror.study import OpenStudy
from hpo.planning import parents
from hpo.planning.plan import plan
from hpo.search import generations
from hpo.training import trainer
from hpo.training.phases import Phases
from hpo.training.trainer import Trainer
from hpo.views.export import to_csv, to_json
from hpo.views.story import Story
from hpo.workers import worker
from hpo.workers.claims import claim, resume
from hpo.workers.grid_sampler import GridSampler
from model.data import digits

SPACE = Space(
    lambda_=Real(1e-4, 1e-1, logarithmic=True),
    eta_max=Real(0.05, 0.3),
    n_s=WholeEpochs(1, 3),
    normalisation=("image", "feature"),
    flip_probability=(0.0, 0.5),
    budget=3000,
    width=4,
    finalists=3,
)
JOINT = StudyDefinition(name="mine", space=SPACE, n_cycles=2, batch_size=100)
DATA = DataFacts(
    name="digits",
    fingerprint="a" * 64,
    n_training=1200,
    n_validation=300,
    d=64,
    n_classes=10,
    image_shape=(8, 8),
)


class Watcher:
    """Watches, and stops the training after so many log points."""

    def __init__(self, stop_after: float = math.inf) -> None:
        self.n_points = 0
        self.stop_after = stop_after
        self.stacks: list[list[int]] = []
        self.ended_slots: list[Slot] = []

    def stop(self) -> bool:
        return self.n_points >= self.stop_after

    def began(self, title: str, experiment: Experiment, n_updates: int) -> None: ...

    def grew(self, experiment: Experiment) -> None: ...

    def claimed(self, slots: Sequence[Slot], n_updates: int) -> None:
        self.stacks.append([slot.cell for slot in slots])

    def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
        self.n_points += 1

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        self.ended_slots.append(slot)

    def spent(self, phases: Phases) -> None: ...

    def warn(self, text: str) -> None:
        raise AssertionError(text)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(f"sqlite:///{tmp_path / 'hpo.db'}")
    yield opened
    opened.close()


Run = Callable[..., running.Outcome]


@pytest.fixture
def run(storage: Storage) -> Run:
    def run_small(
        definition: StudyDefinition = JOINT, watcher: Watcher | None = None, **options: str
    ) -> running.Outcome:
        watcher = watcher or Watcher()
        return running.run(Order(definition, digits()), storage, watcher, watcher.stop, **options)

    return run_small


def exported(storage: Storage, name: str = "mine-digits") -> str:
    def read(connection: object) -> str:
        stored = study.stored(connection, name)
        return to_json(connection, stored) + to_csv(connection, stored)

    return storage.write(read)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The export of a search that ran through."""
    opened = Storage(f"sqlite:///{tmp_path_factory.mktemp('quiet') / 'hpo.db'}")
    watcher = Watcher()
    running.run(Order(JOINT, digits()), opened, watcher, watcher.stop)
    found = exported(opened)
    opened.close()
    return found


def results(experiment: Experiment, value: Callable[[Slot], float | None]) -> list[Result]:
    """Return a result for every slot; None is a divergence."""
    found = []
    for cell in range(len(experiment.cells)):
        for replicate in range(experiment.replicates_of(cell)):
            accuracy = value(Slot(cell, replicate))
            outcome = "diverged" if accuracy is None else "complete"
            found.append(Result(Slot(cell, replicate), 0, outcome, accuracy, 2, 100))
    return found


def searched(
    space: Space,
    value: Callable[[Slot], float | None],
    arrange: Callable[[list[Result]], list[Result]] = lambda found: found,
    replicates: int = 1,
) -> list[Experiment]:
    """Return the experiment after each step of a search whose results are made up."""
    definition = replace(JOINT, space=space, replicates=replicates)
    steps = [resolve(definition, DATA)]
    while steps[-1].search is not None and not steps[-1].search.is_over:
        steps.append(generations.grown(steps[-1], arrange(results(steps[-1], value))))
    return steps


@cache
def accuracy(slot: Slot) -> float | None:
    """Return some accuracy of a slot, the same every time."""
    return None if slot.cell % 7 == 3 else ((slot.cell * 37 + slot.replicate * 11) % 50) / 50


QUICK = replace(SPACE, sampler="random")


@given(st.integers(600, 5000), st.integers(1, 9), st.integers(0, 5), st.integers(1, 2))
def test_a_search_never_plans_more_than_its_budget(
    budget: int, width: int, finalists: int, replicates: int
) -> None:
    space = replace(QUICK, budget=budget, width=width, finalists=finalists)

    *_, last = searched(space, accuracy, replicates=replicates)

    assert last.cells
    assert generations.spent(last) <= budget
    assert last.search is not None
    if not last.search.finalists:  # then what is left pays for no other cell of middle length
        assert generations.spent(last) > space.for_search - 144 * replicates


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "grid"])
def test_every_generation_has_its_width_and_keeps_those_before(sampler: str) -> None:
    steps = searched(replace(SPACE, sampler=sampler), accuracy)

    sizes = [len(step.cells) for step in steps]
    assert [b - a for a, b in pairwise(sizes)][:-2] == [4] * (len(sizes) - 3)
    for before, after in pairwise(steps):
        assert after.cells[: len(before.cells)] == before.cells


@given(st.randoms(use_true_random=False))
def test_the_order_of_results_has_no_say(rng: object) -> None:
    def shuffled(found: list[Result]) -> list[Result]:
        return rng.sample(found, len(found))  # type: ignore[attr-defined]

    assert searched(QUICK, accuracy, shuffled)[-1] == searched(QUICK, accuracy)[-1]


def test_the_best_cells_become_finalists_and_get_the_rest_of_the_budget() -> None:
    *_, last = searched(QUICK, accuracy)

    assert last.search is not None
    best = sorted(
        (cell for cell in range(len(last.cells)) if accuracy(Slot(cell, 0)) is not None),
        key=lambda cell: (-(accuracy(Slot(cell, 0)) or 0), cell),
    )[:3]
    assert last.search.finalists == tuple(sorted(best))
    a_round = sum(last.recipe(cell).n_updates for cell in best)
    assert generations.spent(last) > QUICK.budget - a_round
    assert last.replicates == last.search.replicates > 1
    assert [last.replicates_of(cell) for cell in best] == [last.replicates] * 3
    assert sum(last.replicates_of(cell) for cell in range(len(last.cells))) == last.n_slots


def test_of_equal_cells_the_first_become_finalists() -> None:
    *_, last = searched(QUICK, lambda slot: 0.5)

    assert last.search is not None
    assert last.search.finalists == (0, 1, 2)


def test_a_finalist_that_diverges_with_another_seed_is_out() -> None:
    *_, last = searched(QUICK, accuracy)
    assert last.search is not None
    first, *others = last.search.finalists

    found = results(last, lambda slot: None if slot == Slot(first, 1) else accuracy(slot))
    assert ranking.compared(found, last) == (others, last.replicates)
    late = [r for r in found if r.slot != Slot(others[0], last.replicates - 1)]
    assert ranking.compared(late, last) == (others, last.replicates - 1)  # as many as all have

    none_left = results(last, lambda slot: None if slot.replicate else accuracy(slot))
    cells, n_replicates = ranking.compared(none_left, last)
    assert n_replicates == 1
    assert not set(cells) & set(last.search.finalists)
    assert ranking.best_cell(none_left, last) in cells


def test_without_two_cells_that_ended_there_is_no_race() -> None:
    *_, last = searched(QUICK, lambda slot: 0.5 if slot.cell == 2 else None)

    assert last.search is not None
    assert last.search.finalists == ()
    assert last.replicates == 1


def test_a_search_counts_every_slot_once(storage: Storage, run: Run) -> None:
    outcome = run()

    experiment = outcome.study.experiment
    found = storage.write(lambda c: outcomes.results_of(c, outcome.study.uuid))
    wanted = [
        Slot(cell, replicate)
        for cell in range(len(experiment.cells))
        for replicate in range(experiment.replicates_of(cell))
    ]
    assert [result.slot for result in found] == wanted
    assert [r.n_updates for r in found] == [experiment.recipe(r.slot.cell).n_updates for r in found]
    assert {result.cycles for result in found} == {2}
    assert outcome.after.is_complete
    assert experiment.search is not None
    assert experiment.search.is_over


def test_optuna_shows_the_parameters_of_every_trial(storage: Storage, run: Run) -> None:
    experiment = run().study.experiment

    shown = optuna.load_study(study_name="mine-digits", storage=storage.optuna).trials

    assert len(shown) == experiment.n_slots
    for trial in shown:
        assert trial.params == experiment.cells[trial.user_attrs["cell"]]
        assert trial.state == optuna.trial.TrialState.COMPLETE
        assert list(trial.intermediate_values) == [1, 2]
    distributions = shown[0].distributions
    assert distributions["n_s"] == optuna.distributions.IntDistribution(12, 36, step=12)
    assert distributions["lambda"].log  # type: ignore[attr-defined]
    assert distributions["normalisation"] == optuna.distributions.CategoricalDistribution(
        ("image", "feature")
    )


def test_only_networks_that_see_the_same_inputs_share_a_stack(run: Run) -> None:
    watcher = Watcher()
    experiment = run(watcher=watcher).study.experiment

    assert max(map(len, watcher.stacks)) > 1
    for cells in watcher.stacks:
        assert len({experiment.recipe(cell).inputs for cell in cells}) == 1
    together = [
        cells
        for cells in watcher.stacks
        if len({experiment.recipe(cell).n_s for cell in cells}) > 1
    ]
    assert together  # other lambdas, rates and lengths do


def test_cells_that_share_no_stack_have_the_same_results(
    storage: Storage, run: Run, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "WIDTH", 1)
    run()

    assert exported(storage) == undisturbed


@pytest.mark.parametrize(
    "stop_after",
    [pytest.param(1, marks=pytest.mark.long), 90, pytest.param(333, marks=pytest.mark.long)],
)
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(
    storage: Storage, run: Run, undisturbed: str, stop_after: int
) -> None:
    first = run(watcher=Watcher(stop_after))
    assert not first.after.is_complete

    run()

    assert exported(storage) == undisturbed


@pytest.mark.long
def test_interrupting_again_and_again_changes_nothing(
    storage: Storage, run: Run, undisturbed: str
) -> None:
    n_runs = 0
    while not run(watcher=Watcher(100)).after.is_complete:
        n_runs += 1

    assert n_runs > 3
    assert exported(storage) == undisturbed


def test_a_sampler_of_another_name_is_another_study(run: Run) -> None:
    run(watcher=Watcher(1))

    with pytest.raises(DefinitionChanged, match="space sampler: stored tpe, asked for random"):
        run(replace(JOINT, space=replace(SPACE, sampler="random")))


@pytest.mark.long
def test_replicates_grow_when_the_search_is_over_and_not_before(storage: Storage, run: Run) -> None:
    run(watcher=Watcher(50))
    with pytest.raises(DefinitionChanged, match="replicates: stored 1, asked for 6"):
        run(replace(JOINT, replicates=6))
    before = run().study.experiment

    grown = run(replace(JOINT, replicates=6)).study

    after = grown.experiment
    assert after.cells == before.cells
    assert after.n_slots == 6 * len(after.cells)
    found = storage.write(lambda c: outcomes.results_of(c, grown.uuid))
    assert len(found) == after.n_slots


def opened(storage: Storage, name: str = "mine-digits") -> OpenStudy:
    found = study.find(storage, name)
    assert found is not None
    return found


def test_nothing_is_proposed_while_a_result_is_missing(storage: Storage) -> None:
    definition = replace(JOINT, space=QUICK)
    made, standing = running.submit(Order(definition, digits()), storage)
    assert standing.n_slots == 4

    plan(made)

    assert len(opened(storage).experiment.cells) == 4


def test_a_search_of_ones_own_objective_ends_with_the_budget(storage: Storage) -> None:
    definition = replace(JOINT, space=QUICK)
    made, _ = running.submit(Order(definition, digits()), storage)
    sampler = GridSampler(made)
    own = optuna.load_study(study_name="mine-digits", storage=storage.optuna, sampler=sampler)

    own.optimize(
        lambda trial: 1 - abs(math.log10(trial.suggest_float("lambda", 1e-4, 0.1, log=True)) + 2)
    )

    after = opened(storage).experiment
    assert after.search is not None
    assert after.search.is_over
    assert len(own.trials) == after.n_slots
    best = max(after.search.finalists, key=lambda cell: -abs(math.log10(after.lambdas[cell]) + 2))
    assert own.best_params == after.cells[best]


def test_a_cell_that_was_lost_at_its_end_takes_nothing_from_the_others(
    storage: Storage, undisturbed: str, run: Run
) -> None:
    running.submit(Order(JOINT, digits()), storage)
    made = opened(storage)
    held = claim(made, 16, this_worker())
    assert held is not None
    lengths = {cell: made.experiment.recipe(cell).n_updates for cell in held.attempts}
    lost = min(lengths, key=lambda cell: (lengths[cell], cell))
    slot = held.attempts[lost].slot
    take = (
        tables.attempts.update()
        .where(rows.at(tables.attempts, made.uuid, slot))
        .values(state="waiting", token=None)
    )
    storage.write(lambda connection: connection.execute(take))
    watcher, told = Watcher(), []
    watcher.warn = told.append  # type: ignore[method-assign]
    resume(made, held, watcher)

    one_trainer = Trainer(made.experiment, digits())
    worker._train(made, one_trainer, held, watcher, watcher.stop, Phases(0.0))

    (warning,) = told
    assert warning.startswith(f"Cells [{lost}] were given to another worker")
    assert {s.cell for s in watcher.ended_slots} == set(lengths) - {lost}
    run()
    assert exported(storage) == undisturbed


def test_a_search_that_is_deleted_while_it_runs_is_not_trained_again(
    storage: Storage, run: Run
) -> None:
    class Deleter(Watcher):
        def advanced(self, slot: Slot, n_updates: int, accuracy: float) -> None:
            super().advanced(slot, n_updates, accuracy)
            if self.n_points == 50:
                deleting.delete(storage, "mine-digits")

        def warn(self, text: str) -> None: ...

    with pytest.raises(StudyDeleted, match="'mine-digits' was deleted while"):
        run(watcher=Deleter())

    assert storage.write(lambda c: c.execute(tables.attempts.select()).all()) == []


def test_what_was_proposed_and_never_planned_is_found_by_a_worker(
    storage: Storage, undisturbed: str
) -> None:
    running.submit(Order(JOINT, digits()), storage)
    made = opened(storage)
    forget = tables.attempts.delete().where(tables.attempts.c.study == made.uuid)
    storage.write(lambda connection: connection.execute(forget))  # killed between two commits

    joining.join(storage, digits(), [], Story(), lambda: False, watch=False, grace=60)

    assert exported(storage) == undisturbed


def test_later_generations_share_stacks_after_an_interruption(run: Run) -> None:
    run(watcher=Watcher(70))
    watcher = Watcher()

    run(watcher=watcher)

    assert max(map(len, watcher.stacks)) > 1


def test_a_worker_goes_on_with_a_search_that_was_left_between_two_generations(
    storage: Storage, undisturbed: str
) -> None:
    running.submit(Order(JOINT, digits()), storage)
    made, watcher = opened(storage), Watcher()
    while held := claim(made, 16, this_worker()):
        resume(made, held, watcher)
        one_trainer = Trainer(made.experiment, digits())
        worker._train(made, one_trainer, held, watcher, watcher.stop, Phases(0.0))
    assert opened(storage).experiment == made.experiment  # nothing is running or waiting now

    joining.join(storage, digits(), [], Story(), lambda: False, watch=False, grace=60)

    assert exported(storage) == undisturbed


GRID = StudyDefinition(name="coarse", grid=Values((1e-3, 1e-2)), n_s=24, n_cycles=2, batch_size=100)


def test_a_search_begins_with_what_earlier_studies_know(storage: Storage, run: Run) -> None:
    coarse = run(GRID).study
    known = storage.write(lambda c: outcomes.results_of(c, coarse.uuid))
    definition = replace(JOINT, space=replace(SPACE, warm_start=("coarse", "fine")))

    told: list[str] = []
    name, _, experiment = running.prepare(Order(definition, digits()), storage, notify=told.append)

    assert told == ["The search knows 2 cells of coarse-digits."]
    assert experiment.search is not None
    common = {"eta_max": 0.1, "n_s": 24, "normalisation": "image", "flip_probability": 0.0}
    assert experiment.search.warm == tuple(
        ({"lambda": value} | common, round(result.value or 0, 12))
        for value, result in zip((1e-3, 1e-2), known, strict=True)
    )
    made = study.create(storage, name, experiment)
    deleting.delete(storage, "coarse-digits")
    assert opened(storage).experiment.search == made.experiment.search  # it never moves


@pytest.mark.parametrize(
    "other", [{"hidden": 20}, {"loss": "binary-cross-entropy"}, {"batch_size": 50, "n_s": 48}]
)
def test_other_networks_know_nothing(storage: Storage, run: Run, other: dict[str, object]) -> None:
    run(replace(GRID, **other))  # type: ignore[arg-type]
    definition = replace(JOINT, space=replace(SPACE, warm_start=("coarse",)))

    _, _, experiment = running.prepare(Order(definition, digits()), storage)

    assert experiment.search is not None
    assert experiment.search.warm == ()


def test_what_the_space_leaves_out_must_be_equal(storage: Storage, run: Run) -> None:
    run(GRID)
    space = replace(SPACE, warm_start=("coarse",), normalisation=(), eta_max=None)

    for eta_max, n_known in ((0.1, 2), (0.2, 0)):
        definition = replace(JOINT, name=f"at{eta_max:.0%}"[:-1], space=space, eta_max=eta_max)
        _, _, experiment = running.prepare(Order(definition, digits()), storage)
        assert experiment.search is not None
        assert len(experiment.search.warm) == n_known


def test_an_unfinished_study_knows_nothing(storage: Storage, run: Run) -> None:
    run(replace(GRID, grid=Values((1e-3, 1e-2, 1e-1))), watcher=Watcher(1))
    definition = replace(JOINT, space=replace(SPACE, warm_start=("coarse",)))

    _, _, experiment = running.prepare(Order(definition, digits()), storage)

    assert experiment.search is not None
    assert experiment.search.warm == ()


def test_other_images_know_nothing(storage: Storage, run: Run) -> None:
    watcher = Watcher()
    running.run(Order(GRID, digits().take(0, 1400)), storage, watcher, watcher.stop)
    definition = replace(JOINT, space=replace(SPACE, warm_start=("coarse",)))

    _, _, experiment = running.prepare(Order(definition, digits()), storage)

    assert experiment.search is not None
    assert experiment.search.warm == ()


FINAL = StudyDefinition(
    name="final", parent="mine", grid=Best(), n_s=500, n_cycles=3, batch_size=100,
    inherits_recipe=True,
)  # fmt: skip


@pytest.mark.long
def test_a_derived_study_has_the_recipe_of_its_parents_cell(storage: Storage, run: Run) -> None:
    parent = run().study
    best = storage.write(lambda c: parents.finished_best(c, parent.stored)).slot.cell
    recipe = parent.experiment.recipe(best)

    derived = run(FINAL).study.experiment

    assert derived.lambdas == (recipe.lambda_,)
    assert derived.recipe(0) == recipe
    assert derived.definition.n_cycles == JOINT.n_cycles
    run(FINAL)  # goes on with what is stored


def test_a_derived_study_goes_on_when_its_parent_is_gone(storage: Storage, run: Run) -> None:
    run()
    before = run(FINAL).study.experiment
    deleting.delete(storage, "mine-digits")

    assert run(FINAL).study.experiment == before


def test_a_derived_study_takes_over_the_kind_of_network(run: Run) -> None:
    run(replace(GRID, hidden=20, loss="binary-cross-entropy", batch_size=50, n_s=30))

    derived = run(replace(FINAL, parent="coarse")).study.experiment

    definition = derived.definition
    assert (definition.hidden, definition.loss, definition.batch_size) == (
        20, "binary-cross-entropy", 50
    )  # fmt: skip
    assert derived.n_s == 30


@pytest.mark.long
def test_any_cell_may_be_the_parent(run: Run) -> None:
    parent = run().study.experiment

    derived = run(FINAL, cell=1).study.experiment

    assert derived.lambdas == (parent.lambdas[1],)
    assert derived.recipe(0).inputs == parent.recipe(1).inputs
    assert derived.recipe(0).eta_max == parent.recipe(1).eta_max


def test_a_number_of_updates_is_taken_over_as_it_is(run: Run) -> None:
    run(replace(GRID, n_s=25))

    derived = run(replace(FINAL, parent="coarse")).study.experiment

    assert derived.n_s == 25


def test_an_unfinished_search_is_no_parent(run: Run) -> None:
    run(watcher=Watcher(1))

    with pytest.raises(ParentUnfinished, match="its budget is not spent yet"):
        run(FINAL)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pruner": "halving"}, "its pruner is none"),
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


def test_a_library_that_is_missing_is_named_before_anything_is_made(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    definition = replace(JOINT, space=replace(SPACE, sampler="gp"))

    with pytest.raises(MissingPackage, match=r"needs torch.*pip install torch"):
        running.submit(Order(definition, digits()), storage)

    assert study.names(storage) == []
