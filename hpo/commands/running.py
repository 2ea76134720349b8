"""How a run flows: settle the experiment, open the study, plan, work."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from hpo.data import parts, prepared
from hpo.data.source import Source
from hpo.database import housekeeping, leases
from hpo.database.connections import Connection
from hpo.database.fleet import GRACE
from hpo.database.locations import checked_url, sqlite_path
from hpo.database.reader import read_once
from hpo.database.storage import Interrupted, Storage
from hpo.definition.study import StudyDefinition, check_name, study_name
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import StoredStudy
from hpo.experiment.resolution import check_budget, resolve
from hpo.machine.console import say
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.planning import correction, parents, warm_start
from hpo.planning.plan import Plan, plan, stands
from hpo.search.proposals import check_installed
from hpo.training.cost import worth
from hpo.training.phases import Phases
from hpo.training.progress import Progress
from hpo.training.trainer import Trainer, facts
from hpo.workers import pool
from hpo.workers.member import Reserve
from hpo.workers.membership import Membership
from hpo.workers.worker import work
from model.data import Dataset, split


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
        """Slots without a result, of those that are known."""
        return self.after.n_slots - self.n_counted


def prepare(
    definition: StudyDefinition,
    dataset: Dataset,
    storage: Storage | None,
    *,
    name: str | None = None,
    parent_name: str | None = None,
    cell: int | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[str, OpenStudy | None, Experiment]:
    """Settle what is to be run: the study's name, the study if it exists, and the experiment.

    Args:
        storage: None where nothing is stored yet and nothing shall be.
        cell: The parent's cell to go on from, instead of its best one.

    Raises:
        DefinitionChanged: The stored study is another experiment.
        InvalidData: The order of the images makes no validation images of them.
        ParentUnfinished: The study that the grid is derived from has no result yet.
    """
    data = facts(dataset, definition)
    name = study_name(definition, data.name) if name is None else name
    existing = studies.find(storage, name, notify) if storage else None
    if storage is None or existing is None:
        check_name(name)  # others may have given a study any name
        parts.check(split(dataset, definition.n_validation), notify)
        parent = parents.chosen(definition, data, storage, parent_name, cell)
        experiment = resolve(definition, data, parent, notify)
        if definition.space is not None:
            check_installed(definition.space)
            check_budget(experiment, definition.space)
            experiment = _warmed(experiment, storage, notify)
        return name, None, experiment
    stored = existing.experiment.definition.replicates  # never fewer than there are
    definition = replace(definition, replicates=max(definition.replicates, stored))
    parent = parents.as_stored(existing, storage)
    asked = resolve(definition, data, parent, stored_cells=existing.experiment.cells)
    studies.compare(existing, asked)
    parents.check(existing, parent_name, cell)
    return existing.stored.name, existing, existing.experiment


def _warmed(
    experiment: Experiment, storage: Storage | None, notify: Callable[[str], None]
) -> Experiment:
    """Return the experiment with what earlier studies in the storage tell its search."""
    if storage is None or experiment.search is None:
        return experiment
    found = storage.read(lambda connection: warm_start.known(connection, experiment))
    if found:
        told = " and ".join(f"{len(cells)} cells of {name}" for name, cells in found.items())
        notify(f"The search knows {told}.")
    warm = tuple(cell for cells in found.values() for cell in cells)
    return replace(experiment, search=replace(experiment.search, warm=warm))


def open_for(
    definition: StudyDefinition,
    dataset: Dataset,
    url: str,
    stop: Callable[[], bool],
    *,
    name: str | None = None,
    parent_name: str | None = None,
    cell: int | None = None,
    notify: Callable[[str], None] = say,
) -> Storage:
    """Open the database for a study; one that could not run there makes no database.

    Raises:
        HpoError: As `prepare`.
    """
    path = sqlite_path(checked_url(url))
    if path is not None and not path.exists():
        prepare(definition, dataset, None, name=name, parent_name=parent_name, cell=cell)
    return Storage(url, stop, notify=notify)


def submit(
    definition: StudyDefinition,
    dataset: Dataset,
    storage: Storage,
    *,
    name: str | None = None,
    parent_name: str | None = None,
    cell: int | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[OpenStudy, Plan]:
    """Create or open a study and plan it; workers that are running will find it."""
    with leases.held(storage, "open studies"):
        name, study, experiment = prepare(
            definition,
            dataset,
            storage,
            name=name,
            parent_name=parent_name,
            cell=cell,
            notify=notify,
        )
        if study is None:
            study = studies.create(storage, name, experiment)
        study = studies.grow(storage, study, definition.replicates)
    correction.correct(storage, study)
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
    cell: int | None = None,
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
        definition, dataset, storage, name=name, parent_name=parent_name, cell=cell, notify=notify
    )
    n_missing = before.n_slots - before.n_counted - len(before.failed)
    if n_missing:
        n_updates = before.n_updates + before.n_unplanned
        study = studies.present(storage, study)
        progress.began(study.stored.name, study.experiment, n_updates)
        n_workers = n_workers or worth(study.experiment, n_updates)
        n_workers = min(n_workers, n_missing) if before.is_over else n_workers
        with suppress(Interrupted):  # what is done then is told all the same
            if n_workers > 1 and source is not None:
                images = prepared.pinned(source, dataset)
                pool.work(storage, study, images, n_workers, progress, stop, grace, reserve)
            else:
                phases = Phases(reserve.began)
                with Membership(storage, grace) as member:
                    trainer = Trainer(study.experiment, dataset)
                    identity = member.identity
                    work(storage, study, trainer, progress, stop, identity, phases=phases)
                phases.lap("database")
                progress.spent(phases)

    if not stop():
        with suppress(Interrupted):
            correction.settle(storage, studies.present(storage, study), notify)
            storage.write(housekeeping.sweep)  # of processes that had to be ended

    def look(connection: Connection) -> tuple[StoredStudy, Plan]:
        return studies.stored_now(connection, study), stands(connection, study)

    try:
        stored, after = storage.read(look)
        if stored.name != study.stored.name:
            notify(f"{study.stored.name!r} is called {stored.name!r} now; another tool renamed it.")
    except Interrupted:  # somebody holds the database, which keeps no reader from looking
        stored, after = read_once(storage.url, look)
    return Outcome(replace(study, stored=stored), before, after)
