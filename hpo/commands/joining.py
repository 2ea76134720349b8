"""A worker that joins from outside: finds studies with work for its images, and does it.

A study that cannot be worked on, or is deleted meanwhile, costs this worker a line and no other
study anything.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from hpo.database import outcomes, rows, tally
from hpo.database.connections import Connection
from hpo.database.storage import Interrupted, Storage
from hpo.errors import (
    DataUnavailable,
    StudyDeleted,
    StudyUnreadable,
    is_of_one_study,
    reason_of,
)
from hpo.experiment.records import Slot, State, StoredStudy
from hpo.mirror import shelf
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.planning import correction
from hpo.planning.plan import Plan, plan, slots_of, stands
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
            n_before = counter.n_ended
            busy = desk.with_work()
            present = {study.uuid for study in busy}
            trainers = {uuid: trainers[uuid] for uuid in trainers.keys() & present}
            for stored in busy:
                others = sorted(present - {stored.uuid})
                try:
                    _work_for(
                        storage, stored, dataset, trainers, counter, stop, member.identity, others
                    )
                except Interrupted:
                    return counter.n_ended
                except Exception as error:
                    if not is_of_one_study(error):
                        raise
                    desk.pass_by(stored, error)
                    present.discard(stored.uuid)
            if not present and not watch:
                break
            if counter.n_ended == n_before:
                time.sleep(PAUSE * random.uniform(0.5, 1.0))  # so that not all look at once
    return counter.n_ended


def _work_for(
    storage: Storage,
    stored: StoredStudy,
    dataset: Dataset,
    trainers: dict[str, Trainer],
    counter: "_Counter",
    stop: Callable[[], bool],
    identity: dict[str, Any],
    others: Sequence[str],
) -> None:
    """Train what is waiting in a study, which is planned first if nothing is.

    Args:
        others: Studies that are turned to when nothing waits in this one.
    """
    study = studies.by_uuid(storage, stored.uuid)
    if study is None:
        raise StudyDeleted(stored.name)
    trainer = trainers.setdefault(study.uuid, Trainer(study.experiment, dataset))
    before = _standing(study)
    if before is None:
        correction.correct(study)
        before = plan(study)
        study = studies.present(study)
    counter.began(study.stored.name, study.experiment, before.n_updates + before.n_unplanned)
    work(study, trainer, counter, stop, identity, elsewhere=others)
    if not stop() and not storage.read(lambda connection: tally.any_left(connection, study.uuid)):
        correction.settle(studies.present(study), counter.warn)


def _standing(study: OpenStudy) -> Plan | None:
    """Return how a study stands in which something waits; None of one that must be planned."""

    def read(connection: Connection) -> Plan | None:
        return stands(connection, study) if tally.any_waits(connection, study.uuid) else None

    return study.storage.read(read)


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
        self._over: dict[str, StoredStudy] = {}  # by uuid, as it was when it wanted no more
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
        live = self._storage.read(tally.live_by_study)
        busy = self._storage.read(
            lambda c: [study for study in wanted if self._is_busy(c, study, live)]
        )
        # Where something waits there is work; else there are others to wait for.
        return sorted(busy, key=lambda study: State.WAITING not in live.get(study.uuid, {}))

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
        self, connection: Connection, study: StoredStudy, live: dict[str, dict[str, int]]
    ) -> bool:
        if study.uuid in live:
            return True
        if self._over.get(study.uuid) == study:
            return False
        try:
            wants_more = _wants_more(connection, study)
        except Exception as error:
            if not is_of_one_study(error):
                raise
            self.pass_by(study, error)
            return False
        if not wants_more:  # nor will it, until its row changes or somebody plans it
            self._over[study.uuid] = study
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
