"""Reports of stored studies, written into a folder: ``hpo report`` and `hpo.report`."""

import os
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path

from hpo.commands import images
from hpo.database.locations import DEFAULT_STORAGE
from hpo.database.reader import read_once
from hpo.errors import HpoError
from hpo.experiment.records import StoredStudy
from hpo.machine.files import check_folder, safe_name, write
from hpo.views.reports import marks
from model.data import Dataset

Notify = Callable[[str], None]
MOST = 100  #: studies in one report


def report(
    *studies: str,
    storage: str = DEFAULT_STORAGE,
    folder: str | Path | None = None,
    data: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
    notify: Notify = lambda _: None,
) -> list[Path]:
    """Write a report of studies, in their order, as HTML and as Markdown with pictures; return the files.

    The database is only read, at one moment, whoever trains meanwhile.

    Args:
        studies: Names of stored studies.
        folder: Where to; by default ``<study>-report``, with several names ``<a>-<b>-report``.
        data: Where the images are, for pictures that need them.
        environ: The environment, for HPO_DATA and HPO_CACHE; nothing of it is read if None.
        notify: Is told whom a wait is for.

    >>> import hpo, tempfile
    >>> quick = hpo.StudyDefinition(name="quick", grid=hpo.Values((1e-3, 1e-2)), n_s=5)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     url = f"sqlite:///{place}/hpo.db"
    ...     study = hpo.run(quick, data="digits", storage=url)
    ...     files = hpo.report(study.name, storage=url, folder=f"{place}/report")
    >>> files[-1].name, files[-2].name
    ('report.html', 'report.md')

    Raises:
        StudyNotFound: There is none of a name.
        DamagedRow: A row is not what was written.
        OutputError: The files cannot be written.
        HpoError: Something that hpo did not make stands where they would.
    """
    names = list(dict.fromkeys(studies))
    if not 0 < len(names) <= MOST:
        raise HpoError(f"A report is about 1 to {MOST} studies, got {len(names)}. Name them.")
    if folder is not None and not isinstance(folder, str | PathLike):
        raise TypeError(f"folder must be a path, not {type(folder).__name__}")
    known: Mapping[str, str] = {} if environ is None else environ
    is_known = data is not None or environ is not None

    def found(study: StoredStudy) -> Callable[[], Dataset] | None:
        where = None if data is None else str(data)
        name = study.experiment.data.name
        return images.of_study(name, where, known, notify) if is_known else None

    target = folder_of(names) if folder is None else Path(folder)
    check_folder(target)
    _refuse_others(target, marks.PAGES)
    from hpo.views.reports import chapters, pages

    told = read_once(storage, lambda c: chapters.read(c, names, found), notify=notify)
    contents = pages.files(told)
    _refuse_others(target, contents)
    return write(target, contents)


def folder_of(names: Iterable[str]) -> Path:
    """Return where the report of some studies goes if nothing is said.

    >>> folder_of(["coarse", "fine"]).name
    'coarse-fine-report'
    """
    return Path(f"{safe_name('-'.join(names))}-report")


def _refuse_others(folder: Path, names: Iterable[str]) -> None:
    """Refuse to write over what hpo did not make: pages say who made them, and name their pictures.

    Raises:
        HpoError: With what stands in the way.
    """
    page = marks.pictures(folder / marks.MARKDOWN)
    for name in names:
        path = folder / name
        if not os.path.lexists(path):
            continue
        is_ours = marks.is_ours(path) if name in marks.PAGES else marks.shows(page, name)
        if not is_ours:
            raise HpoError(
                f"{path} is there, and no report of hpo's. Move it, or name another folder with --out."
            )
