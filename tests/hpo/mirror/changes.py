"""What users' tools do to Optuna's study of ours: copy, rename, delete, replace it."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import optuna_tables as optunas
from hpo.database import outcomes, rows
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.mirror import identity
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from hpo.views.export import to_json
from model.data import digits

FOUR = StudyDefinition(
    name="four", grid=Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=5, n_cycles=2, batch_size=100
)
Change = Callable[[Storage, str], None]


def run(storage: Storage, watcher: Recorder | None = None, **options: Any) -> OpenStudy:
    outcome = running.run(
        Order(FOUR, digits(), **options), storage, watcher or Recorder(), lambda: False
    )
    assert outcome.n_missing == 0
    return outcome.study


def exported(storage: Storage, uuid: str) -> str:
    def read(connection: sa.Connection) -> str:
        stored = rows.study_by_uuid(connection, uuid)
        assert stored is not None
        return to_json(connection, stored).replace(stored.name, "NAME")

    return storage.write(read)


def wrong(url: str, *, repair: bool = False) -> list[str]:
    return [finding.text for finding in examine(url, repair=repair) if finding.is_open]


def optunas_names(storage: Storage) -> list[str]:
    return sorted(optuna.get_all_study_names(storage.optuna))


def states(storage: Storage, name: str) -> list[TrialState]:
    return [t.state for t in optuna.load_study(study_name=name, storage=storage.optuna).trials]


def is_shown(storage: Storage, study: OpenStudy) -> None:
    """Optuna's study of ours has a complete trial with our value for every attempt of ours."""
    attempts = storage.write(lambda c: rows.attempts_of(c, study.uuid))
    results = {r.slot: r.value for r in storage.write(lambda c: outcomes.results_of(c, study.uuid))}
    standing = storage.write(lambda c: identity.of(c, study.uuid))
    assert standing is not None
    assert standing.shown is not None
    assert standing.is_recorded
    shown = optuna.load_study(study_name=standing.shown.name, storage=storage.optuna)
    trials = {trial._trial_id: trial for trial in shown.trials}
    for attempt in attempts:
        assert attempt.trial_id is not None
        assert trials[attempt.trial_id].state is TrialState.COMPLETE
        assert trials[attempt.trial_id].value == results[attempt.slot]
    assert len(trials) == len(attempts)


def copy(storage: Storage, source: str, target: str) -> None:
    optuna.copy_study(
        from_study_name=source,
        from_storage=storage.optuna,
        to_storage=storage.optuna,
        to_study_name=target,
    )


def rename(storage: Storage, source: str, target: str) -> None:
    """Do what optuna-dashboard does."""
    old = optuna.load_study(study_name=source, storage=storage.optuna)
    new = optuna.create_study(study_name=target, storage=storage.optuna, directions=old.directions)
    new.add_trials(old.get_trials(deepcopy=False))
    for key, value in old.user_attrs.items():
        new.set_user_attr(key, value)
    storage.optuna.delete_study(old._study_id)


def rename_in_place(storage: Storage, source: str, target: str) -> None:
    table = optunas.studies
    change = table.update().where(table.c.study_name == source).values(study_name=target)
    storage.write(lambda connection: connection.execute(change))


def forget(storage: Storage, name: str) -> None:
    optuna.delete_study(study_name=name, storage=storage.optuna)


def replace_by_another(storage: Storage, name: str) -> None:
    forget(storage, name)
    other = optuna.create_study(study_name=name, storage=storage.optuna)
    for _ in range(6):  # on SQLite they get ids of the trials that were deleted
        other.ask()


def forget_by_halves(storage: Storage, name: str) -> None:
    """Delete the row of the study alone, as SQLite lets one do, and begin another with its id."""
    if storage.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL does not let a study go before its trials")
    table = optunas.studies
    gone = table.delete().where(table.c.study_name == name)
    storage.write(lambda connection: connection.execute(gone))


#: What others do to the study "four-digits", and the name that it has in Optuna afterwards.
CHANGES: dict[str, tuple[Change, str, str]] = {
    "copied": (lambda s, n: copy(s, n, "backup"), "four-digits", "four-digits"),
    "copied twice": (
        lambda s, n: (copy(s, n, "backup"), copy(s, "backup", "again"))[0],
        "four-digits",
        "four-digits",
    ),
    "renamed": (lambda s, n: rename(s, n, "mine"), "mine", "mine"),
    "renamed with an odd name": (lambda s, n: rename(s, n, "my, study!"), *2 * ("my, study!",)),
    "renamed there and back": (
        lambda s, n: (rename(s, n, "mine"), rename(s, "mine", n))[0],
        "four-digits",
        "four-digits",
    ),
    "renamed in place": (lambda s, n: rename_in_place(s, n, "mine"), "mine", "mine"),
    "deleted": (forget, "four-digits", "four-digits"),
    "deleted by halves": (forget_by_halves, "four-digits", "four-digits"),
    "replaced": (replace_by_another, "four-digits", "four-digits-hpo"),
    "deleted, restored from a copy": (
        lambda s, n: (copy(s, n, "backup"), forget(s, n), copy(s, "backup", n))[0],
        "four-digits",
        "four-digits",
    ),
    "deleted with two copies left": (
        lambda s, n: (copy(s, n, "one"), copy(s, n, "two"), forget(s, n))[0],
        "four-digits",
        "four-digits",
    ),
}


#: In every run of the tests; the rest is for the long ones.
OFTEN = ("copied", "renamed", "deleted", "replaced")
