"""A study that is trained by the workers of a cluster, seen from the command that asked for it."""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from hpo.commands.keeping import Watch
from hpo.data import parts
from hpo.data.source import Source
from hpo.database import queue
from hpo.database.connections import Connection
from hpo.database.locations import checked_url, sqlite_path
from hpo.errors import HpoError, MissingExtra
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import Plan, stands

LOOK = 0.5  #: seconds between two looks at the study
HERE = ("local", "localhost", "127.0.0.1")


def train(
    study: OpenStudy, source: Source, where: str, stop: Callable[[], bool], grace: float
) -> None:
    """Have a study trained to its end by a Dask cluster, or until ``stop`` says so.

    Args:
        where: Address of a scheduler, its file, or ``local``.

    Raises:
        MissingExtra: Dask is not installed.
        HpoError: The cluster does not answer or is gone.
    """
    try:
        from hpo.commands import on_dask
    except ImportError as error:
        raise MissingExtra("A Dask cluster", "dask") from error
    data = source.name if source.name in parts.OURS else source.spec.partition(":")[2]
    watch = Watch(reached(study.storage.url, where), data, (study.stored.name,), grace)

    def is_over(connection: Connection) -> bool:
        called_off = queue.place(connection, study.uuid).is_cancelled
        return called_off or _is_done(stands(connection, study))

    with on_dask.working(where, watch) as is_there:
        while not stop() and not study.storage.read(is_over):
            if not is_there():
                raise HpoError(
                    f"The Dask scheduler {where!r} is gone, and its workers end with it. Nothing is lost: "
                    "the same command goes on, with another scheduler or without; so do other workers."
                )
            time.sleep(LOOK)


def _is_done(plan: Plan) -> bool:
    return plan.is_over and plan.n_counted + len(plan.failed) >= plan.n_slots


def reached(url: str, where: str) -> str:
    """Return the address of a database for processes that have another current folder.

    Raises:
        HpoError: They are on other machines, and it is a file.
    """
    path = sqlite_path(checked_url(url))
    if path is None:
        return url
    host = urlsplit(where).hostname if "://" in where else where
    if host not in HERE:
        raise HpoError(
            f"An SQLite file cannot be reached by the machines of {where!r}. Use PostgreSQL with "
            "--storage, or --dask local."
        )
    return f"sqlite:///{path.absolute()}"
