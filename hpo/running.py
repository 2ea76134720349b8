"""How a run flows: settle the experiment, open the study, plan, work."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from hpo import crew, held_out, leases, rows
from hpo import study as studies
from hpo.checks import check_name
from hpo.definition import (
    DataFacts,
    Experiment,
    Parent,
    StudyDefinition,
    resolve,
    study_name,
    suffixed,
)
from hpo.errors import ParentUnfinished
from hpo.fleet import GRACE, Membership
from hpo.grids import ParentCell
from hpo.hosts import usable_cores
from hpo.locations import checked_url, sqlite_path
from hpo.member import Reserve
from hpo.plan import Plan, plan, stands
from hpo.profile import Phases
from hpo.progress import Progress
from hpo.reader import read_once
from hpo.sources import Source
from hpo.storage import Interrupted, Storage
from hpo.study import OpenStudy
from hpo.trainer import WIDTH, Trainer, facts
from hpo.worker import work
from model.data import Dataset

FLOPS = 60e9  #: operations a second in the products of a stack, about
UPDATE_OVERHEAD = 0.3e-3  #: seconds of an update that are not products, about
WORTH_A_PROCESS = 5.0  #: seconds of training from which a second process pays for its start


@dataclass(frozen=True)
class Outcome:
    """What a run found and did."""

    study: OpenStudy
    before: Plan  #: how the study stood when the run began
    after: Plan  #: and when it ended

    @property
    def n_counted(self) -> int:
        """Results that the study has now."""
        return self.after.n_counted

    @property
    def n_missing(self) -> int:
        """Slots without a result."""
        return self.before.n_slots - self.n_counted


def prepare(
    definition: StudyDefinition,
    dataset: Dataset,
    storage: Storage | None,
    *,
    name: str | None = None,
    parent_name: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[str, OpenStudy | None, Experiment]:
    """Settle what is to be run: the study's name, the study if it exists, and the experiment.

    Args:
        storage: None where nothing is stored yet and nothing shall be.

    Raises:
        DefinitionChanged: The stored study is another experiment.
        ParentUnfinished: The study that the grid is derived from has no result yet.
    """
    data = facts(dataset, definition)
    name = study_name(definition, data.name) if name is None else name
    check_name(name)
    existing = studies.find(storage, name) if storage else None
    if storage is None or existing is None:
        parent = _parent(definition, data, storage, parent_name)
        return name, None, resolve(definition, data, parent, notify)
    stored = existing.experiment.definition.replicates  # never fewer than there are
    definition = replace(definition, replicates=max(definition.replicates, stored))
    asked = resolve(definition, data, _stored_parent(existing, storage))
    studies.compare(existing, asked)
    _check_parent_name(existing, parent_name)
    return name, existing, existing.experiment


def open_for(
    definition: StudyDefinition,
    dataset: Dataset,
    url: str,
    stop: Callable[[], bool],
    *,
    name: str | None = None,
    parent_name: str | None = None,
) -> Storage:
    """Open the database for a study; one that could not run there makes no database.

    Raises:
        HpoError: As `prepare`.
    """
    path = sqlite_path(checked_url(url))
    if path is not None and not path.exists():
        prepare(definition, dataset, None, name=name, parent_name=parent_name)
    return Storage(url, stop)


def worth(experiment: Experiment, n_missing: int) -> int:
    """Return how many workers pay for their start: one for a small study, else every core."""
    definition, data = experiment.definition, experiment.data
    products = 4 * experiment.n_updates * definition.batch_size * data.d * definition.hidden
    stacks = n_missing / (1 if definition.protocol == "notebook" else WIDTH)
    overhead = max(1.0, stacks) * experiment.n_updates * UPDATE_OVERHEAD
    seconds = n_missing * products / FLOPS + overhead
    return usable_cores() if seconds > WORTH_A_PROCESS else 1


def submit(
    definition: StudyDefinition,
    dataset: Dataset,
    storage: Storage,
    *,
    name: str | None = None,
    parent_name: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[OpenStudy, Plan]:
    """Create or open a study and plan it; workers that are running will find it."""
    with leases.held(storage, "open studies"):
        name, study, experiment = prepare(
            definition, dataset, storage, name=name, parent_name=parent_name, notify=notify
        )
        if study is None:
            study = studies.create(storage, name, experiment)
        study = studies.grow(storage, study, definition.replicates)
    return study, plan(storage, study)


def run(
    definition: StudyDefinition,
    dataset: Dataset,
    storage: Storage,
    progress: Progress,
    stop: Callable[[], bool],
    *,
    name: str | None = None,
    parent_name: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
    n_workers: int | None = 1,
    source: Source | None = None,
    grace: float = GRACE,
    reserve: Reserve | None = None,
) -> Outcome:
    """Bring a study to its end, whatever of it exists, or as far as ``stop`` lets it.

    Args:
        n_workers: Processes that train, or None for as many as are worth it; a single worker is
            this process.
        source: Where the other processes find ``dataset``; needed for more than one.
        reserve: Processes that were started early.
    """
    reserve = reserve or Reserve()
    study, before = submit(
        definition, dataset, storage, name=name, parent_name=parent_name, notify=notify
    )
    n_missing = before.n_slots - before.n_counted - len(before.failed)
    if n_missing:
        progress.began(study.stored.name, study.experiment, n_missing)
        n_workers = min(n_workers or worth(study.experiment, n_missing), n_missing)
        with suppress(Interrupted):  # what is done then is told all the same
            if n_workers > 1 and source is not None:
                crew.work(storage, study, source, n_workers, progress, stop, grace, reserve)
            else:
                phases = Phases(reserve.began)
                with Membership(storage, grace) as member:
                    trainer = Trainer(study.experiment, dataset)
                    identity = member.identity
                    work(storage, study, trainer, progress, stop, identity, phases=phases)
                phases.lap("database")
                progress.spent(phases)
    try:
        after = storage.write(lambda connection: stands(connection, study))
    except Interrupted:  # somebody holds the database, which keeps no reader from looking
        after = read_once(storage.url, lambda connection: stands(connection, study))
    return Outcome(study, before, after)


def show_test_images(
    storage: Storage, study: OpenStudy, dataset: Dataset, source: Source
) -> held_out.Look | None:
    """Show the test images to the best network of a finished study; None if all diverged."""
    best = studies.best_result(
        storage.write(lambda connection: rows.results_of(connection, study.uuid))
    )
    if best is None:
        return None
    trainer = Trainer(study.experiment, dataset)
    what = f"the final weights of {study.stored.name}, cell {best.slot.cell}"

    def examine(test: Dataset) -> NDArray[np.bool_]:
        network = storage.write(
            lambda connection: held_out.final_network(connection, study.stored, best.slot)
        )
        right: NDArray[np.bool_] = trainer.examine(network, test)[1][0]
        return right

    return held_out.look(storage, study.uuid, best.slot, what, examine, source)


def _parent(
    definition: StudyDefinition, data: DataFacts, storage: Storage | None, parent_name: str | None
) -> Parent | None:
    """Return the finished parent and its best cell, or None for a study without one."""
    if definition.parent is None:
        if parent_name is not None:
            raise ParentUnfinished(
                f"{definition.name!r} is derived from no other study, so --from has no meaning."
            )
        return None
    wanted = parent_name or suffixed(definition.parent, data.name, definition.protocol)
    if storage is None or studies.find(storage, wanted) is None:
        known = ", ".join(studies.names(storage) if storage else []) or "none yet"
        raise ParentUnfinished(
            f"{definition.name!r} needs the finished study {wanted!r}, which is not in this storage "
            f"(it holds: {known}). Run `hpo run {definition.parent}` first, or name one with --from."
        )

    def read(connection: Connection) -> Parent:
        stored = studies.stored(connection, wanted)
        best = studies.finished_best(connection, stored).slot.cell
        cell = ParentCell(stored.name, stored.uuid, best, stored.experiment.lambdas[best])
        return Parent(cell, stored.experiment)

    parent = storage.write(read)
    stored = parent.experiment.data
    if stored.fingerprint != data.fingerprint:
        raise ParentUnfinished(
            f"{wanted!r} was trained on other images ({stored.name}, fingerprint "
            f"{stored.fingerprint[:12]}...; these have {data.fingerprint[:12]}...). "
            "Use the same --data for both."
        )
    return parent


def _stored_parent(study: OpenStudy, storage: Storage) -> Parent | None:
    """Return the parent as the study stored it: its cell never moves, whatever became of it."""
    cell = study.experiment.parent
    if cell is None:
        return None

    def read(connection: Connection) -> Experiment | None:
        stored = rows.study_by_uuid(connection, cell.uuid)
        return stored.experiment if stored else None

    return Parent(cell, storage.write(read) or study.experiment)


def _check_parent_name(study: OpenStudy, parent_name: str | None) -> None:
    parent = study.experiment.parent
    if parent_name is not None and (parent is None or parent.study != parent_name):
        derived = repr(parent.study) if parent else "no other study"
        raise ParentUnfinished(
            f"{study.stored.name!r} is derived from {derived}, not from {parent_name!r}. "
            "Give the new one a name with --name."
        )
