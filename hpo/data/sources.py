"""Where the images are that ``--data`` asks for, and how they are opened again.

`resolve` turns what the user typed into a `Source`. A source holds no images: they are read when
it is asked for them, the test part only when it is asked for the test part. Its ``spec`` names
the same data from any folder, so a worker on the same machine can be given it.
"""

import errno
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.data.source import Source
from hpo.errors import DataUnavailable

# NumPy and the network library are imported where they are used: `hpo --help` needs neither.
if TYPE_CHECKING:
    pass

FORMS = (
    "cifar10, digits, auto, a folder of CIFAR-10 batches, a CIFAR-10 .tar.gz, or an .npz file "
    "with arrays `images` and `labels`"
)
FOLDER_NAME = "cifar-10-batches-py"
ARCHIVE_NAME = "cifar-10-python.tar.gz"
LOCAL_FOLDER = Path("Datasets") / FOLDER_NAME  # where the notebook keeps it
PATIENCE = 120.0  # seconds that `auto` gives the download


@dataclass(frozen=True)
class Archive:
    """A file to download, as its publisher describes it."""

    url: str
    md5: str  #: in hexadecimal
    size: int  #: in bytes


CIFAR10_ARCHIVE = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    size=170_498_071,
)


def resolve(
    spec: str,
    *,
    environ: Mapping[str, str],
    notify: Callable[[str], None],
    report: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    archive: Archive = CIFAR10_ARCHIVE,
    patience: float = PATIENCE,
) -> Source:
    """Find the images that ``spec`` asks for, downloading CIFAR-10 if it must be.

    ``cifar10`` is looked for in $HPO_DATA, then in Datasets/cifar-10-batches-py, then in the
    cache ($HPO_CACHE, or the user's cache folder), and then fetched into the cache.

    Args:
        spec: One of `FORMS`, or the ``spec`` of a source.
        environ: The environment, for HPO_DATA and HPO_CACHE.
        notify: Is told, in sentences for the user, what they should know.
        report: Is told (bytes here, bytes in all) during a download.
        stop: True ends a download; the error is raised, also for ``auto``.
        archive: What to download where CIFAR-10 is not on this machine.
        patience: Seconds after which ``auto`` gives a download up.

    Raises:
        DataUnavailable: There is no such data, or it is not what it is said to be.
        DownloadFailed: CIFAR-10 could not be fetched.
    """
    digits = Source(spec="digits", name="digits")
    if spec == "digits":
        return digits
    if spec == "cifar10":
        return _cifar10(environ, notify, report, stop, archive, give_up_after=None)
    if spec == "auto":
        try:
            return _cifar10(environ, notify, report, stop, archive, give_up_after=patience)
        except DataUnavailable as error:
            if stop():  # whoever stops a download does not want digits in its place
                raise
            notify(
                "*** NOT CIFAR-10 *** The small handwritten digits are used in its place; their "
                f"results cannot be compared with CIFAR-10's.\n*** Why: {error}\n"
                "*** To insist on CIFAR-10 use `--data cifar10`; to be content with the digits use "
                "`--data digits`."
            )
            return digits
    kind, colon, path = spec.partition(":")
    if colon and kind in ("cifar10", "npz"):
        return _at(path, kind=kind)
    return _at(spec)


def to_fetch(
    spec: str, environ: Mapping[str, str], archive: Archive = CIFAR10_ARCHIVE
) -> str | None:
    """Return in a sentence what `resolve` would download for ``spec``; None if nothing."""
    if spec not in ("cifar10", "auto") or environ.get("HPO_DATA", ""):
        return None
    cache = cache_folder(environ)
    if any(map(_is_cifar10, (LOCAL_FOLDER, cache / FOLDER_NAME, cache / ARCHIVE_NAME))):
        return None
    return (
        f"CIFAR-10 is not on this machine: the run would first download {archive.size / 1e6:.0f} MB from "
        f"{archive.url} to {cache}. What it would train can be said when the images are there."
    )


