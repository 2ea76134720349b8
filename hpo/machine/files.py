"""Files for the user, written whole or not at all."""

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hpo.errors import OutputError

LONGEST_NAME = 80  #: letters of a study's name in that of a file


def safe_name(text: str) -> str:
    """Return a name for files that no folder, option, shell or file system stumbles over.

    What is changed gets a mark of the whole text, so that two names never become one.

    >>> safe_name("coarse-digits"), safe_name("../a b")
    ('coarse-digits', 'a_b-2c2c791a')
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip("._-")[:LONGEST_NAME]
    if safe and safe == text:
        return safe
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe}-{mark}" if safe else f"study-{mark}"


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, before anything is computed for it.

    Raises:
        OutputError: A file is in the way, or nothing may be written there.
    """
    place = Path(os.path.abspath(folder))
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise OutputError(folder, NotADirectoryError(errno.ENOTDIR, f"{place} is not a folder"))
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def write(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files into ``folder``, which is made; they take their names only once all are whole.

    Raises:
        OutputError: They cannot be written; what stood there before still does.
    """
    is_new = not os.path.exists(folder)
    mark = secrets.token_hex(4)
    staged = {name: folder / f".{name}.{mark}.tmp" for name in contents}
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for name, content in contents.items():
                path = folder / name
                with staged[name].open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            for name in contents:
                path = folder / name
                os.replace(staged[name], path)
        finally:
            for temporary in staged.values():
                temporary.unlink(missing_ok=True)
    except OSError as error:
        if is_new:
            with suppress(OSError):
                folder.rmdir()  # unless something is in it
        raise OutputError(path, error) from error
    return [folder / name for name in contents]
