"""What a stored study says, as text and as files: ``hpo best``, ``status``, ``list``, ``export``, ``plot``.

Each function imports what it shows with: `hpo status` needs neither pictures nor statistics.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from hpo.database.connections import Connection
from hpo.database.reader import read_once

Notify = Callable[[str], None]
FORMATS = ("json", "csv", "csv-trials")  #: of an export


def check(url: str, notify: Notify) -> None:
    """Look whether there is a database to look into; none is made.

    Args:
        notify: Is told whom a wait is for, here and below.

    Raises:
        StorageError: There is none, or it is not one of ours.
    """
    read_once(url, lambda _: None, notify=notify)


def status(url: str, notify: Notify, form: str = "text") -> str:
    """Return how far every study is, in one of `hpo.machine.console.TOLD_IN`.

    Raises:
        StorageError: As `check`.
    """
    if form == "json":
        from hpo.views import numbers

        return read_once(url, numbers.status, notify=notify)
    from hpo.views import overview

    return read_once(url, overview.status, notify=notify)


def waiting(url: str, notify: Notify, form: str = "text") -> str:
    """Return which studies wait, in the order in which workers serve them, as text or json.

    Raises:
        StorageError: As `check`.
    """
    from hpo.views import waiting

    return read_once(url, waiting.as_json if form == "json" else waiting.table, notify=notify)


def listing(url: str, notify: Notify, form: str = "text") -> str:
    """Return the stored studies and what they are about, in one of `hpo.machine.console.TOLD_IN`.

    Raises:
        StorageError: As `check`.
    """
    if form == "json":
        from hpo.views import numbers

        return read_once(url, numbers.listing, notify=notify)
    from hpo.views import overview

    return read_once(url, overview.listing, notify=notify)


def best(url: str, name: str, notify: Notify, form: str = "text") -> str:
    """Return the best cell of a study, how sure that is, and which cells may be as good.

    Args:
        form: One of `hpo.machine.console.TOLD_IN`.

    Raises:
        StudyNotFound: There is none of this name.
        NoResult: It has no result yet.
    """
    from hpo.mirror.study import stored
    from hpo.views import report

    def told(connection: Connection) -> str:
        found = stored(connection, name)
        if form == "json":
            from hpo.views import numbers

            return numbers.best(connection, found)
        read = report.read(connection, found)
        return report.best(read, report.judged(connection, found, read.results))

    return read_once(url, told, notify=notify)


def export(url: str, name: str, form: str, notify: Notify) -> str:
    """Return results and curves of a study in one of `FORMATS`, in canonical form.

    Raises:
        StudyNotFound: There is none of this name.
        DamagedRow: A row is not what was written.
    """
    from hpo.mirror.study import stored
    from hpo.views import export as exporting

    write = exporting.WRITERS[form]
    return read_once(url, lambda c: write(c, stored(c, name)), notify=notify)


def plot(
    url: str,
    name: str,
    notify: Notify,
    *,
    kind: str | None = None,
    cell: int | None = None,
    folder: Path | None = None,
    form: str = "png",
    data: str | None = None,
    environ: Mapping[str, str],
) -> list[Path]:
    """Draw a study into a folder, by default ``<study>-plots``; return the files.

    Args:
        kind: One kind of picture; all that suit the study if None.
        data: Where its images are, for pictures that need them.
        environ: The environment, for HPO_DATA and HPO_CACHE.

    Raises:
        StudyNotFound: There is none of this name.
        NoResult: There is nothing to draw.
        OutputError: The files cannot be written.
        HpoError: There is no such kind, cell or format.
    """
    from hpo.commands import images
    from hpo.machine.files import safe_name
    from hpo.mirror.study import stored
    from hpo.views import drawing

    def drawn(connection: Connection) -> list[Path]:
        study = stored(connection, name)
        return drawing.of_study(
            connection,
            study,
            folder or Path(f"{safe_name(study.name)}-plots"),
            kind=kind,
            cell=cell,
            form=form,
            images=images.of_study(study.experiment.data.name, data, environ, notify),
            notify=notify,
        )

    return read_once(url, drawn, notify=notify)
