"""Optuna's pruners at the ends of our cycles."""

from collections.abc import Mapping

import optuna
from optuna.study import Study

from hpo.database import batches, rows
from hpo.database.connections import Connection
from hpo.definition.pruning import Pruning
from hpo.experiment.records import Attempt, Outcome
from hpo.mirror import states
from hpo.mirror.identity import optunas_name, shown_as
from hpo.mirror.study import OpenStudy
from hpo.planning import rungs
from hpo.search.optuna_pruners import optuna_pruner
from hpo.workers.claims import Claim
from hpo.workers.cycle_end import Ending


class OptunasPruner:
    """Asks one of Optuna's pruners about each trial, and counts those that it cuts."""

    def __init__(self, study: OpenStudy, pruning: Pruning) -> None:
        self._storage = study.storage
        self._study = study
        self._pruner = optuna_pruner(pruning)
        self._optunas: tuple[int, Study] | None = None  # with its id

    def cut(self, held: Claim, cycles: Mapping[int, int]) -> dict[int, Ending]:
        """Ask about the cells at the end of their ``cycles``, whose values Optuna has been told."""
        asked = rungs.cycles_with_rung(self._study.experiment)
        cells = [cell for cell, cycle in cycles.items() if cycle in asked]
        if not cells:
            return {}
        optunas, trial_ids = self._as_shown(held, cells)
        if optunas is None:
            return {}
        chosen = [cell for cell in cells if self._is_cut(optunas, trial_ids[cell])]

        def write(connection: Connection) -> dict[int, Ending]:
            study, some = self._study, [held.attempts[cell] for cell in chosen]
            let_go = {"seconds": rows.held_for(connection)}
            mine = batches.move(connection, study.uuid, some, held.token, **let_go)
            by_cycle: dict[int, list[Attempt]] = {}
            for attempt in mine:
                by_cycle.setdefault(cycles[attempt.slot.cell], []).append(attempt)
            for cycle, attempts in by_cycle.items():
                rungs.end_pruned(connection, study.stored, attempts, cycle)
            states.show_within(connection, study, mine)
            there = batches.standing(connection, study.uuid, some)  # lost ones have another token
            ours = [a.slot.cell for a in there if a.token == held.token]
            return {cell: Ending(Outcome.PRUNED, None) for cell in ours}

        return self._storage.write(write) if chosen else {}

    def _as_shown(
        self, held: Claim, cells: list[int]
    ) -> tuple[Study | None, dict[int, int | None]]:
        """Return Optuna's study as it is now, and the trials in it: others may have renamed it."""

        def look(connection: Connection) -> tuple[int | None, str, dict[int, int | None]]:
            study_id = shown_as(connection, self._study.uuid)
            name = optunas_name(connection, self._study.uuid)
            found: dict[int, int | None] = {}
            for cell in cells:
                present = rows.standing(connection, self._study.uuid, held.attempts[cell])
                found[cell] = present.trial_id if present else None
            return study_id, name, found

        study_id, name, trial_ids = self._storage.write(look)
        if study_id is None:
            return None, trial_ids
        if self._optunas is None or self._optunas[0] != study_id:
            opened = self._storage.retried(
                lambda: optuna.load_study(
                    study_name=name, storage=self._storage.optuna, pruner=self._pruner
                )
            )
            self._optunas = study_id, opened
        return self._optunas[1], trial_ids

    def _is_cut(self, optunas: Study, trial_id: int | None) -> bool:
        if trial_id is None:
            return False
        try:
            trial = self._storage.retried(lambda: self._storage.optuna.get_trial(trial_id))
            return self._storage.retried(lambda: self._pruner.prune(optunas, trial))
        except KeyError:  # deleted from Optuna between two looks; the next cycle asks again
            return False
