"""How a run flows: settle the experiment, open the study, plan, work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from hpo.commands import budgets, elsewhere, speed
from hpo.commands.request import Order
from hpo.data import parts, prepared
from hpo.database import housekeeping, leases, queue
from hpo.database.connections import Connection
from hpo.database.fleet import GRACE
from hpo.database.locations import checked_url, sqlite_path
from hpo.database.reader import read_once
from hpo.database.storage import Interrupted, Storage
from hpo.definition.study import check_name
from hpo.errors import HpoError
from hpo.experiment.budgets import largest
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import StoredStudy
from hpo.experiment.resolution import check_budget, resolve
from hpo.held_out import looking
from hpo.machine.console import say
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.planning import correction, parents, seeds, warm_start
from hpo.planning.plan import Plan, plan, stands
from hpo.search.proposals import check_installed
from hpo.training.cost import worth
from hpo.training.phases import Phases
from hpo.training.progress import Progress
from hpo.training.trainer import Trainer, facts
from hpo.workers import pool
from hpo.workers.member import Reserve
from hpo.workers.membership import Membership
from hpo.workers.outlook import called_off
from hpo.workers.worker import work
from model.data import split

Stop = Callable[[], bool]


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
    def looks_at_test_images(self) -> bool:
        """Whether the study is one that ends with them, and is at its end."""
        return self.after.is_complete and self.study.experiment.definition.evaluates_test

    @property
    def n_missing(self) -> int:
        """Slots without a result, of those that are known."""
        return self.after.n_slots - self.n_counted


def prepare(
    order: Order, storage: Storage | None, notify: Callable[[str], None] = lambda _: None
) -> tuple[str, OpenStudy | None, Experiment]:
    """Settle what is to be run: the study's name, the study if it exists, and the experiment.

    Args:
        storage: None where nothing is stored yet and nothing shall be.

    Raises:
        DefinitionChanged: The stored study is another experiment.
        BudgetChanged: It has a larger budget.
        InvalidData: The order of the images makes no validation images of them.
        ParentUnfinished: The study that the grid is derived from has no result yet.
    """
    definition, name = order.definition, order.study_name
    existing = studies.find(storage, name, notify) if storage else None
    if storage is None or existing is None:
        check_name(name)  # others may have given a study any name
        data = facts(order.dataset, definition)
        parts.check(split(order.dataset, definition.n_validation), notify)
        parent = parents.chosen(definition, data, storage, order.parent, order.cell)
        experiment = resolve(definition, data, parent, notify)
        if definition.space is not None:
            check_installed(definition.space)
            check_budget(experiment, definition.space)
            experiment = _warmed(experiment, storage, notify)
        return name, None, experiment
    n = max(definition.replicates, existing.experiment.definition.replicates)
    said, order = order, budgets.compared(order, existing.experiment)
    definition = replace(order.definition, replicates=n)  # never fewer than there are
    data, parent = facts(order.dataset, definition), parents.as_stored(existing, storage)
    asked = resolve(definition, data, parent, stored=existing.experiment)
    studies.compare(existing.stored, asked)
    parents.check(existing, order.parent, order.cell)
    budgets.settled(said, existing.stored.name, existing.experiment)
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


def open_for(order: Order, url: str, stop: Stop, notify: Callable[[str], None] = say) -> Storage:
    """Open the database for a study; one that could not run there makes no database.

    Raises:
        HpoError: As `prepare`.
    """
    path = sqlite_path(checked_url(url))
    if path is not None and not path.exists():
        prepare(order, None)
    return Storage(url, stop, notify=notify)


def submit(
    order: Order, storage: Storage, notify: Callable[[str], None] = lambda _: None
) -> tuple[OpenStudy, Plan]:
    """Create or open a study and plan it; workers that are running will find it."""
    minutes = order.amount.minutes if order.amount else 0
    with leases.held(storage, "open studies"):
        name, study, experiment = prepare(order, storage, notify)
        if study is None:
            study = studies.create(storage, name, budgets.measured(experiment, minutes))
        order = budgets.settled(order, name, study.experiment)
        study = studies.grow(study, order.definition.replicates)
        study = seeds.give(study, order.definition.replicates)
        if order.definition.space is not None:
            study = studies.enlarge(study, order.definition.space.budget, minutes)
        if storage.read(lambda connection: queue.place(connection, study.uuid)).is_cancelled:
            storage.write(lambda connection: queue.renew(connection, study.uuid))
    correction.correct(study)
    return study, plan(study)


@contextmanager
def to_the_end(
    order: Order,
    url: str,
    progress: Progress,
    stop: Stop,
    *,
    n_workers: int | None = 1,
    grace: float = GRACE,
    reserve: Reserve | None = None,
    again: bool = False,
    announce: Callable[[str], None] | None = None,
    dask: str | None = None,
) -> Iterator[Outcome]:
    """Run a study in the database at ``url``, which is open until the block ends.

    One that ends with the test images is shown them.

    Args:
        again: Look also where a look was taken before.
        announce: Is told how long a search will take, which is measured for it.
        dask: The scheduler of a cluster whose workers train, see `hpo.commands.elsewhere`.

    Raises:
        HpoError: As `run`.
        Interrupted: ``stop`` said so where nothing of it could be told.
    """
    if dask is not None:
        elsewhere.reached(url, dask)  # before there is a study
    order = budgets.in_updates(order, url, n_workers, progress.warn)
    with open_for(order, url, stop, progress.warn) as storage:
        tested = order.source if order.definition.evaluates_test else None
        if tested is not None and studies.find(storage, order.study_name) is None:
            looking.check(tested)  # before anything is trained
        outcome = run(
            order,
            storage,
            progress,
            stop,
            n_workers=n_workers,
            grace=grace,
            reserve=reserve,
            announce=announce,
            dask=dask,
        )
        if outcome.looks_at_test_images and order.source is not None:
            from hpo.held_out import final

            final.show_test_images(outcome.study, order.dataset, order.source, again=again)
        yield outcome


def run(
    order: Order,
    storage: Storage,
    progress: Progress,
    stop: Stop,
    *,
    n_workers: int | None = 1,
    grace: float = GRACE,
    reserve: Reserve | None = None,
    announce: Callable[[str], None] | None = None,
    dask: str | None = None,
) -> Outcome:
    """Bring a study to its end, whatever of it exists, or as far as ``stop`` lets it.

    Args:
        n_workers: Processes that train, or None for as many as are worth it; a single worker is
            this process. More than one need the order's ``source``.
        reserve: Processes that were started early.
        announce, dask: As for `to_the_end`.
    """
    study, before = submit(order, storage, progress.warn)
    if before.n_slots - before.n_counted - len(before.failed):
        study = studies.present(study)
        with suppress(Interrupted):  # what is done then is told all the same
            n_updates = _to_make(study, before)
            n_workers = n_workers or worth(study.experiment, n_updates)
            if announce is not None and study.experiment.search is not None:
                announce(speed.told(study.experiment, order.dataset, n_updates, n_workers))
            if dask is not None and order.source is not None:
                progress.began(study.stored.name, study.experiment, _to_make(study, before))
                elsewhere.train(study, order.source, dask, stop, grace)
            else:
                _train(order, study, before, progress, stop, n_workers, grace, reserve)
            if not stop() and storage.read(lambda c: queue.place(c, study.uuid)).is_cancelled:
                raise HpoError(called_off(study.stored))
    if not stop():
        with suppress(Interrupted):
            correction.settle(studies.present(study), progress.warn)
            storage.write(housekeeping.sweep)  # of processes that had to be ended

    def look(connection: Connection) -> tuple[StoredStudy, Plan]:
        return studies.stored_now(connection, study), stands(connection, study)

    try:
        stored, after = storage.read(look)
        if stored.name != study.stored.name:
            progress.warn(
                f"{study.stored.name!r} is called {stored.name!r} now; another tool renamed it."
            )
    except Interrupted:  # somebody holds the database, which keeps no reader from looking
        stored, after = read_once(storage.url, look)
    outcome = Outcome(replace(study, stored=stored), before, after)
    if _grew_at_the_end(outcome) and not stop():
        more: Any = {"n_workers": n_workers, "grace": grace, "reserve": reserve, "dask": dask}
        return replace(run(order, storage, progress, stop, **more), before=before)
    return outcome


def _grew_at_the_end(outcome: Outcome) -> bool:
    """Tell whether a grid was given more replicates when its workers had just gone."""
    before, after, search = outcome.before, outcome.after, outcome.study.experiment.search
    has_more = after.n_slots > before.n_slots and not after.is_complete
    return has_more and search is None and not after.failed


def _to_make(study: OpenStudy, before: Plan) -> int:
    """Return the updates that are left, at most: of a generation not all is trained to its end."""
    n_updates = before.n_updates + before.n_unplanned
    return n_updates if before.is_over else min(n_updates, largest(study.experiment))


def _train(
    order: Order,
    study: OpenStudy,
    before: Plan,
    progress: Progress,
    stop: Stop,
    n_workers: int,
    grace: float,
    reserve: Reserve | None,
) -> None:
    """Train what is planned: here, or in several processes."""
    reserve = reserve or Reserve()
    n_updates = _to_make(study, before)
    progress.began(study.stored.name, study.experiment, n_updates)
    if before.is_over:
        n_workers = min(n_workers, before.n_slots - before.n_counted - len(before.failed))
    if n_workers > 1 and order.source is not None:
        images = prepared.pinned(order.source, order.dataset)
        pool.work(study, images, n_workers, progress, stop, grace, reserve, order.environ)
        return
    phases = Phases(reserve.began)
    with Membership(study.storage, grace) as member:
        trainer = Trainer(study.experiment, order.dataset)
        work(study, trainer, progress, stop, member, phases=phases)
    phases.lap("database")
    progress.spent(phases)
