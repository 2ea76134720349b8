"""Optuna's own best trial of a finished study is one of our winner, with the mean of its cell."""

from dataclasses import replace

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from hpo.commands.doctor import examine
from hpo.database import optuna_tables as optunas
from hpo.database import outcomes
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.experiment.records import Outcome, Result, Slot
from hpo.judging import ranking
from hpo.mirror import conclusion
from hpo.mirror.states import TOLD
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from tests.hpo import small_grid, small_search
from tests.hpo.mirror.others import theirs
from tests.hpo.reading import exported

NAME = "small-digits"
CLOSE = Values(
    (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
)  # so alike that chance decides who has the best seed
SEVERAL = replace(small_grid.SMALL, grid=CLOSE, replicates=3, pruner="none")


def as_optuna_has_it(storage: Storage, name: str = NAME) -> optuna.Study:
    """The study as a script opens it that knows nothing of hpo."""
    return theirs(storage.url, name)


def results_of(storage: Storage, study: OpenStudy) -> list[Result]:
    return storage.read(lambda connection: outcomes.results_of(connection, study.uuid))


def says_our_winner(storage: Storage) -> FrozenTrial:
    """Check Optuna's best trial, and every value, against our ranking."""
    study = small_grid.opened(storage)
    results = results_of(storage, study)
    own = as_optuna_has_it(storage)
    best = own.best_trial
    means = ranking.cell_means(results, study.experiment)
    assert best.user_attrs["cell"] == ranking.best_cell(results, study.experiment)
    assert best.value == means[best.user_attrs["cell"]]
    complete = [trial for trial in own.trials if trial.state is TrialState.COMPLETE]
    assert len(complete) == len(results)
    for trial in complete:
        assert trial.value == pytest.approx(means[trial.user_attrs["cell"]], abs=1e-12)
    return best


def findings(storage: Storage, *, repair: bool = False) -> list[str]:
    return [f.text for f in examine(storage.url, repair=repair) if f.is_open or f.remedy]


def tell(storage: Storage, number: int, value: float) -> None:
    table, trials = optunas.values, optunas.trials
    this = trials.select().where(trials.c.number == number)
    storage.write(
        lambda c: c.execute(
            table.update()
            .where(table.c.trial_id == c.execute(this).one().trial_id)
            .values(value=value)
        )
    )


def test_the_best_trial_of_a_finished_study_is_of_the_cell_with_the_best_mean(
    storage: Storage,
) -> None:
    study = small_grid.run(storage, SEVERAL).study
    results = results_of(storage, study)
    lucky = ranking.best_result(results)
    assert lucky is not None
    assert lucky.slot.cell != ranking.best_cell(results, study.experiment)  # what this is for

    says_our_winner(storage)

    assert findings(storage) == []


def test_running_and_repairing_again_change_nothing(storage: Storage) -> None:
    study = small_grid.run(storage, SEVERAL).study
    before, text = as_optuna_has_it(storage).trials, exported(storage, study)

    small_grid.run(storage, SEVERAL)
    assert findings(storage, repair=True) == []

    assert as_optuna_has_it(storage).trials == before
    assert exported(storage, study) == text


def test_a_study_that_is_not_finished_has_the_networks_own_values(storage: Storage) -> None:
    small_grid.run(storage, SEVERAL, Recorder(stop_after=500))
    study = small_grid.opened(storage)
    own = {(r.slot.cell, r.slot.replicate): r.value for r in results_of(storage, study)}

    complete = [t for t in as_optuna_has_it(storage).trials if t.state is TrialState.COMPLETE]

    assert 0 < len(complete) < 18
    for trial in complete:
        assert trial.value == own[trial.user_attrs["cell"], trial.user_attrs["replicate"]]
    small_grid.run(storage, SEVERAL)
    says_our_winner(storage)


def test_a_study_that_grows_goes_on_from_its_own_values_and_ends_with_means_again(
    storage: Storage,
) -> None:
    small_grid.run(storage, SEVERAL)
    larger = replace(SEVERAL, replicates=5)

    small_grid.run(storage, larger, Recorder(stop_after=100))
    study = small_grid.opened(storage)
    own = {(r.slot.cell, r.slot.replicate): r.value for r in results_of(storage, study)}
    complete = [t for t in as_optuna_has_it(storage).trials if t.state is TrialState.COMPLETE]
    assert {t.value for t in complete} == set(own.values())
    assert not any(conclusion.MARK in t.user_attrs for t in complete)
    assert findings(storage) == []

    small_grid.run(storage, larger)
    says_our_winner(storage)
    assert findings(storage) == []
    assert not any(TOLD in trial.user_attrs for trial in as_optuna_has_it(storage).trials)


@pytest.mark.parametrize("repair", [True, False])
def test_a_value_that_others_told_is_found_and_set_aside(storage: Storage, repair: bool) -> None:
    small_grid.run(storage, SEVERAL)
    tell(storage, 3, 0.999)
    [found] = findings(storage)
    assert "1 trials have another state or value in Optuna than in our rows (value of 3)" in found

    if repair:
        examine(storage.url, repair=True)
    else:
        small_grid.run(storage, SEVERAL)

    says_our_winner(storage)
    assert as_optuna_has_it(storage).trials[3].user_attrs[TOLD] == "COMPLETE with 0.999"
    assert findings(storage) == []


def test_a_study_that_an_older_version_finished_is_no_fault_and_can_be_mended(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(conclusion, "has_means", lambda _: False)
        small_grid.run(storage, SEVERAL)
    [note] = [finding for finding in examine(storage.url) if finding.remedy]
    assert note.is_note
    assert "have their own accuracy in Optuna instead of the mean of their cell" in note.text

    examine(storage.url, repair=True)

    says_our_winner(storage)
    assert findings(storage) == []


def test_after_a_race_the_best_trial_is_of_a_finalist_whatever_others_had_with_fewer_seeds(
    storage: Storage,
) -> None:
    study = small_search.run(storage).study
    results = results_of(storage, study)
    experiment = small_grid.opened(storage, "mine-digits").experiment

    own = as_optuna_has_it(storage, "mine-digits")

    means = ranking.cell_means(results, experiment)
    best = own.best_trial
    assert best.user_attrs["cell"] == ranking.best_cell(results, experiment)
    assert best.value == means[best.user_attrs["cell"]]
    complete = {t.user_attrs["cell"] for t in own.trials if t.state is TrialState.COMPLETE}
    assert complete == set(means) < set(range(len(experiment.cells)))
    assert findings(storage) == []


@pytest.mark.long
def test_on_postgresql_too_a_study_says_means_again_after_it_has_grown(postgresql_url: str) -> None:
    with Storage(postgresql_url) as opened:
        small_grid.run(opened, SEVERAL)
        says_our_winner(opened)
        small_grid.run(opened, replace(SEVERAL, replicates=5))
        says_our_winner(opened)
        tell(opened, 3, 0.999)
        assert len(findings(opened)) == 1
        examine(opened.url, repair=True)
        says_our_winner(opened)
        assert findings(opened) == []


def made(values: dict[int, tuple[float | None, ...]]) -> list[Result]:
    return [
        Result(
            Slot(cell, replicate),
            0,
            Outcome.COMPLETE if value is not None else Outcome.PRUNED,
            value,
            2,
            80,
        )
        for cell, some in values.items()
        for replicate, value in enumerate(some)
    ]


def test_of_cells_with_equal_means_the_first_one_leads(storage: Storage) -> None:
    experiment = small_grid.created(storage, replace(small_grid.SMALL, replicates=2)).experiment
    results = made({0: (0.1, 0.2), 1: (0.5, 0.7), 2: (0.6, 0.6), 3: (0.7, 0.5)})

    ends = conclusion.concluded(results, experiment)

    assert ends[Slot(1, 0)] == ends[Slot(1, 1)] == ("COMPLETE", 0.6)
    others = [ends[Slot(cell, 0)][1] for cell in (2, 3)]
    assert all(value is not None and 0.6 - 1e-15 < value < 0.6 for value in others)


def test_a_network_whose_cell_was_lost_in_another_replicate_is_pruned(storage: Storage) -> None:
    experiment = small_grid.created(storage, replace(small_grid.SMALL, replicates=2)).experiment
    results = made({0: (0.9, None), 1: (0.5, 0.7), 2: (0.6, 0.5), 3: (0.7, 0.4)})

    ends = conclusion.concluded(results, experiment)

    assert ends[Slot(0, 0)] == ("PRUNED", 0.9)
    assert Slot(0, 1) not in ends
    assert conclusion.concluded(results[1:], experiment) == {}  # something is missing
