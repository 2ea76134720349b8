"""Where a database is: URLs that we accept, and file systems that SQLite can live on."""

import os
import re
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from hpo.errors import StorageError

DEFAULT_URL = "sqlite:///hpo.db"
#: File systems whose locks or shared memory do not reach other machines.
NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "fuse.sshfs",
    "glusterfs",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.davfs",
    "beegfs",
    "gpfs",
    "orangefs",
)


def checked_url(url: str) -> str:
    """Return ``url`` if it names a database that we support.

    Raises:
        StorageError: It does not.
    """
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        raise StorageError(
            f"{url!r} is not a database URL. Expected for example {DEFAULT_URL} or "
            "postgresql+psycopg://user@host/name."
        ) from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise StorageError(
            f"{shown(url)!r} is a {backend} database; hpo works with SQLite and PostgreSQL."
        )
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StorageError(f"{url!r} would be gone with the process. Name a file: {DEFAULT_URL}.")
    if backend == "postgresql" and parsed.drivername == "postgresql":
        return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    return url


def shown(url: str) -> str:
    """Return ``url`` as it may be printed: a file's path, or the address without its password."""
    path = sqlite_path(url)
    return str(path) if path else sa.make_url(url).render_as_string(hide_password=True)


def sqlite_path(url: str) -> Path | None:
    """Return the file of an SQLite database, or None for a server."""
    parsed = sa.make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def refuse_network(path: Path) -> None:
    """Refuse an SQLite file on a network file system, where its locks do not hold.

    Raises:
        StorageError: It is on one.
    """
    kind = file_system(path)
    if kind in NETWORK:
        raise StorageError(
            f"{path} is on a network file system ({kind}), where SQLite's locks do not hold and a "
            "database gets damaged. Use a local disk, or PostgreSQL: --storage postgresql+psycopg://..."
        )


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """Return the type of the file system that ``path`` is on, or None where it cannot be known."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return None
    target, found, kind = os.fsencode(path.resolve()), b"", None
    for line in lines:
        fields = line.split(b" ")
        if len(fields) < 3:
            continue
        # Blanks, tabs, line ends and backslashes are written in octal, all other bytes as they are.
        mounted = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8) & 255]), fields[1])
        inside = target == mounted or target.startswith(mounted.rstrip(b"/") + b"/")
        if inside and len(mounted) >= len(found):
            found, kind = mounted, os.fsdecode(fields[2])
    return kind
