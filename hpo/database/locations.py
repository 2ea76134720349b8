"""Where a database is: URLs that we accept, and file systems that SQLite can live on.

A URL may hold a password, so nothing here quotes one as it came: see `concealed`.
"""

import os
import re
import stat
from pathlib import Path
from urllib.parse import quote, quote_plus

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from hpo.errors import StorageError

DEFAULT_STORAGE = "sqlite:///hpo.db"  #: in the current folder
DEFAULT_URL = "sqlite:///hpo.db"
SERVER_URL = "postgresql+psycopg://user@host/name"
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


#: Names of options in a URL or a connection string whose values are nobody's business.
SECRETS = r"(?i)\b(\w*(?:password|passwd|pwd|passfile|secret|token)\w*\s*=\s*)('[^']*'|[^&\s;]*)"
#: What SQLite keeps beside a database; none of it is one.
COMPANIONS = ("-wal", "-shm", "-journal")


def checked_url(url: str) -> str:
    """Return ``url`` if it names a database that we support; nothing is made or asked for it.

    Raises:
        StorageError: It does not.
    """
    _refuse_odd_characters(url)
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError(_no_url(url)) from None
    backend = parsed.get_backend_name()
    if backend == "file":
        raise StorageError(_no_url(url))
    if backend == "sqlite":
        _check_sqlite(url, parsed)
        return url
    if backend not in ("postgresql", "postgres"):
        raise StorageError(
            f"{concealed(url)!r} is a {backend} database; hpo works with SQLite and PostgreSQL."
        )
    return _checked_server(url, parsed)


def _refuse_odd_characters(url: str) -> None:
    if not isinstance(url, str):
        meant = f"sqlite:///{url}" if isinstance(url, os.PathLike) else DEFAULT_URL
        raise StorageError(f"A database is named by a URL, for example {meant}; got {url!r}.")
    if url != url.strip():
        raise StorageError(
            f"The database address {concealed(url)!r} begins or ends with a blank. Leave it out."
        )
    odd = next((character for character in url if not character.isprintable()), None)
    if odd is not None:
        raise StorageError(
            f"The database address {concealed(url)!r} holds {odd!r}, which cannot be printed. "
            f"Expected for example {DEFAULT_URL}."
        )


def _no_url(url: str) -> str:
    """Return the sentence for what is no URL, with the one that was probably meant."""
    told = f"{concealed(url)!r} is not a database URL."
    if url.startswith("postgres") or "@" in url or re.search(r"\b(host|dbname)\s*=", url):
        return (
            f"{told} Expected for example {SERVER_URL}; a port is a number, and several hosts go to "
            "the end, as in ?host=a:5432&host=b:5432."
        )
    path = re.sub("^/+", "/", re.sub("^(sqlite|file):", "", url))
    meant = DEFAULT_URL if not path or re.search("[:?]", path) else f"sqlite:///{path}"
    return f"{told} Expected for example {meant} or {SERVER_URL}."


def _check_sqlite(url: str, parsed: sa.URL) -> None:
    """Refuse what SQLite, or a shell, or another system would understand in another way."""
    told, raw = repr(concealed(url)), url.partition("://")[2]
    path = raw.removeprefix("/")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        fault = f"names a driver that hpo does not use. Write sqlite:///{path}"
    elif path in ("", ":memory:") or ":memory:" in path:
        fault = f"would be gone with the process. Name a file: {DEFAULT_URL}"
    elif not raw.startswith("/"):
        fault = f"has two slashes, after which a host would come. Write sqlite:///{raw}"
    elif path.startswith("file:"):
        fault = (
            f"is a URI with options of SQLite's, which hpo sets itself. Name a file: {DEFAULT_URL}"
        )
    elif "?" in path:
        fault = (
            "holds a '?', after which options begin, and hpo knows none for SQLite. "
            f"Write sqlite:///{path.partition('?')[0]}, or rename the file"
        )
    elif re.search("%[0-9A-Fa-f]{2}", path):
        fault = "holds a '%' that some programs take for another character. Rename the file"
    elif path.startswith("~"):
        fault = (
            "begins with '~', which nobody replaces in a URL. Write the whole path, for example "
            f"sqlite:///{os.path.expanduser(path)}"
        )
    elif os.name != "nt" and ("\\" in path or re.match("[A-Za-z]:", path)):
        fault = "is a path as Windows has them, and this is another system. Write it with slashes"
    elif path.endswith(COMPANIONS):
        fault = "is what SQLite keeps beside a database. Name the database itself"
    else:
        return
    raise StorageError(f"{told} {fault}.")


