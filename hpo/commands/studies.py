"""Studies as Python asks for them: run, loaded, submitted, worked on, mended.

Nothing here prints, ends the process, installs signal handlers or reads the environment. Progress
and stop are arguments, and what is wrong is raised.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, Unpack

from hpo.commands import budgets, ending, joining, running
from hpo.commands.callbacks import Callbacks
from hpo.commands.request import Asked, Order, Request
from hpo.commands.results import Study
from hpo.data import prepared, sources
from hpo.data.source import Source
from hpo.database import queue as places
from hpo.database.connections import Connection
from hpo.database.fleet import GRACE, LONGEST_GRACE
from hpo.database.locations import DEFAULT_STORAGE
from hpo.database.reader import read_once
from hpo.database.storage import Storage
from hpo.definition.numbers import came, is_number, whole, within
from hpo.definition.study import StudyDefinition
from hpo.errors import HpoError
from hpo.machine.blas import one_thread
from hpo.machine.cores import most_workers
from hpo.machine.files import check_folder
from hpo.mirror import shelf
from hpo.mirror import study as stored_studies
from hpo.mirror.identity import check_name
from hpo.planning.plan import Plan
from hpo.training.progress import Progress
from model.data import Dataset

MOST_URGENT = 1000  #: priority
Stop = Callable[[], bool]
Notify = Callable[[str], None]
T = TypeVar("T")


def never() -> bool:
    """Return False: nobody asks to stop."""
    return False


def unheard(_: str) -> None:
    """Listen to nothing."""


def run(
    study: str | Path | StudyDefinition | Request,
    *,
    storage: str = DEFAULT_STORAGE,
    workers: int = 1,
    grace: float = GRACE,
    again: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
    stop: Stop = never,
    **asked: Unpack[Asked],
) -> Study:
    """Bring a study to its end, whatever of it exists, and return it.

    Args:
        study: What `Request` says, or a `Request`.
        workers: Processes that train; with one it is this process.
        grace: Seconds of silence after which a worker counts as dead.
        again: Look at the test images once more, on purpose; for studies that look at them.
        out: Folder for the weights and the model card of such a study.
        progress: Is told what happens.
        stop: Is asked now and then whether to stop; what is done then is kept.
        asked: The other fields of `Request`: ``data``, ``name``, ``parent``, ``seed``, ...

    Raises:
        CellsFailed: Cells failed again and again; the others have their results.
        HpoError: There is no such study or data, or the stored one is another experiment.
        Interrupted: ``stop`` said so before there was a study to return.
        Exception: What ``progress`` or ``stop`` raised; what was done until then is kept.

    >>> import hpo, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     quick = hpo.StudyDefinition(name="quick", grid=hpo.Values((1e-3, 1e-2)), n_s=5)
    ...     study = hpo.run(quick, data="digits", storage=f"sqlite:///{folder}/hpo.db")
    ...     study.name, len(study.results)
    ('quick-digits', 2)
    """
    _check_numbers(workers, grace)
    with Callbacks(progress, stop) as told:
        order = _order(study, asked, told.stop, told.warn)
        if (again or out is not None) and not order.definition.evaluates_test:
            raise HpoError(
                "`again` and `out` are for a study that ends with the test images, as final does; "
                f"{order.definition.name!r} does not."
            )
        if out is not None:
            check_folder(Path(out))
        with (
            one_thread(),
            running.to_the_end(
                order, storage, told, told.stop, n_workers=workers, grace=grace, again=again
            ) as outcome,
        ):
            failed = ending.failed(outcome)
            if failed is not None and not told.stop():
                raise failed
            if out is not None and outcome.looks_at_test_images:
                ending.write_model(outcome, order, Path(out), told.warn)
    return Study(outcome.study.stored.name, storage)


def submit(
    study: str | Path | StudyDefinition | Request,
    *,
    storage: str = DEFAULT_STORAGE,
    priority: int | None = None,
    stop: Stop = never,
    notify: Notify = unheard,
    **asked: Unpack[Asked],
) -> Study:
    """Create or open a study and plan it; workers that are running will find it.

    Args:
        study, asked: As for `run`.
        priority: Workers serve higher ones first; 0 unless it was given before.
        notify: Is told what a user should know, as whom a wait is for.

    >>> import hpo, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = hpo.submit("coarse", data="digits", storage=f"sqlite:///{folder}/hpo.db")
    ...     study.name, study.is_complete
    ('coarse-digits', False)
    """
    if priority is not None:
        whole("priority", priority, -MOST_URGENT, MOST_URGENT)
    order = _order(study, asked, stop, notify)
    return Study(queue(order, storage, stop, notify, priority)[0], storage)


def queue(
    order: Order, storage: str, stop: Stop, notify: Notify, priority: int | None = None
) -> tuple[str, Plan]:
    """Create or open a study and plan it; return its name in the storage, and how it stands."""
    order = budgets.in_updates(order, storage, None, notify)
    with running.open_for(order, storage, stop, notify) as opened:
        made, standing = running.submit(order, opened, notify)
        if priority is not None:
            opened.write(lambda connection: places.prefer(connection, made.uuid, priority))
    return made.stored.name, standing


def work(
    studies: str | Sequence[str] = (),
    *,
    data: str | Path = "digits",
    storage: str = DEFAULT_STORAGE,
    watch: bool = False,
    idle_exit: float | None = None,
    progress: Progress | None = None,
    stop: Stop = never,
    grace: float = GRACE,
) -> int:
    """Train what is waiting in these studies, or in all on these images; return how much.

    Args:
        watch: Wait for more when there is nothing left, until ``stop``.
        idle_exit: Wait for so many seconds at most.
        grace: Seconds of silence after which others count us as dead.

    >>> import hpo, tempfile
    >>> quick = hpo.StudyDefinition(name="quick", grid=hpo.Values((1e-3, 1e-2)), n_s=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     url = f"sqlite:///{folder}/hpo.db"
    ...     study = hpo.submit(quick, data="digits", storage=url)
    ...     hpo.work(data="digits", storage=url), study.is_complete
    (2, True)
    """
    _check_numbers(1, grace)
    if idle_exit is not None:
        if not is_number(idle_exit):
            raise HpoError(f"idle_exit must be a number of seconds, {came('idle_exit', idle_exit)}")
        within("idle_exit", idle_exit, 0, LONGEST_GRACE)
    names = [studies] if isinstance(studies, str) else list(studies)
    for name in names:
        check_name(name)
    look(storage, lambda _: None, stop)  # a database that is not there is not made
    with Callbacks(progress, stop) as told, one_thread():
        dataset = prepared.training(_found(data, told.stop, told.warn), {}, told.warn)
        return work_on(dataset, names, storage, watch, told, told.stop, grace, idle_exit)


def work_on(
    dataset: Dataset,
    studies: Sequence[str],
    storage: str,
    watch: bool,
    progress: Progress,
    stop: Stop,
    grace: float,
    idle_exit: float | None = None,
) -> int:
    """As `work`, with the images at hand."""
    with Storage(storage, stop, notify=progress.warn) as opened:
        return joining.join(opened, dataset, studies, progress, stop, watch, grace, idle_exit)


def load(name: str, *, storage: str = DEFAULT_STORAGE) -> Study:
    """Return a stored study, to look at.

    Raises:
        StudyNotFound: There is none of this name.

    >>> import hpo, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = hpo.submit("coarse", data="digits", storage=f"sqlite:///{folder}/hpo.db")
    ...     hpo.load("coarse-digits", storage=study.storage) == study
    True
    """
    check_name(name)
    look(storage, lambda connection: stored_studies.stored(connection, name))
    return Study(name, storage)


def studies(*, storage: str = DEFAULT_STORAGE, notify: Notify = unheard) -> list[Study]:
    """Return all studies that can be read, by name.

    Args:
        notify: Is told of the others what is wrong with them, and what other tools copied, renamed
            or deleted.

    >>> import hpo, tempfile
    >>> quick = hpo.StudyDefinition(name="quick", grid=hpo.Values((1e-3, 1e-2)), n_s=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     url = f"sqlite:///{folder}/hpo.db"
    ...     study = hpo.submit(quick, data="digits", storage=url)
    ...     [study.name for study in hpo.studies(storage=url, notify=print)]
    ['quick-digits']
    """
    found = look(storage, shelf.look, notify=notify)
    for remark in found.remarks:
        notify(remark)
    return [Study(name, storage) for name in sorted(study.name for study in found.studies)]


def _order(
    study: str | Path | StudyDefinition | Request, asked: Asked, stop: Stop, notify: Notify
) -> Order:
    unknown = sorted(asked.keys() - Asked.__annotations__.keys())
    if unknown:
        known = ", ".join(sorted(Asked.__annotations__))
        raise TypeError(f"There is no argument {unknown[0]!r}; a study is asked for with {known}.")
    request = (
        replace(study, **asked) if isinstance(study, Request) else Request(study=study, **asked)
    )
    return request.order(lambda spec: _found(spec, stop, notify), {}, notify)


def _found(data: str | Path, stop: Stop, notify: Notify) -> Source:
    return sources.resolve(str(data), environ={}, notify=notify, report=_unseen, stop=stop)


def _check_numbers(workers: int, grace: float) -> None:
    """Refuse what the command line refuses, too."""
    whole("workers", workers, 1, most_workers())
    if not is_number(grace):
        raise HpoError(f"grace must be a number of seconds, {came('grace', grace)}")
    within("grace", grace, 1, LONGEST_GRACE)


def look(
    url: str,
    action: Callable[[Connection], T],
    stop: Stop = never,
    notify: Notify = unheard,
) -> T:
    """Look into a database that is there, and wait without a word."""
    return read_once(url, action, stop, notify)


def _unseen(_done: int, _total: int) -> None:
    """Look at nothing."""
