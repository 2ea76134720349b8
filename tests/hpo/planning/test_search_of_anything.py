"""A search over everything of a recipe: each cell is trained as it says, in whatever order."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from hpo.commands.doctor import examine
from hpo.database import decisions, outcomes
from hpo.database.storage import Storage
from hpo.definition.grids import Best
from hpo.definition.study import StudyDefinition
from hpo.experiment.records import Outcome
from hpo.held_out.looking import final_network
from hpo.planning import parents
from hpo.search import generations
from hpo.training import trainer
from hpo.views import drawing
from tests.hpo.search.anything import ANYTHING, NUMBERS
from tests.hpo.small_search import RunSearch, Watcher, exported_search, run

SCRIPT = Path(sys.executable).with_name("hpo")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    with Storage(f"sqlite:///{tmp_path_factory.mktemp('calm')}/hpo.db") as storage:
        run(storage, ANYTHING)
        return exported_search(storage)


def test_each_cell_is_trained_by_its_own_recipe(storage: Storage, run_search: RunSearch) -> None:
    study = run_search(ANYTHING).study
    experiment = study.experiment
    results = storage.read(lambda c: outcomes.results_of(c, study.uuid))
    kinds = {experiment.recipe(cell).alike[2:] for cell in range(len(experiment.cells))}
    assert len(kinds) > 3
    for result in results:
        recipe, own = experiment.recipe(result.slot.cell), experiment.cells[result.slot.cell]
        assert recipe.n_s == own["n_s_epochs"] * (1200 // own["batch_size"])
        assert recipe.eta_min == own["eta_min_share"] * own["eta_max"]
        if result.outcome == Outcome.COMPLETE:
            assert result.cycles == own["n_cycles"]
            assert result.n_updates == 2 * recipe.n_s * own["n_cycles"]
    assert sum(r.n_updates for r in results) == generations.spent(experiment, results) <= 4000


def test_the_networks_of_the_best_cell_have_its_width(
    storage: Storage, run_search: RunSearch, tmp_path: Path
) -> None:
    study = run_search(ANYTHING).study
    best = storage.read(lambda c: parents.finished_best(c, study.stored)).slot
    network = storage.read(lambda c: final_network(c, study.stored, best))
    assert network.w1.shape[-1] == study.experiment.cells[best.cell]["hidden"]
    written = storage.read(lambda c: drawing.of_study(c, study.stored, tmp_path))
    assert {path.name for path in written} >= {"parameters.png", "updates.png"}


def test_cells_at_their_end_are_compared_and_complete(
    storage: Storage, run_search: RunSearch
) -> None:
    study = run_search(ANYTHING).study
    experiment = study.experiment
    tables = storage.read(lambda c: decisions.accuracies(c, study.uuid))
    known = storage.read(lambda c: decisions.decided(c, study.uuid))
    found = {r.slot.cell: r for r in storage.read(lambda c: outcomes.results_of(c, study.uuid))}
    assert tables
    for rung, table in tables.items():
        cycle = rung % experiment.most_cycles
        last = sorted(v or 0 for v in table.values())[-generations.n_kept(len(table), 2)]
        assert all((table[cell] or 0) >= last for cell in known[rung])
        for cell in table:
            is_at_its_end = experiment.recipe(cell).n_cycles == cycle
            assert experiment.recipe(cell).n_cycles >= cycle
            if is_at_its_end:
                assert found[cell].outcome == Outcome.COMPLETE
            elif cell not in known[rung]:
                assert (found[cell].outcome, found[cell].cycles) == (Outcome.PRUNED, cycle)


@pytest.mark.parametrize(
    "stop_after", [40, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 150))]
)
def test_an_interrupted_search_of_anything_ends_with_the_same_bits(
    storage: Storage, run_search: RunSearch, undisturbed: str, stop_after: int
) -> None:
    run_search(ANYTHING, Watcher(stop_after=stop_after))
    run_search(ANYTHING)
    assert exported_search(storage) == undisturbed


@pytest.mark.long
def test_one_network_at_a_time_gives_the_same_bits(
    storage: Storage, run_search: RunSearch, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "WIDTH", 1)
    run_search(ANYTHING)
    assert exported_search(storage) == undisturbed


@pytest.mark.long
def test_final_takes_over_everything(storage: Storage, run_search: RunSearch) -> None:
    parent = run_search(ANYTHING).study
    best = storage.read(lambda c: parents.finished_best(c, parent.stored)).slot.cell
    final = StudyDefinition(name="final", parent="mine", grid=Best(), n_s=500, inherits_recipe=True)

    derived = run_search(final).study.experiment

    assert derived.recipe(0) == parent.experiment.recipe(best)
    run_search(final)  # goes on with what is stored


@pytest.mark.long
def test_optuna_shows_every_parameter(storage: Storage, run_search: RunSearch) -> None:
    study = run_search(NUMBERS).study
    shown = optuna.load_study(study_name="mine-digits", storage=storage.optuna).trials
    for trial in shown:
        assert trial.params == study.experiment.cells[trial.user_attrs["cell"]]
    hidden = shown[0].distributions["hidden"]
    assert hidden == optuna.distributions.IntDistribution(4, 64, log=True)
    assert [f.text for f in examine(storage.url) if f.is_wrong] == []


@pytest.mark.parametrize(
    "sampler",
    ["curves", "tpe", *(pytest.param(s, marks=pytest.mark.long) for s in ("qmc", "grid", "cmaes"))],
)
def test_each_sampler_proposes_numbers_of_every_kind(
    storage: Storage, run_search: RunSearch, sampler: str
) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes", reason="cmaes is not installed")
    space = replace(NUMBERS.space, sampler=sampler, width=4, budget=2000)
    outcome = run_search(replace(NUMBERS, space=space))
    dimensions = space.dimensions(12)
    assert outcome.after.is_complete
    for cell in outcome.study.experiment.cells:
        assert all(dimensions[name].has(value) for name, value in cell.items())


STUDY = """
from hpo import Real, Space, StudyDefinition, Whole, WholeEpochs

STUDY = StudyDefinition(
    name="anything",
    space=Space(
        lambda_=Real(1e-4, 1e-2, logarithmic=True),
        n_s=WholeEpochs(2, 6),
        hidden=Whole(8, 64, logarithmic=True),
        batch_size=(50, 100),
        n_cycles=Whole(1, 3),
        eta_min=Real(0.001, 0.5, logarithmic=True),
        flip_probability=Real(0.0, 0.5),
        budget=12_000,
    ),
)
"""


@pytest.mark.long
@pytest.mark.sqlite_first
@pytest.mark.parametrize("n_workers", [2, 4])
def test_workers_and_kills_change_no_byte(
    workplace: Path, url: str, process: Callable[..., Any], n_workers: int
) -> None:
    (workplace / "anything.py").write_text(STUDY)
    asked = ("run", "anything.py", "--data", "digits")
    assert process(*asked, "--workers", "1").status == 0
    wanted = process("export", "anything-digits").out
    many = (*asked, "--workers", str(n_workers), "--storage", url)
    for _ in range(2):
        with subprocess.Popen([SCRIPT, *many], cwd=workplace, stderr=subprocess.DEVNULL) as killed:
            time.sleep(3)
            killed.kill()

    assert process(*many).status == 0

    assert process("export", "anything-digits", "--storage", url).out == wanted
    assert re.search(r'"hidden": \d+', wanted)
