"""What a database's errors mean: worth another try, or a sentence for the user.

Codes decide where there are any, since PostgreSQL speaks many languages. SQLite has one language,
and so has the part of PostgreSQL's driver that finds no server.
"""

from sqlalchemy.exc import DBAPIError

from hpo.database.locations import shown, sqlite_path, without_secrets
from hpo.errors import StorageError

BUSY, AWAY = "busy", "away"  #: somebody holds what we want; nobody answers
#: What SQLite's primary result codes mean.
OF_SQLITE = {
    3: "read-only",
    5: BUSY,
    6: BUSY,
    8: "read-only",
    10: "disk",
    11: "damaged",
    13: "full",
    14: "unopenable",
    15: BUSY,
    26: "no database",
}
#: What PostgreSQL's codes mean; a whole class by its first two letters.
OF_POSTGRESQL = {
    "08": AWAY,
    "25006": "replica",
    "25P03": AWAY,  # the transaction was idle for too long, and its connection is closed
    "28": "login",
    "3D000": "unknown",
    "3F000": "no schema",
    "40001": BUSY,
    "40P01": BUSY,
    "42501": "forbidden",
    "42P01": "empty",
    "42703": "not ours",
    "53100": "full",
    "53300": AWAY,
    "55P03": BUSY,
    "57P01": AWAY,
    "57P02": AWAY,
    "57P03": AWAY,
    "57P05": AWAY,
    "58030": "disk",
    "22P05": "encoding",
    "22021": "encoding",
    "XX001": "damaged",
    "XX002": "damaged",
}
#: Signs in the texts of what has no code, in lower letters.
BY_TEXT = {
    "database is locked": BUSY,
    "database table is locked": BUSY,
    "file is not a database": "no database",
    "unable to open database": "unopenable",
    "readonly database": "read-only",
    "disk is full": "full",
    "no space left": "full",
    "disk i/o error": "disk",
    "malformed": "damaged",
    "no such table": "empty",
    "no such column": "not ours",
    "has no column named": "not ours",
    "password authentication": "login",
    "no password supplied": "login",
    "failed to resolve": "no host",
    "could not translate": "no host",
    "connection refused": AWAY,
    "connection is closed": AWAY,
    "connection is lost": AWAY,
    "connection failed": AWAY,
    "closed the connection": AWAY,
    "connection was closed": AWAY,
    "server closed": AWAY,
    "not connected": AWAY,
    "consuming input failed": AWAY,
    "sending query failed": AWAY,
    "timeout expired": AWAY,
    "query_wait_timeout": AWAY,  # PgBouncer's
}
#: What stands in a driver's text when a server refuses to be connected to, and always will.
FINAL = ("does not exist", "pg_hba.conf", "startup parameter", "invalid ", "authentication")


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help."""
    return _nature(error) in (BUSY, AWAY)


def is_busy(error: BaseException) -> bool:
    """Tell whether the database is there, and somebody else holds what we want of it."""
    return _nature(error) == BUSY


def explain(error: BaseException, url: str) -> StorageError | None:
    """Return the sentence for a database error, or None when it is not one."""
    wrapped = type(error).__name__ == "StorageInternalError"  # Optuna's; not imported by readers
    if not wrapped and not isinstance(error, DBAPIError | OSError):
        return None
    where = shown(url)
    text = without_secrets(_text(error), url)
    first = text.splitlines()[0] if text else type(error).__name__
    sentence = {
        "no database": f"{where} is not an SQLite database, or is damaged. Name another one with "
        "--storage, or restore a copy.",
        "unopenable": _unopenable(url),
        "read-only": f"{where} cannot be written: the file or its folder is read-only.",
        "full": f"No space left for {where}. Free some and run the same command again.",
        "disk": f"The disk under {where} fails to read or write. Check it.",
        "damaged": f"{where} is damaged. Restore a copy, or start with another --storage.",
        BUSY: f"{where} has been held by another process for too long. End that one.",
        AWAY: f"The database {where} cannot be reached ({first}). Is it running?",
        "empty": f"{where} is a database, but hpo has not written to it yet.",
        "not ours": f"{where} has a table with the name of one of hpo's that is not as hpo makes it "
        f"({first}). Use another --storage; if hpo made it, restore a copy.",
        "login": f"{where} does not accept this user and password.",
        "replica": f"{where} only lets us read; is it a replica? Name the server that is written to.",
        "forbidden": f"{where} does not let this user do that ({first}). Ask its owner for the right.",
        "no schema": f"{where} has no schema that tables could be made in ({first}).",
        "encoding": f"{where} cannot store this text ({first}). hpo needs a database in UTF8.",
        "no host": f"The host of {where} is not known ({first}). Check the address.",
    }.get(_nature(error) or "")
    return StorageError(sentence or f"The database {where} reports: {first}")


def _nature(error: BaseException) -> str | None:
    """Return what kind of trouble it is, as far as we know."""
    original = _original(error)
    if isinstance(original, DBAPIError):
        found = _by_code(original.orig)
        if found is not None:
            return found
        if original.connection_invalidated:
            return AWAY
    text = _text(error).lower()
    for sign, kind in BY_TEXT.items():
        if sign in text and not (kind == AWAY and any(final in text for final in FINAL)):
            return kind
    if isinstance(original, DBAPIError) and _is_from_no_server(original.orig):
        return None if any(final in text for final in FINAL) else AWAY
    if isinstance(original, OSError) and isinstance(original, ConnectionError):
        return AWAY
    return None


def _by_code(original: object) -> str | None:
    state = getattr(original, "sqlstate", None)
    if isinstance(state, str):
        return OF_POSTGRESQL.get(state) or OF_POSTGRESQL.get(state[:2])
    code = getattr(original, "sqlite_errorcode", None)
    return OF_SQLITE.get(code & 0xFF) if isinstance(code, int) else None


def _is_from_no_server(original: object) -> bool:
    """Tell whether PostgreSQL's driver speaks, which met no server that answers with a code."""
    kind = type(original)
    is_drivers = kind.__module__.partition(".")[0] == "psycopg"
    return is_drivers and "OperationalError" in {base.__name__ for base in kind.__mro__}


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
    return f"{path} cannot be opened. May you read and write it, and its folder?"
