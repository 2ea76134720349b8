"""Other hands on Optuna's record: results stay ours, and what Optuna shows becomes ours again."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from hpo.commands import doctor
from hpo.commands.doctor import examine
from hpo.database import optuna_tables as optunas
from hpo.database import outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.mirror.agreement import compare
from hpo.mirror.states import TOLD
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from hpo.workers.claims import claim
from hpo.workers.membership import Membership
from tests.hpo import stores
from tests.hpo.mirror.others import (
    NAME,
    OTHERS,
    run,
    shows_ours,
    tell_all,
    texts,
    theirs,
)
from tests.hpo.reading import exported


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    opened = Storage(f"sqlite:///{tmp_path_factory.mktemp('calm')}/hpo.db")
    text = exported(opened, run(opened))
    opened.close()
    return text


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.exhaustive)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Both databases; the second by default in one test only, as each statement is standard SQL."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path / 'hpo.db'}"


storage = stores.of_each_kind


@pytest.fixture
def half(storage: Storage) -> OpenStudy:
    """A study whose trials were given back in the second cycle."""
    return run(storage, Recorder(stop_after=100))


@pytest.mark.parametrize("act", OTHERS)
def test_what_others_told_of_waiting_trials_is_ours_again_after_the_next_run(
    storage: Storage,
    half: OpenStudy,
    url: str,
    act: Callable[[optuna.Study], None],
    undisturbed: str,
) -> None:
    act(theirs(url))
    assert texts(url) != []

    again = run(storage)

    assert exported(storage, again) == undisturbed
    shows_ours(storage, again, url)


@pytest.mark.parametrize("act", OTHERS)
def test_a_repair_shows_what_is_left_to_do_whatever_others_told(
    storage: Storage,
    half: OpenStudy,
    url: str,
    act: Callable[[optuna.Study], None],
    undisturbed: str,
) -> None:
    act(theirs(url))

    assert not any(finding.is_open for finding in examine(url, repair=True))

    assert texts(url) == []
    waiting = [t.user_attrs["cell"] for t in theirs(url).trials if t.state is TrialState.WAITING]
    assert sorted(waiting) == [0, 1, 2, 3]
    assert exported(storage, run(storage)) == undisturbed


@pytest.mark.parametrize("act", OTHERS)
def test_what_others_tell_in_the_middle_of_training_disturbs_nothing(
    storage: Storage, url: str, act: Callable[[optuna.Study], None], undisturbed: str
) -> None:
    watcher = Recorder(at=50, act=lambda: act(theirs(url)))

    study = run(storage, watcher)

    assert watcher.n_points == 4 * 40
    assert exported(storage, study) == undisturbed
    shows_ours(storage, study, url)


def rows_gone() -> list[sa.Delete]:
    """Return what deletes all that Optuna has of the trials from the third on, children first."""
    gone = sa.select(optunas.trials.c.trial_id).where(optunas.trials.c.number > 1)
    tables = (optunas.values, optunas.params, optunas.attributes, optunas.steps, optunas.trials)
    return [table.delete().where(table.c.trial_id.in_(gone)) for table in tables]


KEY = optunas.attributes.c.key
EDITS: dict[str, list[sa.Executable]] = {
    "values": [optunas.values.update().values(value=0.999)],
    "no values": [optunas.values.delete()],
    "states": [optunas.trials.update().values(state="FAIL")],
    "no trials": [*rows_gone()],
    "cells": [optunas.attributes.update().where(KEY == "cell").values(value_json="7")],
    "no outcome": [optunas.attributes.delete().where(KEY == "outcome")],
    "parameters": [optunas.params.update().values(param_value=0.5)],
    "cycle values": [optunas.steps.update().values(intermediate_value=0.999)],
    "no cycle value": [optunas.steps.delete().where(optunas.steps.c.step == 1)],
}


@pytest.mark.parametrize("repair", [pytest.param(True, marks=pytest.mark.exhaustive), False])
@pytest.mark.parametrize("edit", EDITS)
def test_a_finished_study_that_others_edited_is_shown_as_it_was(
    storage: Storage,
    url: str,
    edit: str,
    repair: bool,
    undisturbed: str,
) -> None:
    study = run(storage)
    for statement in EDITS[edit]:
        storage.write(lambda connection, this=statement: connection.execute(this))  # type: ignore[misc]
    assert any("than in our rows" in text for text in texts(url))

    if repair:
        assert not any(finding.is_open for finding in examine(url, repair=True))
    else:
        run(storage)

    assert exported(storage, study) == undisturbed
    shows_ours(storage, study, url)


@pytest.mark.long
def test_on_postgresql_too_what_others_told_edited_and_deleted_is_ours_again(
    postgresql_url: str, undisturbed: str
) -> None:
    opened = Storage(postgresql_url)
    run(opened, Recorder(stop_after=100))
    tell_all(theirs(postgresql_url))

    study = run(opened)
    shows_ours(opened, study, postgresql_url)
    for statement in [*EDITS["no trials"], *EDITS["cells"]]:
        opened.write(lambda connection, this=statement: connection.execute(this))  # type: ignore[misc]
    examine(postgresql_url, repair=True)

    shows_ours(opened, study, postgresql_url)
    assert exported(opened, study) == undisturbed
    opened.close()


def test_an_id_that_optuna_used_again_for_another_trial_is_no_longer_ours(
    storage: Storage, url: str
) -> None:
    study = run(storage)
    last = max(t._trial_id for t in theirs(url).trials)
    for table in (
        optunas.values,
        optunas.params,
        optunas.attributes,
        optunas.steps,
        optunas.trials,
    ):
        gone = table.delete().where(table.c.trial_id == last)  # type: ignore[attr-defined]
        storage.write(lambda connection, gone=gone: connection.execute(gone))  # type: ignore[misc]
    theirs(url).add_trial(optuna.trial.create_trial(value=0.1))

    run(storage)

    shows_ours(storage, study, url)
    assert [t.value for t in theirs(url).trials if "cell" not in t.user_attrs] == [0.1]


def test_a_process_that_read_what_was_told_still_finds_our_best(
    storage: Storage, half: OpenStudy, url: str
) -> None:
    old = theirs(url)
    tell_all(old)
    assert old.best_value == 0.999
    assert len(old.trials) == 4

    study = run(storage)

    results = storage.write(lambda c: outcomes.results_of(c, study.uuid))
    assert old.best_value == max(r.value for r in results if r.value is not None)
    assert [t.user_attrs[TOLD] for t in theirs(url).trials[:4]] == ["COMPLETE with 0.999"] * 4
    optuna.copy_study(
        from_study_name=NAME, from_storage=url, to_storage=optuna.storages.InMemoryStorage()
    )


def enqueue(own: optuna.Study) -> None:
    own.enqueue_trial({"lambda": 1e-3})


def add(own: optuna.Study) -> None:
    own.add_trial(optuna.trial.create_trial(value=0.0625))


def ask_when_nothing_waits(own: optuna.Study) -> None:
    own.ask()


@pytest.mark.parametrize("act", [enqueue, add, ask_when_nothing_waits])
def test_foreign_trials_are_named_and_neither_trained_nor_counted_nor_changed(
    storage: Storage, url: str, act: Callable[[optuna.Study], None], undisturbed: str
) -> None:
    study = run(storage)
    act(theirs(url))
    before = theirs(url).trials[4]

    assert texts(url) == []
    (named,) = (f for f in examine(url) if f.is_note)
    assert "1 trials that others made: trial 4. They are never trained" in named.text
    assert "note   four-digits: Optuna has 1 trials" in doctor.report(examine(url))
    run(storage)
    examine(url, repair=True)

    assert exported(storage, study) == undisturbed
    after = theirs(url).trials[4]
    assert (after.state, after.value) == (before.state, before.value)
    assert len(theirs(url).trials) == 5


@pytest.mark.parametrize("value", [0.999, float("inf")])
@pytest.mark.parametrize("repair", [True, False])
def test_a_foreign_trial_that_optuna_takes_for_the_best_is_told_and_set_aside(
    storage: Storage, url: str, value: float, repair: bool
) -> None:
    study = run(storage)
    theirs(url).add_trial(optuna.trial.create_trial(value=value))
    theirs(url).add_trial(optuna.trial.create_trial(value=0.01))
    (named,) = (f for f in examine(url) if f.is_note)
    assert "trials 4, 5" in named.text
    assert "Optuna takes trial 4 for the best" in named.text
    assert "--repair" in named.remedy

    watcher = Recorder()
    if repair:
        examine(url, repair=True)
    else:
        run(storage, watcher)
        assert any("trial 4" in text for text in watcher.warnings)

    shows_ours(storage, study, url)
    assert theirs(url).trials[4].user_attrs[TOLD] == f"COMPLETE with {value}"
    assert theirs(url).trials[5].value == 0.01


def test_a_study_in_training_has_nothing_wrong_and_a_repair_takes_nothing_from_it(
    storage: Storage, url: str, undisturbed: str
) -> None:
    def look() -> None:
        found.extend(texts(url))
        examine(url, repair=True)
        found.extend(texts(url))

    found: list[str] = []
    study = run(storage, Recorder(at=50, act=look))

    assert found == []
    attempts = storage.write(lambda c: rows.attempts_of(c, study.uuid))
    assert {a.state for a in attempts} == {"ended"}
    assert exported(storage, study) == undisturbed


def test_what_a_living_worker_has_not_shown_yet_is_a_note_and_a_dead_ones_is_wrong(
    storage: Storage, half: OpenStudy, url: str
) -> None:
    behind = tables.attempts.update().values(in_optuna=False)
    with Membership(storage) as member:
        assert claim(half, 2, member.identity)
        storage.write(lambda connection: connection.execute(behind))

        assert texts(url) == []
        assert any("about to be shown" in text for text in texts(url, wrong=False))

    assert any("does not show 4 trials as they are" in text for text in texts(url))


def test_a_large_record_is_compared_with_few_statements(storage: Storage, half: OpenStudy) -> None:
    def count(connection: sa.Connection) -> int:
        n = 0

        def executed(*_: object) -> None:
            nonlocal n
            n += 1

        sa.event.listen(connection, "before_cursor_execute", executed)
        found = compare(connection, half.stored, half.study_id)
        assert (found.different, found.foreign) == ((), ())
        return n

    assert storage.write(count) <= 12
