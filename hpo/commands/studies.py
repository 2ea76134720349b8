"""Studies as Python asks for them: run, loaded, submitted, worked on, mended.

Nothing here prints, ends the process, installs signal handlers or reads the environment. Progress
and stop are arguments, and what is wrong is raised.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from hpo.commands import doctor, joining, running
from hpo.commands.request import Request
from hpo.commands.results import Study
from hpo.data import prepared, sources
from hpo.data.source import Source
from hpo.database.connections import Connection
from hpo.database.fleet import GRACE
from hpo.database.locations import DEFAULT_STORAGE
from hpo.database.reader import read_once
from hpo.database.storage import Interrupted, Storage
from hpo.definition.study import StudyDefinition
from hpo.errors import CellsFailed, StudyNotFound
from hpo.health.finding import Finding
from hpo.mirror import deleting, shelf
from hpo.mirror import study as stored_studies
from hpo.planning.plan import retry as forgive
from hpo.training.progress import Progress, Silent
from hpo.views.report import failures
from model.data import Dataset

Stop = Callable[[], bool]
T = TypeVar("T")


def never() -> bool:
    """Return False: nobody asks to stop."""
    return False


def run(
    study: str | Path | StudyDefinition | Request,
    *,
    storage: str = DEFAULT_STORAGE,
    workers: int = 1,
    progress: Progress | None = None,
    stop: Stop = never,
    **asked: Any,
) -> Study:
    """Bring a study to its end, whatever of it exists, and return it.

    Args:
        study: What `Request` says, or a `Request`.
        workers: Processes that train; with one it is this process.
        progress: Is told what happens.
        stop: Is asked now and then whether to stop; what is done then is kept.
        asked: The other fields of `Request`: ``data``, ``name``, ``parent``, ``seed``, ...

    Raises:
        CellsFailed: Cells failed again and again; the others have their results.
        HpoError: There is no such study or data, or the stored one is another experiment.

    >>> import hpo, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     quick = hpo.StudyDefinition(name="quick", grid=hpo.Values((1e-3, 1e-2)), n_s=5)
    ...     study = hpo.run(quick, data="digits", storage=f"sqlite:///{folder}/hpo.db")
    ...     study.name, len(study.results)
    ('quick-digits', 2)
    """
    request = _request(study, asked)
    definition, source, dataset = _settled(request, stop)
    watcher = progress or Silent()
    named: dict[str, Any] = {
        "name": request.name,
        "parent_name": request.parent,
        "cell": request.cell,
    }
    with (
        threadpool_limits(1, user_api="blas"),  # as in every worker: the bits depend on it
        running.open_for(
            definition, dataset, storage, stop, notify=watcher.warn, **named
        ) as opened,
    ):
        outcome = running.run(
            definition,
            dataset,
            opened,
            watcher,
            stop,
            notify=watcher.warn,
            n_workers=workers,
            source=source,
            **named,
        )
        stored = outcome.study.stored
        if outcome.after.failed and not stop():
            raise CellsFailed(stored.name, failures(stored.experiment, outcome.after))
        if definition.evaluates_test and outcome.after.is_complete:
            from hpo.held_out import final

            final.show_test_images(opened, outcome.study, dataset, source)
    return Study(stored.name, storage)


def submit(
    study: str | Path | StudyDefinition | Request,
    *,
    storage: str = DEFAULT_STORAGE,
    stop: Stop = never,
    **asked: Any,
) -> Study:
    """Create or open a study and plan it; workers that are running will find it.

    Args:
        study, asked: As for `run`.
    """
    request = _request(study, asked)
    definition, _, dataset = _settled(request, stop)
    named: dict[str, Any] = {
        "name": request.name,
        "parent_name": request.parent,
        "cell": request.cell,
    }
    with running.open_for(definition, dataset, storage, stop, notify=_unheard, **named) as opened:
        made, _ = running.submit(definition, dataset, opened, **named)
    return Study(made.stored.name, storage)


def work(
    studies: Sequence[str] = (),
    *,
    data: str | Path = "digits",
    storage: str = DEFAULT_STORAGE,
    watch: bool = False,
    progress: Progress | None = None,
    stop: Stop = never,
    grace: float = GRACE,
) -> int:
    """Train what is waiting in these studies, or in all on these images; return how much.

    Args:
        watch: Wait for more when there is nothing left, until ``stop``.
        grace: Seconds of silence after which others count us as dead.
    """
    _, dataset = _images(data, stop)
    _look(storage, lambda _: None, stop)  # a database that is not there is not made
    with threadpool_limits(1, user_api="blas"), Storage(storage, stop, notify=_unheard) as opened:
        try:
            return joining.join(opened, dataset, studies, progress or Silent(), stop, watch, grace)
        except Interrupted:
            return 0


def load(name: str, *, storage: str = DEFAULT_STORAGE) -> Study:
    """Return a stored study, to look at.

    Raises:
        StudyNotFound: There is none of this name.
    """
    _look(storage, lambda connection: stored_studies.stored(connection, name))
    return Study(name, storage)


def studies(*, storage: str = DEFAULT_STORAGE) -> list[Study]:
    """Return all studies that can be read, by name."""
    found = _look(storage, shelf.look).studies
    return [Study(name, storage) for name in sorted(study.name for study in found)]


def retry(name: str, *, storage: str = DEFAULT_STORAGE, stop: Stop = never) -> int:
    """Give cells that failed again and again another chance; return how many."""
    _look(storage, lambda _: None, stop)
    with Storage(storage, stop, notify=_unheard) as opened:
        found = stored_studies.find(opened, name)
        if found is None:
            raise StudyNotFound(name, stored_studies.names(opened))
        return forgive(opened, found)


def delete(name: str, *, storage: str = DEFAULT_STORAGE, stop: Stop = never) -> None:
    """Delete a study with everything that belongs to it.

    Raises:
        StudyNotFound: There is none of this name.
    """
    _look(storage, lambda connection: deleting.named(connection, name), stop)
    with Storage(storage, stop, notify=_unheard) as opened:
        deleting.delete(opened, name)


def examine(
    storage: str = DEFAULT_STORAGE, *, repair: bool = False, stop: Stop = never
) -> list[Finding]:
    """Examine a database and, if asked to, mend what can be mended; return what was found."""
    return doctor.examine(storage, repair=repair, stop=stop, notify=_unheard)


def _request(study: str | Path | StudyDefinition | Request, asked: dict[str, Any]) -> Request:
    if isinstance(study, Request):
        return study
    return Request(study=study, **asked)


def _settled(request: Request, stop: Stop) -> tuple[StudyDefinition, Source, Dataset]:
    definition = request.definition  # a mistake in it is told before images are read or fetched
    return definition, *_images(request.data, stop)


def _images(data: str | Path, stop: Stop) -> tuple[Source, Dataset]:
    source = sources.resolve(str(data), environ={}, notify=_unheard, report=_unseen, stop=stop)
    return source, prepared.training(source, {}, _unheard)


def _look(url: str, action: Callable[[Connection], T], stop: Stop = never) -> T:
    return read_once(url, action, stop, _unheard)


def _unheard(_: str) -> None:
    """Listen to nothing."""


def _unseen(_done: int, _total: int) -> None:
    """Look at nothing."""
