"""A worker that joins from outside: finds studies with work for its images, and does it.

A study that cannot be worked on, or is deleted meanwhile, costs this worker a line and no other
study anything.
"""

import json
import random
import time
from collections.abc import Callable, Sequence

from hpo.commands.desk import Desk
from hpo.database import damage, queue, tally
from hpo.database.connections import Connection
from hpo.database.storage import Interrupted, Storage
from hpo.errors import DataUnavailable, HpoError, StudyDeleted, is_of_one_study
from hpo.experiment.records import Slot, StoredStudy
from hpo.machine.environment import versions
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.planning import correction
from hpo.planning.plan import Plan, plan, stands
from hpo.training.progress import Progress
from hpo.training.trainer import Trainer
from hpo.workers.membership import Membership
from hpo.workers.outlook import called_off
from hpo.workers.worker import work
from model.data import Dataset

PAUSE = 1.0  #: seconds between two looks for new work


def join(
    storage: Storage,
    dataset: Dataset,
    wanted: Sequence[str],
    progress: Progress,
    stop: Callable[[], bool],
    watch: bool,
    grace: float,
    idle_exit: float | None = None,
) -> int:
    """Train what is waiting in ``wanted`` studies, or in all on these images; return how much.

    Args:
        watch: Wait for more when there is nothing left.
        idle_exit: Wait for so many seconds at most.

    Raises:
        StudyNotFound: A wanted study is not there.
        StudyUnreadable: A wanted study is damaged.
        DataUnavailable: A wanted study is about other images.
    """
    counter = _Counter(progress)
    trainers: dict[str, Trainer] = {}
    uuids = _found(storage, dataset, wanted, progress.warn)
    with Membership(storage, grace, dataset.fingerprint) as member:
        desk = Desk(storage, dataset, wanted, uuids, progress)
        idle_since, watch = time.monotonic(), watch or idle_exit is not None
        while not stop():
            n_before = counter.n_ended
            busy = desk.with_work()
            present = {study.uuid for study in busy}
            trainers = {uuid: trainers[uuid] for uuid in trainers.keys() & present}
            for stored in busy:
                others = sorted(present - {stored.uuid})
                try:
                    _work_for(storage, stored, dataset, trainers, counter, stop, member, others)
                except Interrupted:
                    return counter.n_ended
                except Exception as error:
                    if not is_of_one_study(error):
                        raise
                    desk.pass_by(stored, error)
                    present.discard(stored.uuid)
                if counter.n_ended > n_before:
                    break  # whoever has come meanwhile may be served first
            if present:
                idle_since = time.monotonic()
            if not present and not watch:
                break
            if idle_exit is not None and time.monotonic() - idle_since > idle_exit:
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
    member: Membership,
    others: Sequence[str],
) -> None:
    """Train what is waiting in a study, which is planned first if nothing is.

    Args:
        others: Studies that are turned to when nothing waits in this one.
    """
    study = studies.by_uuid(storage, stored.uuid)
    if study is None:
        raise StudyDeleted(stored.name)
    _begin(study)
    trainer = trainers.setdefault(study.uuid, Trainer(study.experiment, dataset))
    before = _standing(study)
    if before is None:
        correction.correct(study)
        before = plan(study)
        study = studies.present(study)
    counter.began(study.stored.name, study.experiment, before.n_updates + before.n_unplanned)
    work(study, trainer, counter, stop, member, elsewhere=others)
    if not stop() and not storage.read(lambda connection: tally.any_left(connection, study.uuid)):
        correction.settle(studies.present(study), counter.warn)


def _begin(study: OpenStudy) -> None:
    """Refuse a study that is trained with other versions than those here; else note these.

    Raises:
        HpoError: Its results would be mixed.
    """
    here = versions()
    place = study.storage.read(lambda connection: queue.place(connection, study.uuid))
    if place.versions is None:
        told = json.dumps(here, sort_keys=True)
        study.storage.write(lambda connection: queue.begin(connection, study.uuid, told))
        return
    there = damage.parsed(place.versions, "What the queue says of versions")
    if isinstance(there, dict) and there != here:
        raise HpoError(_differ(there, here))


def _differ(there: dict[str, str], here: dict[str, str]) -> str:
    theirs, ours = (
        ", ".join(f"{what} {told.get(what)}" for what in here if there.get(what) != here[what])
        for told in (there, here)
    )
    return (
        f"it is trained with {theirs}, and here is {ours}. `hpo run` goes on with it all the same, and "
        "its results say that they are mixed."
    )


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


def _found(
    storage: Storage, dataset: Dataset, wanted: Sequence[str], warn: Callable[[str], None]
) -> list[str]:
    """Return the uuids of wanted studies; refuse names that mean nothing here."""

    def read(connection: Connection) -> tuple[list[str], list[str]]:
        uuids, told = [], []
        for name in wanted:
            stored = studies.stored(connection, name)
            if stored.experiment.data.fingerprint != dataset.fingerprint:
                raise DataUnavailable(
                    f"{stored.name!r} is about {stored.experiment.data.name} images with another "
                    "fingerprint than these. Name the right ones with --data."
                )
            uuids.append(stored.uuid)
            if queue.place(connection, stored.uuid).is_cancelled:
                told.append(called_off(stored))
        return uuids, told

    uuids, told = storage.read(read)
    for text in told:
        warn(text)
    return uuids
