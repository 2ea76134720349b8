"""Our grid sampler: an Optuna sampler over the stored cells, in their order.

It never skips or repeats a cell, and gives a failed one back: what is next is decided in our
tables, in one transaction, by the same claim that workers make. It is for a user's own
``study.optimize(objective)``; `hpo.workers.worker` claims without it.

What counts: a value; a value that is not finite, as diverged; `optuna.TrialPruned`, as pruned with
the value that was reported last. What fails is tried again by the next sampler, until it has
failed as often as training may (`hpo.planning.plan`).
"""

import json
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Self

from optuna import TrialPruned
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, load_study
from optuna.trial import FrozenTrial, TrialState

from hpo.database import outcomes, rows, tally
from hpo.database.connections import Connection
from hpo.database.locations import DEFAULT_STORAGE
from hpo.database.patience import PATIENCE, be_patient
from hpo.database.reader import read_once
from hpo.database.storage import Storage
from hpo.errors import NoResult, StudyNotFound
from hpo.experiment.records import Attempt, State
from hpo.machine.environment import environment
from hpo.mirror import states as record
from hpo.mirror import study as studies
from hpo.mirror import trials
from hpo.mirror.agreement import SURPLUS
from hpo.mirror.identity import check_name
from hpo.mirror.study import OpenStudy
from hpo.planning import correction
from hpo.planning.plan import plan
from hpo.workers.membership import Membership
from hpo.workers.objective import Ending, Held, ending_of, leave, stop

PAUSE = 0.05  #: seconds between two looks at what other threads have left


