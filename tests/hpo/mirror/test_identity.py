"""What users' tools do to Optuna's study of ours: copy, rename, delete, replace it.

After each, every command works, results are ours, and a second repair finds nothing.
"""

import dataclasses
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import optuna_tables as optunas
from hpo.database import outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.definition.ranges import Real
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.errors import CopiedStudy, ForeignStudy, HpoError, StudyNotFound
from hpo.mirror import deleting
from hpo.mirror import study as studies
from hpo.testing import Recorder
from hpo.views import overview
from model.data import digits
from tests.hpo import stores
from tests.hpo.mirror.changes import (
    CHANGES,
    FOUR,
    OFTEN,
    Change,
    copy,
    exported,
    forget,
    is_shown,
    optunas_names,
    rename,
    run,
    states,
    wrong,
)

storage = stores.of_each_kind


@pytest.fixture(
    params=[
        pytest.param((kind, change), id=f"{change}-{kind}", marks=marks)
        for kind in ("sqlite", "postgresql")
        for change in CHANGES
        for marks in [() if kind == "sqlite" and change in OFTEN else pytest.mark.exhaustive]
    ]
)
def changed(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A kind of database, and what others do to the study in it."""
    found: tuple[str, str] = request.param
    return found


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database: SQLite unless `changed` wants the other one."""
    wants = "changed" in request.fixturenames and request.getfixturevalue("changed")
    if not wants or wants[0] == "sqlite":
        return f"sqlite:///{tmp_path / 'hpo.db'}"
    address: str = request.getfixturevalue("postgresql_url")
    return address


@pytest.fixture
def change(changed: tuple[str, str]) -> tuple[Change, str, str]:
    return CHANGES[changed[1]]


def test_what_others_did_before_a_run_neither_splits_nor_loses_a_study(
    storage: Storage, url: str, change: tuple[Change, str, str]
) -> None:
    act, name, shown = change
    study = run(storage)
    before = exported(storage, study.uuid)
    act(storage, "four-digits")
    others = {n: states(storage, n) for n in optunas_names(storage) if n not in (name, shown)}

    for look in (overview.status, overview.listing):
        assert f"{name}" in storage.write(look)
    again = run(storage)

    assert again.uuid == study.uuid
    assert again.stored.name == name
    assert exported(storage, study.uuid) == before
    is_shown(storage, again)
    assert shown in optunas_names(storage)
    assert {n: states(storage, n) for n in others} == others
    assert storage.write(lambda c: len(rows.all_studies(c))) == 1
    assert wrong(url) == []
    assert wrong(url, repair=True) == []


def test_what_others_did_is_repaired_once_and_for_all(
    storage: Storage, url: str, change: tuple[Change, str, str]
) -> None:
    act, name, _ = change
    study = run(storage)
    before = exported(storage, study.uuid)
    act(storage, "four-digits")

    assert wrong(url, repair=True) == []
    assert wrong(url) == []
    assert wrong(url, repair=True) == []

    assert exported(storage, study.uuid) == before
    is_shown(storage, study)
    assert studies.names(storage) == [name]


def test_what_others_did_during_a_run_neither_splits_nor_loses_a_study(
    storage: Storage, url: str, change: tuple[Change, str, str]
) -> None:
    act, name, _ = change
    undisturbed = run(storage, name="undisturbed")

    study = run(storage, Recorder(at=30, act=lambda: act(storage, "four-digits")))

    assert exported(storage, study.uuid) == exported(storage, undisturbed.uuid)
    assert study.stored.name == name
    is_shown(storage, study)
    assert wrong(url) == []
    assert storage.write(lambda c: len(rows.all_studies(c))) == 2


def test_deleting_takes_ours_alone_and_frees_its_name(
    storage: Storage, url: str, change: tuple[Change, str, str]
) -> None:
    act, name, shown = change
    keeper = run(storage, name="keeper")
    kept = exported(storage, keeper.uuid)
    run(storage)
    act(storage, "four-digits")
    others = {
        n: states(storage, n)
        for n in optunas_names(storage)
        if n not in (name, shown) or (n == name and n != shown)
    }

    deleting.delete(storage, name)

    assert {n: states(storage, n) for n in optunas_names(storage)} == others
    for table in tables.OF_STUDY:
        found = storage.write(lambda c, t=table: set(c.execute(sa.select(t.c.study)).scalars()))
        assert found <= {keeper.uuid}
    assert exported(storage, keeper.uuid) == kept
    assert wrong(url) == []
    with pytest.raises(HpoError):
        deleting.delete(storage, name)
    if name not in others:
        fresh = run(storage, name=name if name.isalnum() else None)
        is_shown(storage, fresh)


@pytest.mark.parametrize("target", ["backup", "four-digits-2"])
def test_a_copy_is_named_and_never_touched(storage: Storage, url: str, target: str) -> None:
    study = run(storage)
    copy(storage, "four-digits", target)

    sentence = f"{target!r} in this storage is a copy of 'four-digits' .* is left untouched"
    with pytest.raises(CopiedStudy, match=sentence):
        deleting.delete(storage, target)
    with pytest.raises(CopiedStudy, match=sentence):
        run(storage, name=target)

    for told in (
        storage.write(overview.status),
        storage.write(overview.listing),
        "\n".join(finding.text for finding in examine(url)),
    ):
        assert f"{target}: another tool's copy of four-digits" in told
    assert states(storage, target) == [TrialState.COMPLETE] * 4
    deleting.delete(storage, "four-digits")
    assert states(storage, target) == [TrialState.COMPLETE] * 4
    with pytest.raises(ForeignStudy):
        studies.find(storage, target)
    assert storage.write(lambda c: rows.study_by_uuid(c, study.uuid)) is None


def test_a_renamed_study_answers_to_both_names_but_is_deleted_by_its_own(
    storage: Storage,
) -> None:
    study = run(storage)
    rename(storage, "four-digits", "mine")
    said: list[str] = []

    for name in ("mine", "four-digits"):
        assert storage.write(lambda c, n=name: studies.stored(c, n)).uuid == study.uuid
    found = studies.find(storage, "four-digits", said.append)
    assert found is not None
    assert (found.uuid, found.stored.name) == (study.uuid, "mine")
    assert said == ["Another tool renamed 'four-digits': it is called 'mine' now."]
    assert studies.find(storage, "mine", said.append) == found
    assert len(said) == 1
    with pytest.raises(HpoError, match="is called 'mine' now.*`hpo delete mine` removes it"):
        deleting.delete(storage, "four-digits")
    with pytest.raises(StudyNotFound):
        deleting.delete(storage, "nothing")


def test_a_deleted_study_is_said_to_be_shown_again(storage: Storage) -> None:
    run(storage)
    forget(storage, "four-digits")
    watcher = Recorder()

    run(storage, watcher)

    assert watcher.warnings == [
        "Another tool deleted 'four-digits' from Optuna's tables; it is shown there again, and nothing "
        "is lost."
    ]


def test_a_study_keeps_its_name_if_the_new_one_is_taken_by_another_of_ours(
    storage: Storage, url: str
) -> None:
    first, second = run(storage, name="first"), run(storage, name="second")
    forget(storage, "second")
    rename(storage, "first", "second")

    assert run(storage, name="second").uuid == second.uuid
    assert run(storage, name="first").uuid == first.uuid
    assert wrong(url) == []
    assert sorted(studies.names(storage)) == ["first", "second"]


def test_a_direction_that_others_changed_or_deleted_is_set_again(
    storage: Storage, url: str
) -> None:
    study = run(storage)
    table = optunas.directions
    for change in (table.delete(), table.update().values(direction="MINIMIZE")):
        storage.write(lambda connection, c=change: connection.execute(c))
        run(storage)
        shown = optuna.load_study(study_name="four-digits", storage=storage.optuna)
        assert shown.direction is optuna.study.StudyDirection.MAXIMIZE
        assert shown.best_value == max(
            r.value or 0 for r in storage.write(lambda c: outcomes.results_of(c, study.uuid))
        )


def test_a_trial_of_somebody_else_with_an_old_id_of_ours_is_left_as_it_is(
    storage: Storage,
) -> None:
    """SQLite gives ids of deleted trials to the next ones; a worker still knows them as its own."""

    def act() -> None:
        forget(storage, "four-digits")
        other = optuna.create_study(study_name="other", storage=storage.optuna)
        for _ in range(6):
            other.ask()

    study = run(storage, Recorder(at=30, act=act))

    assert states(storage, "other") == [TrialState.RUNNING] * 6
    is_shown(storage, study)


@pytest.mark.exhaustive
@pytest.mark.parametrize("act", ["renamed", "deleted", "replaced", "copied"])
@pytest.mark.parametrize("pruner", ["median:n_startup_trials=1", "halving", "threshold:lower=0.9"])
def test_a_pruned_study_goes_on_whatever_others_do_to_it(
    tmp_path: Path, act: str, pruner: str
) -> None:
    definition = dataclasses.replace(FOUR, pruner=pruner, n_cycles=4)
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    with Storage(url) as storage:
        for at in (10, 45, 90):
            change, _, _ = CHANGES[act]
            watcher = Recorder(at=at, act=lambda: change(storage, "four-digits"))  # noqa: B023
            outcome = running.run(Order(definition, digits()), storage, watcher, lambda: False)
            assert outcome.n_missing == 0
            assert outcome.after.failed == {}
            assert wrong(url) == []
            deleting.delete(storage, outcome.study.stored.name)
            for left in optunas_names(storage):
                forget(storage, left)


@pytest.mark.exhaustive
@pytest.mark.parametrize("act", ["renamed", "deleted", "replaced", "copied"])
def test_a_search_goes_on_to_the_same_end_whatever_others_do_to_it(
    tmp_path: Path, act: str
) -> None:
    space = Space(lambda_=Real(1e-5, 1e-1, True), budget=600, width=4, sampler="tpe")
    search = StudyDefinition(name="four", space=space, n_s=5, n_cycles=3, batch_size=100)
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    with Storage(url) as storage:
        alone = running.run(
            Order(search, digits(), name="undisturbed"), storage, Recorder(), lambda: False
        ).study
        for at in (10, 100, 200):
            change, _, _ = CHANGES[act]
            watcher = Recorder(at=at, act=lambda: change(storage, "four-digits"))  # noqa: B023
            outcome = running.run(Order(search, digits()), storage, watcher, lambda: False)
            assert exported(storage, outcome.study.uuid) == exported(storage, alone.uuid)
            assert wrong(url) == []
            deleting.delete(storage, outcome.study.stored.name)
            for left in optunas_names(storage):
                if left != "undisturbed":
                    forget(storage, left)
