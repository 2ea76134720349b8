"""A worker that joins from outside: finds studies with work for its images, and does it.

A study that cannot be worked on, or is deleted meanwhile, costs this worker a line and no other
study anything.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from hpo.database import outcomes, rows
from hpo.database.connections import Connection
from hpo.database.storage import Interrupted, Storage
from hpo.database.tables import LIVE
from hpo.errors import (
    DataUnavailable,
    StudyDeleted,
    StudyUnreadable,
    is_of_one_study,
    reason_of,
)
from hpo.experiment.records import Slot, StoredStudy
from hpo.mirror import shelf
from hpo.mirror import study as studies
from hpo.planning import correction
from hpo.planning.plan import plan, slots_of
from hpo.training.progress import Progress
from hpo.training.trainer import Trainer
from hpo.workers.membership import Membership
from hpo.workers.worker import work
from model.data import Dataset

PAUSE = 1.0  #: seconds between two looks for new work
TRY_AGAIN = 60.0  #: seconds after which a study that could not be worked on is tried again


def join(
    storage: Storage,
    dataset: Dataset,
    wanted: Sequence[str],
    progress: Progress,
    stop: Callable[[], bool],
    watch: bool,
    grace: float,
) -> int:
    """Train what is waiting in ``wanted`` studies, or in all on these images; return how much.

    Raises:
        StudyNotFound: A wanted study is not there.
        StudyUnreadable: A wanted study is damaged.
        DataUnavailable: A wanted study is about other images.
    """
    counter = _Counter(progress)
    trainers: dict[str, Trainer] = {}
    uuids = _found(storage, dataset, wanted)
    with Membership(storage, grace) as member:
        desk = _Desk(storage, dataset, wanted, uuids, progress)
        while not stop():
            worked = False
            busy = desk.with_work()
            trainers = {
                study.uuid: trainers[study.uuid] for study in busy if study.uuid in trainers
            }
            for stored in busy:
                try:
                    _work_for(storage, stored, dataset, trainers, counter, stop, member.identity)
                    worked = True
                except Interrupted:
                    return counter.n_ended
                except Exception as error:
                    if not is_of_one_study(error):
                        raise
                    desk.pass_by(stored, error)
            if not worked:
                if not watch:
                    break
                time.sleep(PAUSE)
    return counter.n_ended


def _work_for(
    storage: Storage,
    stored: StoredStudy,
    dataset: Dataset,
    trainers: dict[str, Trainer],
    counter: "_Counter",
    stop: Callable[[], bool],
    identity: dict[str, Any],
) -> None:
    """Plan a study and train what is waiting in it."""
    study = studies.by_uuid(storage, stored.uuid)
    if study is None:
        raise StudyDeleted(stored.name)
    trainer = trainers.setdefault(study.uuid, Trainer(study.experiment, dataset))
    correction.correct(study)
    before = plan(study)
    study = studies.present(study)
    counter.began(study.stored.name, study.experiment, before.n_updates + before.n_unplanned)
    work(study, trainer, counter, stop, identity)
    if not stop():
        correction.settle(studies.present(study), counter.warn)


class _Counter:
    """Hands on what it is told, and counts what was trained."""

    def __init__(self, progress: Progress) -> None:
        self.n_ended = 0
        self._progress = progress
        self.began, self.grew = progress.began, progress.grew
        self.claimed, self.advanced = progress.claimed, progress.advanced
        self.warn, self.spent = progress.warn, progress.spent

    def ended(self, slot: Slot, outcome: str, value: float | None) -> None:
        self.n_ended += 1
        self._progress.ended(slot, outcome, value)


class _Desk:
    """Says which studies are worth a try, and once why one is not."""

    def __init__(
        self,
        storage: Storage,
        dataset: Dataset,
        wanted: Sequence[str],
        uuids: Sequence[str],
        progress: Progress,
    ) -> None:
        self._storage, self._progress = storage, progress
        self._wanted = {*wanted, *uuids}  # one may be renamed, or deleted and made again
        self._fingerprint = dataset.fingerprint
        self._told: dict[str, str] = {}  # by uuid, what was said of a study
        self._over: dict[str, tuple[StoredStudy, dict[str, int]]] = {}  # by uuid, when it was
        self._put_off: dict[
            str, tuple[StoredStudy, float]
        ] = {}  # by uuid, with the time until when

    def with_work(self) -> list[StoredStudy]:
        """Return the studies on these images in which something waits or runs."""
        found = self._storage.read(shelf.look)
        for damaged in found.unreadable:
            if not self._wanted or self._wanted & {damaged.name, damaged.uuid}:
                self._say(damaged.uuid, str(StudyUnreadable(damaged.name, damaged.reason)))
        here = {study.uuid for study in found.studies} | {s.uuid for s in found.unreadable}
        for known in (self._told, self._put_off, self._over):
            for uuid in known.keys() - here:
                del known[uuid]
        wanted = [study for study in found.studies if self._is_wanted(study)]
        if not wanted:
            return []
        counts = self._storage.read(rows.counts_by_study)
        return self._storage.read(
            lambda c: [study for study in wanted if self._is_busy(c, study, counts)]
        )

    def pass_by(self, study: StoredStudy, error: Exception) -> None:
        """Leave a study alone until its row changes, or for a while."""
        self._put_off[study.uuid] = study, time.monotonic() + TRY_AGAIN
        if isinstance(error, StudyDeleted):
            self._say(study.uuid, str(error))
        else:
            self._say(study.uuid, f"{study.name!r} is passed by: {reason_of(error)}")

    def _say(self, uuid: str, text: str) -> None:
        if self._told.get(uuid) != text:
            self._told[uuid] = text
            self._progress.warn(text)

    def _is_wanted(self, study: StoredStudy) -> bool:
        if study.experiment.data.fingerprint != self._fingerprint:
            return False
        if self._wanted and not self._wanted & {study.name, study.uuid}:
            return False
        before, until = self._put_off.get(study.uuid, (None, 0.0))
        return study != before or time.monotonic() > until

    def _is_busy(
        self, connection: Connection, study: StoredStudy, counts: dict[str, dict[str, int]]
    ) -> bool:
        states = counts.get(study.uuid, {})
        if any(states.get(state) for state in LIVE):
            return True
        if self._over.get(study.uuid) == (study, states):
            return False
        try:
            wants_more = _wants_more(connection, study)
        except Exception as error:
            if not is_of_one_study(error):
                raise
            self.pass_by(study, error)
            return False
        if not wants_more:  # nor will it, until its row or its attempts change
            self._over[study.uuid] = study, states
        return wants_more


def _found(storage: Storage, dataset: Dataset, wanted: Sequence[str]) -> list[str]:
    """Return the uuids of wanted studies; refuse names that mean nothing here."""

    def read(connection: Connection) -> list[str]:
        uuids = []
        for name in wanted:
            stored = studies.stored(connection, name)
            if stored.experiment.data.fingerprint != dataset.fingerprint:
                raise DataUnavailable(
                    f"{stored.name!r} is about {stored.experiment.data.name} images with another "
                    "fingerprint than these. Name the right ones with --data."
                )
            uuids.append(stored.uuid)
        return uuids

    return storage.read(read)


def _wants_more(connection: Connection, study: StoredStudy) -> bool:
    """Tell whether nobody has planned what comes next, as between two generations of a search."""
    results = {result.slot for result in outcomes.results_of(connection, study.uuid)}
    missing = [slot for slot in slots_of(study.experiment) if slot not in results]
    if not missing:
        search = study.experiment.search
        return search is not None and not search.is_over
    planned = {attempt.slot for attempt in rows.attempts_of(connection, study.uuid)}
    return any(slot not in planned for slot in missing)
