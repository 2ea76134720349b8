"""How a run flows: settle the experiment, open the study, plan, work."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from hpo import crew, leases, rows
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
    cell: int | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[str, OpenStudy | None, Experiment]:
    """Settle what is to be run: the study's name, the study if it exists, and the experiment.

    Args:
        storage: None where nothing is stored yet and nothing shall be.
        cell: The parent's cell to go on from, instead of its best one.

    Raises:
        DefinitionChanged: The stored study is another experiment.
        ParentUnfinished: The study that the grid is derived from has no result yet.
    """
    data = facts(dataset, definition)
    name = study_name(definition, data.name) if name is None else name
    check_name(name)
    existing = studies.find(storage, name) if storage else None
    if storage is None or existing is None:
        parent = _parent(definition, data, storage, parent_name, cell)
        return name, None, resolve(definition, data, parent, notify)
    stored = existing.experiment.definition.replicates  # never fewer than there are
    definition = replace(definition, replicates=max(definition.replicates, stored))
    asked = resolve(definition, data, _stored_parent(existing, storage))
    studies.compare(existing, asked)
    _check_parent(existing, parent_name, cell)
    return name, existing, existing.experiment


def open_for(
    definition: StudyDefinition,
    dataset: Dataset,
    url: str,
    stop: Callable[[], bool],
    *,
    name: str | None = None,
    parent_name: str | None = None,
    cell: int | None = None,
) -> Storage:
    """Open the database for a study; one that could not run there makes no database.

    Raises:
        HpoError: As `prepare`.
    """
    path = sqlite_path(checked_url(url))
    if path is not None and not path.exists():
        prepare(definition, dataset, None, name=name, parent_name=parent_name, cell=cell)
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


def _parent(
    definition: StudyDefinition,
    data: DataFacts,
    storage: Storage | None,
    parent_name: str | None,
    cell: int | None,
) -> Parent | None:
    """Return the finished parent with a cell of it, its best one or ``cell``; None without one."""
    if definition.parent is None:
        for option, given in (("--from", parent_name), ("--cell", cell)):
            if given is not None:
                raise ParentUnfinished(
                    f"{definition.name!r} is derived from no other study, so {option} has no meaning."
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
        best, lambdas = studies.finished_best(connection, stored), stored.experiment.lambdas
        chosen = best.slot.cell if cell is None else cell
        if chosen >= len(lambdas):
            raise ParentUnfinished(
                f"The cells of {wanted!r} are 0 to {len(lambdas) - 1}; --cell {chosen} is none of them."
            )
        found = ParentCell(stored.name, stored.uuid, chosen, lambdas[chosen])
        return Parent(found, stored.experiment)

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


def _check_parent(study: OpenStudy, parent_name: str | None, cell: int | None) -> None:
    """Refuse another parent, or another cell of it, than the stored study was derived from."""
    parent = study.experiment.parent
    name = study.stored.name
    if parent_name is not None and (parent is None or parent.study != parent_name):
        derived = repr(parent.study) if parent else "no other study"
        raise ParentUnfinished(
            f"{name!r} is derived from {derived}, not from {parent_name!r}. "
            "Give the new one a name with --name."
        )
    if cell is not None and (parent is None or parent.cell != cell):
        derived = f"cell {parent.cell} of {parent.study!r}" if parent else "no other study"
        raise ParentUnfinished(
            f"{name!r} is derived from {derived}, so --cell {cell} is for another study. "
            "Give that one a name with --name."
        )