def _checked_server(url: str, parsed: sa.URL) -> str:
    """Return PostgreSQL's address with the driver that we use."""
    told = repr(concealed(url))
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise StorageError(
            f"{told} names a driver that hpo does not use. Write postgresql+psycopg:// before the host."
        )
    rest = url.partition("://")[2]
    written = rest.rpartition("@")[0]  # user and password, if that is where they end
    if "@" in written or (parsed.password is not None and re.search("[/?]", written)):
        raise StorageError(
            f"Where the password in {told} ends is not clear. Write @ as %40, / as %2F and ? as %3F "
            "in user, password and options."
        )
    if parsed.port is not None and not 1 <= parsed.port <= 65535:
        raise StorageError(f"{told} has port {parsed.port}; a port is 1 to 65535.")
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def concealed(text: str) -> str:
    """Return ``text``, which may be an address or quote one, without anything that may be secret.

    All between the first colon after the scheme and the last @ goes, whatever stands there.
    """
    text = re.sub(SECRETS, r"\1***", text)
    scheme, colons, rest = text.partition("://")
    if not colons:
        scheme, rest = "", text
    before, at, after = rest.rpartition("@")
    if not at:
        return text
    user, colon, _ = before.partition(":")
    return f"{scheme}{colons}{user}{':***' if colon else ''}@{after}"


def without_secrets(text: str, url: str) -> str:
    """Return what a driver or the server said, without what is secret in ``url``."""
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        return re.sub(SECRETS, r"\1***", text)
    told = [str(parsed.password)] if parsed.password else []
    for name, values in parsed.normalized_query.items():
        if re.fullmatch(SECRETS, f"{name}="):
            told += values
    told += [written for secret in told for written in (quote(secret), quote_plus(secret))]
    for secret in sorted(filter(None, told), key=len, reverse=True):
        text = text.replace(secret, "***")
    return re.sub(SECRETS, r"\1***", text)


def shown(url: str) -> str:
    """Return ``url`` as it may be printed: a file's path, or the address without its password."""
    path = sqlite_path(url)
    return str(path) if path else concealed(url)


def sqlite_path(url: str) -> Path | None:
    """Return the file of an SQLite database, or None for a server."""
    parsed = sa.make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def check_file(path: Path) -> None:
    """Refuse what cannot be, or become, a database file; nothing is made.

    Raises:
        StorageError: It is a folder, a device, or has no folder.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        target = path.resolve()
        if path.is_symlink() and not target.parent.is_dir():
            told = f"{path} is a link to {target}, whose folder is not there."
            raise StorageError(f"{told} Make it, or mend the link.") from None
        if not target.parent.is_dir():
            raise StorageError(
                f"There is no folder {path.parent} for the database {path.name}. Make it first."
            ) from None
        return
    except (OSError, RuntimeError) as error:  # too long, not a folder, a circle of links
        told = getattr(error, "strerror", None) or str(error)
        raise StorageError(f"{path} cannot be a database: {told}. Name another file.") from error
    if stat.S_ISDIR(mode):
        raise StorageError(
            f"{path} is a folder; the database must be a file in it, for example {path}/hpo.db."
        )
    if not stat.S_ISREG(mode):
        raise StorageError(f"{path} is no regular file, so it cannot be a database.")


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
