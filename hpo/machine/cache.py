"""Folders for what can be made again: whether they can be trusted, and what in them is ours.

What others can write to is not trusted, because results are computed from it. Only what carries
our mark is ever deleted, and no link is followed: a user may keep things of their own beside it.
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FACTS = "facts.json"
MARK = "hpo_prepared"  #: the key in `FACTS` that says that an entry is ours
#: What the facts of entries say that were made before there was a mark.
FIRST_FACTS = {"name", "n_classes", "image_shape", "digests"}
UNFINISHED = "hpo-unfinished-"
ENTRY_NAME = re.compile(r"[0-9a-f]{32}")
UNFINISHED_NAME = re.compile(re.escape(UNFINISHED) + r"[a-z0-9_]{8}")
PATIENCE = 10.0  #: seconds that another process is given to finish an entry
#: Owner of what belongs to no user of this namespace, for example the host's root.
NOBODY = 65534


class Untrusted(OSError):
    """Others can write to a folder or file."""


def opened(folder: Path) -> Path:
    """Return ``folder`` with links resolved, made if it is missing, if only its owner can write to it.

    Raises:
        Untrusted: Somebody else can change what is in it.
        OSError: It cannot be made.
    """
    folder = Path(os.path.realpath(folder))
    _make(folder)
    check(folder)
    for above in folder.parents:
        found = above.stat()
        if found.st_uid not in (0, os.geteuid(), NOBODY):
            raise Untrusted(f"{above} belongs to somebody else")
        # In a folder like /tmp nobody can exchange what belongs to others.
        if _is_writable_by_others(found) and not found.st_mode & stat.S_ISVTX:
            raise Untrusted(f"others can write to {above}")
    return folder


def check(place: Path | int) -> os.stat_result:
    """Return the facts of a file or folder that only its owner can write to.

    Raises:
        Untrusted: Others can.
    """
    found = os.stat(place, follow_symlinks=isinstance(place, int))
    if found.st_uid not in (0, os.geteuid()):
        raise Untrusted(f"{place} belongs to somebody else")
    if not (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)):
        raise Untrusted(f"{place} is no plain file or folder")
    if _is_writable_by_others(found):
        raise Untrusted(f"others can write to {place}")
    return found


def _is_writable_by_others(found: os.stat_result) -> bool:
    """Tell whether more than the owner, and the group that has only the owner, may write."""
    is_own_group = found.st_gid == os.geteuid()
    return bool(found.st_mode & (0o002 if is_own_group else 0o022))


def _make(folder: Path) -> None:
    if not folder.exists():
        _make(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the only one who makes or deletes entries; whoever is killed holds it no more.

    Raises:
        OSError: Another process holds it for too long.
    """
    import filelock

    with filelock.FileLock(folder / ".lock", timeout=PATIENCE):
        yield


def sweep(folder: Path, names: frozenset[str], kept: int) -> None:
    """Delete what dead makers left, and all but the entries used last; call it while `held`.

    Whoever has an entry mapped keeps it until they end.

    Args:
        names: Of the files in an entry.
        kept: Entries that stay.
    """
    whole = []
    for entry in os.scandir(folder):
        if not entry.is_dir(follow_symlinks=False):
            continue
        if UNFINISHED_NAME.fullmatch(entry.name):
            remove(Path(entry.path), names)
        elif ENTRY_NAME.fullmatch(entry.name) and _carries_our_mark(Path(entry.path)):
            whole.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
    for _, path in sorted(whole, reverse=True)[kept:]:
        remove(Path(path), names)


def _carries_our_mark(entry: Path) -> bool:
    try:
        with open(os.open(entry / FACTS, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            facts = json.loads(file.read(10_000))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(facts, dict) and (MARK in facts or set(facts) == FIRST_FACTS)


def remove(entry: Path, names: frozenset[str]) -> None:
    """Delete an entry of ours; one that holds anything else is left alone."""
    with suppress(OSError):
        if not set(os.listdir(entry)) <= names:
            return
        for name in sorted(names, key=lambda name: name == FACTS):  # the mark goes last
            (entry / name).unlink(missing_ok=True)
        entry.rmdir()
