"""What a database's errors mean: worth another try, or a sentence for the user."""

from sqlalchemy.exc import DBAPIError

from hpo.errors import StorageError
from hpo.locations import shown, sqlite_path

#: Signs that trying again may help: somebody else holds the database, or the server is away.
TRANSIENT = (
    "database is locked",
    "database table is locked",
    "connection refused",
    "connection is closed",
    "connection is lost",
    "connection failed",
    "closed the connection",
    "connection was closed",
    "server closed",
    "not connected",
    "consuming input failed",
    "sending query failed",
    "is starting up",
    "is shutting down",
    "recovery mode",
    "terminating connection",
    "no such file or directory",  # the socket of a PostgreSQL that is being restarted
    "deadlock detected",
    "could not serialize",
    "timeout expired",
    "lock timeout",
    "idle-in-transaction timeout",
)


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help."""
    original = _original(error)
    if isinstance(original, DBAPIError) and original.connection_invalidated:
        return True
    text = _text(error).lower()
    return any(sign in text for sign in TRANSIENT)


def explain(error: BaseException, url: str) -> StorageError | None:
    """Return the sentence for a database error, or None when it is not one."""
    wrapped = type(error).__name__ == "StorageInternalError"  # Optuna's; not imported by readers
    if not wrapped and not isinstance(error, DBAPIError | OSError):
        return None
    text = _text(error)
    where = shown(url)
    for sign, sentence in (
        ("file is not a database", f"{where} is not an SQLite database, or is damaged."),
        ("unable to open database", _unopenable(url)),
        ("readonly database", f"{where} cannot be written: the file or its folder is read-only."),
        ("disk is full", f"No space left for {where}. Free some and run the same command again."),
        ("No space left", f"No space left for {where}. Free some and run the same command again."),
        ("disk I/O error", f"The disk under {where} fails to read or write. Check it."),
        ("malformed", f"{where} is damaged. Restore a copy, or start with another --storage."),
        ("is locked", f"{where} has been held by another process for too long. End that one."),
        ("no such table", f"{where} is a database, but hpo has not written to it yet."),
        ("password authentication", f"{where} does not accept this user and password."),
    ):
        if sign in text:
            return StorageError(sentence)
    first = text.splitlines()[0] if text else type(error).__name__
    if is_transient(error):
        return StorageError(f"The database {where} cannot be reached ({first}). Is it running?")
    return StorageError(f"The database {where} reports: {first}")


def _original(error: BaseException) -> BaseException:
    """Return the database's own error, which Optuna wraps."""
    while not isinstance(error, DBAPIError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _text(error: BaseException) -> str:
    original = _original(error)
    return str(original.orig) if isinstance(original, DBAPIError) else str(original)


def _unopenable(url: str) -> str:
    path = sqlite_path(url)
    if path is None:
        return f"{shown(url)} cannot be opened."
    if path.is_dir():
        return f"{path} is a folder; the database must be a file in it, for example {path}/hpo.db."
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} for the database {path.name}. Make it first."
    return f"{path} cannot be opened for writing."
