"""Optuna's pruners at the ends of our cycles, and our rungs as an Optuna pruner."""

import optuna
from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial
from sqlalchemy import Connection

from hpo import rows, rungs
from hpo.claims import Claim
from hpo.pruners import Pruning, optuna_pruner
from hpo.storage import Storage
from hpo.study import OpenStudy
from hpo.writing import Ending


class OptunasPruner:
    """Asks one of Optuna's pruners about each trial, and counts those that it cuts."""

    def __init__(self, storage: Storage, study: OpenStudy, pruning: Pruning) -> None:
        self._storage = storage
        self._study = study
        self._pruner = optuna_pruner(pruning)
        self._optunas = optuna.load_study(
            study_name=study.stored.name, storage=storage.optuna, pruner=self._pruner
        )

    def cut(self, held: Claim, cells: list[int], cycle: int) -> dict[int, Ending]:
        """Ask about ``cells``, whose values at the end of ``cycle`` Optuna has been told."""
        if cycle not in rungs.cycles_with_rung(self._study.experiment):
            return {}
        chosen = [cell for cell in cells if self._is_cut(held.attempts[cell].trial_id)]

        def write(connection: Connection) -> dict[int, Ending]:
            ended = {}
            for cell in chosen:
                attempt = held.attempts[cell]
                present = rows.standing(connection, self._study.uuid, attempt)
                if present is None or present.token != held.token:
                    continue  # lost meanwhile; whoever holds it asks for himself
                if present.state == "running":
                    rungs.end_pruned(connection, self._study.stored, attempt, cycle)
                ended[cell] = Ending("pruned", None)
            return ended

        return self._storage.write(write) if chosen else {}

    def _is_cut(self, trial_id: int | None) -> bool:
        if trial_id is None:
            return False
        trial = self._storage.retried(lambda: self._storage.optuna.get_trial(trial_id))
        return self._storage.retried(lambda: self._pruner.prune(self._optunas, trial))


class RungPruner(BasePruner):
    """Synchronous successive halving as an Optuna pruner: it reads what the rungs decided."""

    def __init__(self, storage: Storage, study: OpenStudy) -> None:
        self._storage = storage
        self._study = study

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether the trial's cell was cut after the cycle that it reported last."""
        del study
        uuid = self._study.uuid
        known = self._storage.write(lambda connection: rungs.decisions(connection, uuid))
        chosen = known.get(trial.last_step) if trial.last_step is not None else None
        return chosen is not None and trial.user_attrs["cell"] not in chosen
