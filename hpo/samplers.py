"""Our grid sampler: an Optuna sampler over the stored cells, in their order.

It never skips or repeats a cell, and gives a failed one back: what is next is decided in our
tables, in one transaction, by the same claim that workers make. It is for a user's own
``study.optimize(objective)``; `hpo.worker` claims without it.
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection

from hpo import rows, tables
from hpo.environment import environment
from hpo.errors import NoResult
from hpo.hosts import this_worker
from hpo.plan import plan
from hpo.storage import Storage
from hpo.study import OpenStudy
from hpo.tables import Attempt


class GridSampler(BaseSampler):
    """Walks the cells of a study that `hpo.study` opened, each exactly once.

    ``optuna.load_study(study_name=..., storage=storage.optuna, sampler=GridSampler(storage, study))``
    gives a study whose ``optimize(objective)`` ends after the last cell. A cell whose objective
    failed waits for the next sampler.
    """

    def __init__(self, storage: Storage, study: OpenStudy) -> None:
        self._storage = storage
        self._study = study
        self._held: dict[int, tuple[Attempt, str]] = {}  # by trial number
        plan(storage, study)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: the parameters of a planned trial are fixed."""
        del study, trial
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing, see `infer_relative_search_space`."""
        del study, trial, search_space
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refuse: a grid has values for its own parameters only."""
        del study, trial, param_distribution
        raise NoResult(
            f"The grid of {self._study.stored.name!r} has no parameter {param_name!r}; it has "
            f"{', '.join(self._study.experiment.parameters)}."
        )

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Claim the cell of a planned trial.

        Raises:
            NoResult: The trial is not a planned one, because every cell is done or taken.
        """
        token = str(uuid.uuid4())
        attempt = self._storage.write(lambda connection: self._claim(connection, trial, token))
        if attempt is None:
            if "cell" not in trial.user_attrs:  # asked for by optimize() after the last cell
                study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            raise NoResult(
                f"Every cell of {self._study.stored.name!r} is done or being trained by others."
            )
        self._held[trial.number] = (attempt, token)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Count the result, or plan another attempt at the cell; stop after the last one."""
        attempt, token = self._held.pop(trial.number)
        self._storage.write(
            lambda connection: self._settle(connection, attempt, token, state, values)
        )
        if self._study.experiment.search is not None and not self._storage.write(self._waiting):
            plan(self._storage, self._study)  # the next generation
        if not self._storage.write(self._waiting):
            study.stop()

    def _claim(self, connection: Connection, trial: FrozenTrial, token: str) -> Attempt | None:
        values = {
            "state": "running",
            "token": token,
            "worker": json.dumps(this_worker()),
            "claimed_at": rows.now(connection),
        }
        for attempt in rows.attempts_of(connection, self._study.uuid, states=["waiting"]):
            if attempt.trial_id == trial._trial_id and rows.update_attempt(
                connection, self._study.uuid, attempt, was="waiting", **values
            ):
                return attempt
        return None

    def _settle(
        self,
        connection: Connection,
        attempt: Attempt,
        token: str,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        present = rows.standing(connection, self._study.uuid, attempt)
        if present is None or (present.state, present.token) != ("running", token):
            return
        counted = state is TrialState.COMPLETE and values
        if counted and values:
            row = {
                "study": self._study.uuid,
                "cell": attempt.slot.cell,
                "replicate": attempt.slot.replicate,
                "attempt": attempt.number,
                "outcome": "complete",
                "value": values[0],
                "cycles": 0,
                "n_updates": 0,
                "hits": b"",
                "environment": json.dumps(environment(), sort_keys=True),
            }
            connection.execute(tables.results.insert().values(row))
        rows.update_attempt(
            connection,
            self._study.uuid,
            attempt,
            state="ended" if counted else "failed",
            reason=None if counted else "the objective failed",
            ended_at=rows.now(connection),
        )

    def _waiting(self, connection: Connection) -> bool:
        return bool(rows.count_attempts(connection, self._study.uuid).get("waiting"))
