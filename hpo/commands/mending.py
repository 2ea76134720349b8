"""What mends or removes stored studies, as Python asks for it; nothing here prints or ends the process."""

from collections.abc import Iterator
from contextlib import contextmanager

from hpo.commands import doctor
from hpo.commands.studies import Notify, Stop, look, never, unheard
from hpo.database import queue
from hpo.database.locations import DEFAULT_STORAGE
from hpo.database.storage import Storage
from hpo.errors import StudyNotFound
from hpo.experiment.command import command
from hpo.health.finding import Finding
from hpo.mirror import deleting
from hpo.mirror import study as stored_studies
from hpo.mirror.identity import check_name
from hpo.mirror.study import OpenStudy
from hpo.planning.plan import retry as forgive


def retry(
    name: str,
    *,
    storage: str = DEFAULT_STORAGE,
    stop: Stop = never,
    notify: Notify = unheard,
) -> int:
    """Give cells that failed again and again another chance; return how many.

    Raises:
        StudyNotFound: There is none of this name.

    >>> import hpo, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = hpo.submit("coarse", data="digits", storage=f"sqlite:///{folder}/hpo.db")
    ...     hpo.retry("coarse-digits", storage=study.storage)  # none has failed
    0
    """
    with _opened(name, storage, stop, notify) as study:
        return forgive(study)


def cancel(
    name: str,
    *,
    storage: str = DEFAULT_STORAGE,
    stop: Stop = never,
    notify: Notify = unheard,
) -> None:
    """Call a study off: nobody trains it any further until it is run or submitted again.

    Who trains it gives it back within seconds, saved at its last log point; nothing is lost.

    Raises:
        StudyNotFound: There is none of this name.

    >>> import hpo, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = hpo.submit("coarse", data="digits", storage=f"sqlite:///{folder}/hpo.db")
    ...     hpo.cancel("coarse-digits", storage=study.storage)
    ...     hpo.work(data="digits", storage=study.storage)
    0
    """
    with _opened(name, storage, stop, notify) as study:
        study.storage.write(lambda connection: queue.cancel(connection, study.uuid))


def goes_on(name: str, storage: str) -> str:
    """Return the command that goes on with a stored study."""
    return look(storage, lambda connection: command(stored_studies.stored(connection, name)))


@contextmanager
def _opened(name: str, storage: str, stop: Stop, notify: Notify) -> Iterator[OpenStudy]:
    """Open a stored study for writing.

    Raises:
        StudyNotFound: There is none of this name.
    """
    check_name(name)
    look(storage, lambda _: None, stop, notify)  # a database that is not there is not made
    with Storage(storage, stop, makes=False, notify=notify) as opened:
        found = stored_studies.find(opened, name)
        if found is None:
            raise StudyNotFound(name, stored_studies.names(opened))
        yield found


def delete(
    name: str,
    *,
    storage: str = DEFAULT_STORAGE,
    looks: bool = False,
    stop: Stop = never,
    notify: Notify = unheard,
) -> None:
    """Delete a study with everything that belongs to it but the record of its looks at test images.

    Args:
        looks: That record, too; until then they count for every later study of these images.

    Raises:
        StudyNotFound: There is none of this name.

    >>> import hpo, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = hpo.submit("coarse", data="digits", storage=f"sqlite:///{folder}/hpo.db")
    ...     hpo.delete("coarse-digits", storage=study.storage)
    ...     hpo.studies(storage=study.storage)
    []
    """
    check_name(name)
    check_deletable(name, storage, stop, notify)
    with Storage(storage, stop, makes=False, notify=notify) as opened:
        deleting.delete(opened, name, looks)


def check_deletable(name: str, storage: str, stop: Stop = never, notify: Notify = unheard) -> None:
    """Look for a study without writing: a database that is not there is not made by deleting from it.

    Raises:
        StudyNotFound: There is none of this name.
    """
    look(storage, lambda connection: deleting.named(connection, name), stop, notify)


def examine(
    storage: str = DEFAULT_STORAGE,
    *,
    repair: bool = False,
    stop: Stop = never,
    notify: Notify = unheard,
) -> list[Finding]:
    """Examine a database and, if asked to, mend what can be mended; return what was found.

    >>> import hpo, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = hpo.submit("coarse", data="digits", storage=f"sqlite:///{folder}/hpo.db")
    ...     [finding for finding in hpo.examine(study.storage) if finding.is_open]
    []
    """
    return doctor.examine(storage, repair=repair, stop=stop, notify=notify)
