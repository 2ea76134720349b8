"""Optuna's record of our studies as a dashboard should show it: by our own tables, as they are now.

What Optuna's tables hold is less than we know, and its best trial is a network, ours a cell. So the
dashboard reads through this storage, which writes nothing: a complete trial's value is the mean of
its cell, the best trial is of the cell that `hpo best` names, a trial has its whole curve, and a
study a note in words. Networks of a cell that cannot be compared yet are shown as in training: until
all its seeds are there, a lucky one would lead.
"""

import json
import mimetypes
import time
import uuid as uuids
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

from optuna.storages import RDBStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection

from hpo.database import optuna_tables as optunas
from hpo.database import outcomes, rows, tally
from hpo.database.reader import Reader
from hpo.database.shown_storage import ShownStorage
from hpo.errors import is_of_one_study, reason_of
from hpo.experiment.records import Attempt, Outcome, Result, Slot, StoredStudy
from hpo.judging import ranking
from hpo.mirror import identity

KEPT_FOR = 2.0  #: seconds that trials are not read again, as a page asks for them several times
PIECE = 2045  #: characters of a note in one attribute, as the dashboard cuts it
OURS = uuids.UUID("5d0f6f3e-6f0b-4b7e-9c1b-6f1f4a0d9c55")  #: namespace of artifacts
VERSION, TEXT = "dashboard:note_ver", "dashboard:note_str:"  #: where the dashboard keeps notes


@dataclass(frozen=True)
class Remarks:
    """What is said of a study."""

    note: str = ""  #: Markdown
    attributes: dict[str, str] = field(default_factory=dict)
    #: Names of the files that can be made of it.
    files: tuple[str, ...] = ()


Remark = Callable[[Connection, StoredStudy], Remarks]


@dataclass(frozen=True)
class _Known:
    """What our tables have of a study's trials."""

    attempts: dict[int, Attempt]  #: by trial
    results: dict[Slot, Result]
    means: dict[int, float]  #: by cell
    winner: Result | None
    of_several: set[int]  #: cells with more than one network
    waited_for: set[int]  #: cells that are not decided
    curves: dict[Slot, dict[int, float]]


@dataclass(frozen=True)
class _Said:
    """What is said of a study, and what that rests on."""

    rests_on: object
    remarks: Remarks
    files: dict[str, str]  #: names by artifact; other ones when the study has gone on

    @classmethod
    def of(cls, uuid: str, rests_on: object, remarks: Remarks) -> "_Said":
        """Name the artifacts."""
        named = {
            str(uuids.uuid5(OURS, f"{uuid} {rests_on} {name}")): name for name in remarks.files
        }
        return cls(rests_on, remarks, named)

    def artifacts(self) -> dict[str, str]:
        """Return the study's attributes in which Optuna's tools look for artifacts."""
        found = {}
        for artifact, name in self.files.items():
            told = {"artifact_id": artifact, "filename": name, "encoding": None}
            told["mimetype"] = mimetypes.guess_type(name)[0] or "application/octet-stream"
            found[f"artifacts:{artifact}"] = json.dumps(told)
        return found


