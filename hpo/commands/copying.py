"""Studies copied from one database into another, on SQLite or PostgreSQL."""

from collections.abc import Callable, Sequence
from functools import partial

from hpo.database.connections import Connection
from hpo.database.locations import DEFAULT_STORAGE
from hpo.database.reader import read_once
from hpo.database.storage import Storage
from hpo.errors import StudyNotFound
from hpo.mirror import copying
from hpo.mirror import study as studies
from hpo.planning.plan import plan


def copy(
    names: Sequence[str],
    to: str,
    *,
    storage: str = DEFAULT_STORAGE,
    stop: Callable[[], bool] = lambda: False,
    notify: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Copy studies whole, with all that they rest on; return how many rows of each.

    Each one is read at one moment. Of one that is there already nothing is copied. After a kill the
    same command begins that study anew.

    Args:
        to: SQLAlchemy URL of the other database, which is made if it is not there.
        notify: Is told whom a long wait is for.

    Raises:
        StudyNotFound: There is none of a name.
        HpoError: As `hpo.mirror.copying.copy`.
    """
    read_once(storage, lambda c: [studies.stored(c, name) for name in names], stop, notify)
    found = {}
    with Storage(to, stop, notify=notify) as target:
        for name in names:

            def carry(connection: Connection, name: str = name) -> tuple[str, int]:
                study = studies.stored(connection, name)
                return study.uuid, copying.copy(connection, study, target)

            uuid, n_rows = read_once(storage, carry, stop, notify)
            made = studies.by_uuid(target, uuid)
            if made is None:  # deleted just now
                raise StudyNotFound(name, studies.names(target))
            plan(made)
            if n_rows:
                target.write(partial(copying.set_times, study=uuid))
            found[name] = n_rows
    return found
