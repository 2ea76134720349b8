"""Names that a shell completes; each function imports what it needs, since a user waits for it."""

from collections.abc import Callable
from pathlib import Path


def stored(url: str, notify: Callable[[str], None]) -> list[str]:
    """Return the names of all stored studies; none where none can be read.

    Args:
        notify: Is told whom a wait is for.
    """
    from hpo.database.reader import read_once
    from hpo.errors import HpoError
    from hpo.mirror import shelf

    try:
        return [study.name for study in read_once(url, shelf.look, notify=notify).studies]
    except HpoError:
        return []


def defined(folder: Path) -> list[str]:
    """Return the names of the studies that ship with hpo, and the files that may hold one."""
    from hpo.definition.lookup import known

    return [*known(), *(str(path) for path in folder.glob("*.py"))]