def _at(written: str, *, kind: str | None = None) -> Source:
    """Return the source at a path, which must be of ``kind`` if one is given."""
    path = Path(os.path.abspath(os.path.expanduser(written)))
    fault = "there is no such path" if not written else _absence(path)
    if fault is not None:
        raise DataUnavailable(f"No data at {written!r}: {fault}. Expected {FORMS}.")
    if kind != "npz" and _is_cifar10(path):
        return Source(spec=f"cifar10:{path}", name="cifar10")
    if kind != "cifar10" and path.is_file() and path.name.lower().endswith(".npz"):
        from model.npz import npz_name

        return Source(spec=f"npz:{path}", name=npz_name(path))
    if path.is_dir():
        raise DataUnavailable(
            f"{path} is a folder without CIFAR-10 batches.{_hint(path)} Expected {FORMS}."
        )
    if not path.is_file():
        raise DataUnavailable(f"{path} is a pipe or a device, and not a file. Expected {FORMS}.")
    wanted = {"cifar10": "CIFAR-10", "npz": "an .npz file"}.get(kind or "", "CIFAR-10 or an .npz")
    raise DataUnavailable(f"{path} is not {wanted}. Expected {FORMS}.")


def _absence(path: Path) -> str | None:
    """Return why nothing can be read at a path; None if something may be there."""
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
        if is_folder:
            with os.scandir(path):
                return None
    except FileNotFoundError:
        return "it is a link to nowhere" if path.is_symlink() else "there is no such path"
    except OSError as error:  # no permission, a loop of links
        is_too_long = error.errno == errno.ENAMETOOLONG
        return "there is no such path" if is_too_long else error.strerror or str(error)
    return None


def _cifar10(
    environ: Mapping[str, str],
    notify: Callable[[str], None],
    report: Callable[[int, int], None] | None,
    stop: Callable[[], bool],
    archive: Archive,
    *,
    give_up_after: float | None,
) -> Source:
    chosen = environ.get("HPO_DATA", "")
    if chosen:
        return _chosen(chosen)
    try:
        cache = cache_folder(environ)
    except FileNotFoundError as error:
        if _is_cifar10(LOCAL_FOLDER):
            return _at(str(LOCAL_FOLDER), kind="cifar10")
        raise DataUnavailable(
            "CIFAR-10 is not here, and there is no home folder to keep a download in. Set HPO_DATA "
            "to where it is, or HPO_CACHE to a folder for it."
        ) from error
    for place in (LOCAL_FOLDER, cache / FOLDER_NAME, cache / ARCHIVE_NAME):
        if _is_cifar10(place):
            return _at(str(place), kind="cifar10")

    from hpo.data.download import fetch

    url = environ.get("HPO_DATA_URL", "") or archive.url
    notify(
        f"CIFAR-10 is not on this machine yet: downloading {archive.size / 1e6:.0f} MB from "
        f"{url} to {cache}. If interrupted, it goes on next time."
    )
    fetch(
        url,
        cache / ARCHIVE_NAME,
        md5=archive.md5,
        size=archive.size,
        report=report,
        give_up_after=give_up_after,
        stop=stop,
    )
    return _at(str(cache / ARCHIVE_NAME), kind="cifar10")


def _chosen(written: str) -> Source:
    """Return CIFAR-10 where HPO_DATA says; a wrong HPO_DATA is not passed over in silence."""
    path = Path(os.path.abspath(os.path.expanduser(written)))
    if _is_cifar10(path):
        return Source(spec=f"cifar10:{path}", name="cifar10")
    fault = "is not CIFAR-10" if os.path.exists(path) else "does not exist"
    raise DataUnavailable(
        f"HPO_DATA is {written!r}, which {fault}.{_hint(path)} Set it to the folder "
        f"{FOLDER_NAME} or to {ARCHIVE_NAME}, or unset it to have CIFAR-10 looked for elsewhere."
    )


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder for what can be made again: $HPO_CACHE, or the user's cache folder.

    Raises:
        FileNotFoundError: The user has no home.
    """
    if chosen := environ.get("HPO_CACHE", ""):
        folder = os.path.expanduser(chosen)
        if not folder.startswith("~"):
            return Path(os.path.abspath(folder))
    elif environ.get("HOME") != "" or environ.get("XDG_CACHE_HOME"):
        import platformdirs

        with suppress(RuntimeError):  # what newer versions raise; older ones return ~/.cache/hpo
            found = platformdirs.user_cache_path("hpo")
            if found.is_absolute():
                return found
    raise FileNotFoundError(errno.ENOENT, "there is no home folder", chosen or "~")


def _is_cifar10(path: Path) -> bool:
    from model import cifar

    try:
        return cifar.is_cifar10(path)
    except OSError:  # a folder that may not be looked into holds nothing for us
        return False


def _hint(path: Path) -> str:
    inner = path / FOLDER_NAME
    return f" Did you mean {inner}?" if _is_cifar10(inner) else ""