class GridSampler(BaseSampler):
    """Walks the cells of a stored study, each exactly once.

    ``GridSampler.of("coarse-digits").load_study()`` is a study of Optuna's whose
    ``optimize(objective)`` ends after the last cell. A cell whose objective failed waits for the
    next sampler. The process is a worker while the sampler lives: what it holds comes back if it
    dies.

    >>> import hpo, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = hpo.submit("coarse", data="digits", storage=f"sqlite:///{folder}/hpo.db")
    ...     len(hpo.GridSampler.of("coarse-digits", storage=study.storage).lambdas)
    8
    """

    @classmethod
    def of(
        cls,
        name: str,
        *,
        storage: str = DEFAULT_STORAGE,
        stop: Callable[[], bool] = lambda: False,
        notify: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Return the sampler of a stored study.

        Args:
            storage: SQLAlchemy URL of the database.
            stop, notify: End a wait for the database; are told whom it is for.

        Raises:
            StudyNotFound: There is none of this name.
        """
        check_name(name)
        read_once(storage, lambda connection: studies.stored(connection, name), stop, notify)
        opened = Storage(storage, stop, makes=False, notify=notify)
        found = studies.find(opened, name)
        if found is None:
            opened.close()
            raise StudyNotFound(name, [])
        sampler = cls(found)
        weakref.finalize(sampler, opened.close)  # after the worker that it is has left
        return sampler

    @property
    def lambdas(self) -> tuple[float, ...]:
        """The lambda of every cell."""
        return self._study.experiment.lambdas

    def load_study(self) -> Study:
        """Return Optuna's study of the cells, with this sampler."""
        name, storage = self._study.stored.name, self._storage.optuna
        return load_study(study_name=name, storage=storage, sampler=self)

    def __init__(self, study: OpenStudy) -> None:
        if not isinstance(study, OpenStudy):
            raise TypeError(f"GridSampler.of(NAME) finds a study; got {study!r}.")
        self._storage = study.storage
        self._study = study
        self._held: dict[int, Held] = {}  # by trial number
        self._uncounted: set[int] = set()  # trials that stand for no cell
        self._member: Membership | None = None
        self._lock = threading.Lock()
        self._is_search = study.experiment.search is not None
        be_patient(study.storage.optuna.engine)
        correction.correct(study)
        plan(study)

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
        del study, param_distribution
        if trial.number in self._uncounted and param_name in self._study.experiment.parameters:
            raise TrialPruned(f"Every cell of {self._study.stored.name!r} is done or taken.")
        raise NoResult(
            f"The grid of {self._study.stored.name!r} has no parameter {param_name!r}; it has "
            f"{', '.join(self._study.experiment.parameters)}."
        )

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Claim the cell of a planned trial.

        A trial that somebody enqueued is evaluated, and not counted.

        Raises:
            NoResult: Every cell is done, or held by others.
        """
        if "fixed_params" in trial.system_attrs:
            self._uncounted.add(trial.number)
            return
        token = str(uuid.uuid4())
        with self._lock:
            identity = self._joined().identity | {"objective": record.OWN}
            attempt = self._storage.write(
                lambda connection: self._claim(connection, trial, token, identity)
            )
            if attempt is not None:
                self._held[trial.number] = Held(attempt, token)
                if not self._is_search and not self._storage.read(self._waiting):
                    stop(study)  # so that no thread asks for one more
                return
        if "attempt" in trial.user_attrs:  # a worker was faster, and Optuna did not know yet
            raise NoResult(
                f"Cell {trial.user_attrs.get('cell')} of {self._study.stored.name!r} is being trained "
                "by others. Ask again once they are done."
            )
        self._without_a_cell(study, trial)

    def _without_a_cell(self, study: Study, trial: FrozenTrial) -> None:
        """Let a trial pass that Optuna made because no cell waited.

        Threads of one process ask at the same time, so the last ones may come too late. Whatever
        is raised here would end ``optimize`` for all of them, so the trial is pruned when it asks
        for its first parameter.
        """
        self._storage.write(
            lambda connection: record.add_attributes(connection, trial._trial_id, {SURPLUS: True})
        )
        try:
            self._await_others()
        except BaseException:
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            raise
        with self._lock:
            others = self._is_search and self._held
            is_over = not others and not self._storage.read(self._unclaimed)
        if is_over:
            if not self._ever_claimed():
                study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                raise NoResult(
                    f"Every cell of {self._study.stored.name!r} is done or being trained by others."
                )
            stop(study)
        self._uncounted.add(trial.number)
        cells = studies.present(self._study).experiment.cells
        trial.params = dict(cells[0])  # for those who read them there

    def _await_others(self) -> None:
        """Wait until other threads have claimed what they asked for, or a generation is done."""
        deadline = time.monotonic() + PATIENCE  # who asked may have died since
        while True:
            with self._lock:
                if self._storage.read(self._waiting):
                    return
                is_asked_for = self._storage.read(self._unclaimed) and time.monotonic() < deadline
                if not is_asked_for and not (self._is_search and self._held):
                    return
            time.sleep(PAUSE)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Count the result, or let the next sampler try again; stop after the last cell."""
        if trial.number in self._uncounted:
            self._uncounted.discard(trial.number)
            return
        ending = ending_of(state, values)
        with self._lock:  # others see a cell held, or what comes after it
            held = self._held.pop(trial.number)
            self._storage.write(lambda connection: self._settle(connection, held, ending))
            if self._is_search and not self._storage.read(self._unclaimed):
                plan(self._study)  # the next generation
            left = self._unclaimed if self._is_search else self._waiting
            if not (self._is_search and self._held) and not self._storage.write(left):
                stop(study)

    def _joined(self) -> Membership:
        """Return this process as a worker, which it is until the sampler is gone."""
        if self._member is None:
            self._member = Membership(self._storage)
            self._member.__enter__()
            weakref.finalize(self, leave, self._member)
        return self._member

    def _ever_claimed(self) -> bool:
        mine = self._member.id if self._member else ""
        attempts = self._storage.read(lambda c: rows.attempts_of(c, self._study.uuid))
        return any(attempt.worker and attempt.worker.get("id") == mine for attempt in attempts)

    def _claim(
        self, connection: Connection, trial: FrozenTrial, token: str, identity: dict[str, Any]
    ) -> Attempt | None:
        values = {
            "state": State.RUNNING,
            "token": token,
            "worker": json.dumps(identity),
            "worker_id": identity["id"],
            "claimed_at": rows.now(connection),
        }
        for attempt in rows.attempts_of(connection, self._study.uuid, states=[State.WAITING]):
            if attempt.trial_id == trial._trial_id and rows.update_attempt(
                connection, self._study.uuid, attempt, was=State.WAITING, **values
            ):
                return attempt
        return None

    def _settle(self, connection: Connection, held: Held, ending: Ending) -> None:
        attempt, study = held.attempt, self._study.uuid
        present = rows.standing(connection, study, attempt)
        if present is None or (present.state, present.token) != (State.RUNNING, held.token):
            return
        moment = rows.now(connection)
        if ending.outcome:
            here = environment()
            counted = outcomes.Counted(
                attempt,
                outcome=ending.outcome,
                value=ending.value,
                cycles=0,
                n_updates=0,
                environment=json.dumps(here, sort_keys=True),
                has_curve=False,
            )
            outcomes.count(connection, study, [counted])
            changes: dict[str, Any] = {"state": State.ENDED, "ended_at": moment}
            told = {"outcome": ending.outcome, "updates": 0, "environment": here}
        elif ending.reason:
            changes = {"state": State.FAILED, "ended_at": moment, "reason": ending.reason}
            told = {"reason": ending.reason}
        else:  # interrupted; the trial ends as failed, and the next planner makes another
            changes = {"state": State.WAITING, "trial_id": None, "in_optuna": False, "token": None}
            told = {"reason": "interrupted"}
        rows.update_attempt(connection, study, attempt, **changes)
        if attempt.trial_id is not None:
            record.add_attributes(connection, attempt.trial_id, told)

    def _waiting(self, connection: Connection) -> bool:
        """Tell whether a cell waits that no thread has asked for."""
        return trials.n_waiting(connection, self._study.uuid) > 0

    def _unclaimed(self, connection: Connection) -> bool:
        return bool(tally.count_attempts(connection, self._study.uuid).get(State.WAITING))