class DashboardStorage(ShownStorage):
    """What a dashboard is shown of a database; arguments as the module's text says."""

    def __init__(self, storage: RDBStorage, reader: Reader, remark: Remark) -> None:
        super().__init__(storage)
        self._reader, self._remark = reader, remark
        self._said: dict[str, _Said] = {}  # by uuid
        self._trials: dict[int, tuple[float, list[FrozenTrial]]] = {}

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return all studies; ours with a note and with what Optuna has no place for."""
        found = super().get_all_studies()
        said = self._reader.read(self._all_remarks)
        for study in found:
            ours = said.get(study._study_id)
            if ours is not None:
                told = ours.remarks.attributes
                study.user_attrs = {**told, **study.user_attrs, **told}
                noted = _with_note(study.system_attrs, ours.remarks.note)
                study.system_attrs = {**noted, **ours.artifacts()}
        return found

    def n_trials(self, study_id: int) -> int:
        """Return how many trials Optuna has of a study."""
        return self._reader.read(lambda connection: optunas.n_trials(connection, study_id))

    def file(self, artifact: str) -> tuple[str, str] | None:
        """Return the uuid of the study and the name of the file that an artifact is; None if of none."""
        for uuid, ours in list(self._said.items()):
            if artifact in ours.files:
                return uuid, ours.files[artifact]
        return None

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return what is said of a study."""
        found = self._of(study_id)
        return found.user_attrs if found else super().get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return what Optuna and its dashboard keep of a study."""
        found = self._of(study_id)
        return found.system_attrs if found else super().get_study_system_attrs(study_id)

    def _of(self, study_id: int) -> FrozenStudy | None:
        return next((s for s in self.get_all_studies() if s._study_id == study_id), None)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of a study, with our values."""
        read_at, found = self._trials.get(study_id, (-KEPT_FOR, []))
        if time.monotonic() - read_at > KEPT_FOR:
            found = super().get_all_trials(study_id, deepcopy=False)
            known = self._reader.read(lambda connection: _known(connection, study_id))
            if known is not None:
                for trial in found:
                    _amend(trial, known)
            self._trials[study_id] = (time.monotonic(), found)
        return [trial for trial in found if states is None or trial.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial, as Optuna has it."""
        return super().get_trial(trial_id)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the best network of the best cell; of studies that are not ours the best trial."""
        trials = self.get_all_trials(study_id, deepcopy=False)
        known = self._reader.read(lambda connection: _known(connection, study_id))
        if known is not None and known.winner is not None:
            chosen = (known.winner.slot, known.winner.attempt)
            for trial in trials:
                attempt = known.attempts.get(trial._trial_id)
                if attempt is not None and (attempt.slot, attempt.number) == chosen:
                    return trial
        return super().get_best_trial(study_id)

    def _all_remarks(self, connection: Connection) -> "dict[int, _Said]":
        """Return what is said of every study of ours, by Optuna's id."""
        counts, numbers = tally.counts_by_study(connection), outcomes.numbers(connection)
        found = {}
        for standing in identity.survey(connection):
            if standing.shown is None:
                continue
            rests_on = counts.get(standing.uuid), numbers.get(standing.uuid), standing.name
            known = self._said.get(standing.uuid)
            if known is None or known.rests_on != rests_on:
                remarks = self._remarks(connection, standing.uuid)
                known = _Said.of(standing.uuid, rests_on, remarks)
                self._said[standing.uuid] = known
            found[standing.shown.study_id] = known
        return found

    def _remarks(self, connection: Connection, uuid: str) -> Remarks:
        try:
            stored = rows.study_by_uuid(connection, uuid)
            return self._remark(connection, stored) if stored else Remarks()
        except Exception as error:
            if not is_of_one_study(error):
                raise
            return Remarks(f"This study cannot be read: {reason_of(error)}")


def _with_note(attributes: dict[str, Any], note: str) -> dict[str, Any]:
    """Return a study's attributes with our note before what somebody wrote there."""
    theirs = {key: value for key, value in attributes.items() if key.startswith(TEXT)}
    written = "".join(theirs.get(f"{TEXT}{i}", "") for i in range(len(theirs)))
    text = f"{note}\n\n---\n\n{written}" if written and note else note or written
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    kept = {key: value for key, value in attributes.items() if key not in theirs}
    ours = {f"{TEXT}{i}": piece for i, piece in enumerate(pieces)}
    return {**kept, VERSION: attributes.get(VERSION, 0) + bool(note), **ours}


def _known(connection: Connection, study_id: int) -> _Known | None:
    """Return what we know of a study of Optuna's; None if it is not ours, or cannot be read."""
    standings = identity.survey(connection)
    mine = (s for s in standings if s.shown is not None and s.shown.study_id == study_id)
    standing = next(mine, None)
    try:
        stored = rows.study_by_uuid(connection, standing.uuid) if standing else None
        if stored is None:
            return None
        results = outcomes.results_of(connection, stored.uuid)
    except Exception as error:
        if not is_of_one_study(error):
            raise
        return None
    attempts = rows.attempts_of(connection, stored.uuid)
    curves: dict[Slot, dict[int, float]] = {}
    for slot, n_updates, accuracy in outcomes.accuracies_of(connection, stored.uuid):
        if accuracy is not None:
            curves.setdefault(slot, {})[n_updates] = accuracy
    base = stored.experiment.definition.replicates
    done: dict[int, set[int]] = {}
    for result in results:
        done.setdefault(result.slot.cell, set()).add(result.slot.replicate)
    return _Known(
        attempts={a.trial_id: a for a in attempts if a.trial_id is not None},
        results={result.slot: result for result in results},
        means=ranking.cell_means(results, stored.experiment),
        winner=ranking.winner(results, stored.experiment),
        of_several={cell for cell, found in done.items() if len(found) > 1},
        waited_for={cell for cell, found in done.items() if not found >= set(range(base))},
        curves=curves,
    )


def _amend(trial: FrozenTrial, known: _Known) -> None:
    """Let a trial of ours say what we know; those of others stay as they are."""
    attempt = known.attempts.get(trial._trial_id)
    if attempt is None:
        return
    trial.intermediate_values = known.curves.get(attempt.slot, {})
    result = known.results.get(attempt.slot)
    if result is None or result.attempt != attempt.number:
        return
    mean = known.means.get(attempt.slot.cell)
    said = {"accuracy of this network": result.value, "mean of its cell": mean}
    told = {key: value for key, value in said.items() if value is not None}
    trial.user_attrs = {**trial.user_attrs, **told}
    if result.outcome != Outcome.COMPLETE or trial.state != TrialState.COMPLETE:
        return
    if mean is not None and result.value is not None:
        trial.values = [mean if attempt.slot.cell in known.of_several else result.value]
    elif attempt.slot.cell in known.waited_for:
        trial.user_attrs = {**trial.user_attrs, "waits for": "the other replicates of its cell"}
        trial.state, trial.values, trial.datetime_complete = TrialState.RUNNING, None, None
    else:  # it takes no part: it was lost in another replicate, or is no finalist
        trial.user_attrs = {**trial.user_attrs, "takes part": "no, see the note of the study"}
        trial.state = TrialState.PRUNED
