"""A search that cuts at the ends of cycles: each slot once, the same bits whatever interrupts it."""

import itertools
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from hpo.commands.doctor import examine
from hpo.database import decisions, outcomes
from hpo.database.storage import Storage
from hpo.experiment.records import Outcome
from hpo.judging import ranking
from hpo.search import generations
from hpo.training import trainer
from tests.hpo.small_search import HALVED, RunSearch, Watcher, exported_search

QUICK = replace(HALVED, space=replace(HALVED.space, sampler="random", budget=4000))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.hpo.small_search import run

    with Storage(f"sqlite:///{tmp_path_factory.mktemp('calm')}/hpo.db") as storage:
        run(storage, HALVED)
        return exported_search(storage)


def test_of_each_generation_half_go_on_after_each_cycle(
    storage: Storage, run_search: RunSearch
) -> None:
    study = run_search(HALVED).study
    experiment = study.experiment
    found = {
        r.slot.cell: r
        for r in storage.read(lambda c: outcomes.results_of(c, study.uuid))
        if r.slot.replicate == 0
    }
    assert sorted(found) == list(range(len(experiment.cells)))
    for cells in experiment.generations:
        ended = [found[cell].cycles for cell in cells]
        at_rungs = [sum(cycles > cycle for cycles in ended) for cycle in range(3)]
        for n, n_on in itertools.pairwise(at_rungs):
            assert n_on >= generations.n_kept(n, 2)  # more where some tie
        for cell in cells:
            is_whole = found[cell].cycles == 3
            assert (found[cell].outcome == Outcome.COMPLETE) == is_whole
            length = 2 * experiment.recipe(cell).n_s
            assert found[cell].n_updates == found[cell].cycles * length
    used = sum(r.n_updates for r in storage.read(lambda c: outcomes.results_of(c, study.uuid)))
    assert 0.95 * 6000 < used <= 6000


def test_the_best_of_a_rung_go_on_though_their_cycles_have_other_lengths(
    storage: Storage, run_search: RunSearch
) -> None:
    study = run_search(HALVED).study
    tables = storage.read(lambda c: decisions.accuracies(c, study.uuid))
    known = storage.read(lambda c: decisions.decided(c, study.uuid))
    assert len(tables) == 2 * len(study.experiment.generations)
    for rung, table in tables.items():
        worst = min(table[cell] for cell in known[rung])
        assert all(table[cell] <= worst for cell in table if cell not in known[rung])
        n = generations.n_kept(len(table), 2)
        assert {table[cell] for cell in sorted(known[rung], key=lambda c: -table[c])[n:]} <= {worst}


@pytest.mark.parametrize(
    "stop_after", [60, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 25, 130, 260))]
)
def test_an_interrupted_search_that_cuts_ends_with_the_same_bits(
    storage: Storage, run_search: RunSearch, undisturbed: str, stop_after: int
) -> None:
    run_search(HALVED, Watcher(stop_after=stop_after))
    run_search(HALVED)
    assert exported_search(storage) == undisturbed


def test_one_network_at_a_time_gives_the_same_bits(
    storage: Storage,
    run_search: RunSearch,
    undisturbed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer, "WIDTH", 1)
    run_search(HALVED)
    assert exported_search(storage) == undisturbed


def test_optuna_shows_what_was_cut_and_nothing_is_wrong(
    storage: Storage, run_search: RunSearch
) -> None:
    study = run_search(QUICK).study
    results = storage.read(lambda c: outcomes.results_of(c, study.uuid))
    shown = optuna.load_study(study_name="mine-digits", storage=storage.optuna).trials
    by_cell = {trial.user_attrs["cell"]: trial for trial in shown}
    compared = ranking.cell_means(
        results, study.experiment
    )  # once finalists have raced, them alone
    for result in results:
        trial = by_cell[result.slot.cell]
        is_whole = result.outcome == Outcome.COMPLETE and result.slot.cell in compared
        assert trial.state is (TrialState.COMPLETE if is_whole else TrialState.PRUNED)
        assert sorted(trial.intermediate_values) == list(range(1, result.cycles + 1))
    assert [f.text for f in examine(storage.url) if f.is_wrong] == []


@pytest.mark.long
def test_more_replicates_are_for_the_best_few_cells(
    storage: Storage, run_search: RunSearch
) -> None:
    definition = replace(QUICK, space=replace(QUICK.space, finalists=0))
    first = run_search(definition).study
    before = storage.read(lambda c: outcomes.results_of(c, first.uuid))
    grown = run_search(replace(definition, replicates=2))
    after = storage.read(lambda c: outcomes.results_of(c, first.uuid))
    whole = [r for r in before if r.outcome == Outcome.COMPLETE]
    best = sorted(whole, key=lambda r: (-r.value, r.slot.cell))[:4]
    assert grown.after.is_complete
    later = {r.slot.cell for r in after if r.slot.replicate == 1}
    assert later == {r.slot.cell for r in best}
    assert len(whole) > 4
    assert [f.text for f in examine(storage.url) if f.is_wrong] == []


@pytest.mark.parametrize(
    "pruner",
    [
        "hyperband",
        *(
            pytest.param(p, marks=pytest.mark.long)
            for p in ("median:n_startup_trials=2", "patient")
        ),
    ],
)
def test_pruners_of_optuna_cut_a_search_too(
    storage: Storage, run_search: RunSearch, pruner: str
) -> None:
    outcome = run_search(replace(QUICK, pruner=pruner))
    study = outcome.study
    results = storage.read(lambda c: outcomes.results_of(c, study.uuid))
    assert outcome.after.is_complete
    assert generations.spent(study.experiment, results) <= 4000
    assert {r.outcome for r in results} <= {Outcome.COMPLETE, Outcome.PRUNED}
    assert [f.text for f in examine(storage.url) if f.is_wrong] == []


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["curves", "random", "qmc", "tpe", "grid", "cmaes"])
def test_each_sampler_searches_with_cuts(
    storage: Storage, run_search: RunSearch, sampler: str
) -> None:
    lists = {}
    if sampler == "cmaes":
        pytest.importorskip("cmaes", reason="cmaes is not installed")
        lists = {"normalisation": (), "flip_probability": ()}
    space = replace(HALVED.space, sampler=sampler, **lists)
    outcome = run_search(replace(HALVED, space=space))
    assert outcome.after.is_complete
