"""Optuna's storage, opened for showing only: its connections cannot write, and its methods do not.

For tools that are handed a storage, as a dashboard is. They are not trusted: every method that
changes something raises before it reaches the database, which would refuse it a second time.
"""

from collections.abc import Callable, Container
from typing import Any, NoReturn

from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.pool import NullPool

from hpo.database import optuna_storage
from hpo.database.reader import Reader
from hpo.errors import StorageError


def opened(reader: Reader) -> RDBStorage:
    """Return Optuna's storage of what a reader reads, whose connections cannot write."""
    options = {**reader.options(), "poolclass": NullPool}  # each look finds the file that is there
    storage = optuna_storage.opened(reader.address, options)
    reader.begin_with_reading(storage.engine)
    return storage


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise StorageError("This storage only shows a database; nothing was changed.")


class ShownStorage(BaseStorage):
    """A storage that passes reading on and refuses everything else."""

    def __init__(self, storage: RDBStorage) -> None:
        self._storage = storage

    create_new_study: Callable[..., Any] = _refuse
    delete_study: Callable[..., Any] = _refuse
    set_study_user_attr: Callable[..., Any] = _refuse
    set_study_system_attr: Callable[..., Any] = _refuse
    create_new_trial: Callable[..., Any] = _refuse
    set_trial_param: Callable[..., Any] = _refuse
    set_trial_state_values: Callable[..., Any] = _refuse
    set_trial_intermediate_value: Callable[..., Any] = _refuse
    set_trial_user_attr: Callable[..., Any] = _refuse
    set_trial_system_attr: Callable[..., Any] = _refuse

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return Optuna's id of the study with this name."""
        return self._storage.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of a study."""
        return self._storage.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return what is wanted of a study's values."""
        return self._storage.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return what is said of a study."""
        return self._storage.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return what Optuna and its dashboard keep of a study."""
        return self._storage.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return all studies, oldest first, as a dashboard lists those of a database."""
        return sorted(self._storage.get_all_studies(), key=lambda study: study._study_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial."""
        return self._storage.get_trial(trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of a study; read anew each time, as finished ones may be mended."""
        return self._storage.get_all_trials(study_id, deepcopy=deepcopy, states=states)

    def get_n_trials(
        self, study_id: int, state: tuple[TrialState, ...] | TrialState | None = None
    ) -> int:
        """Return how many trials there are."""
        return self._storage.get_n_trials(study_id, state)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the trial with the highest value."""
        return self._storage.get_best_trial(study_id)

    def remove_session(self) -> None:
        """Give this thread's connection back."""
        self._storage.remove_session()
