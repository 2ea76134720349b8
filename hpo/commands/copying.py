"""Studies copied from one database into another, on SQLite or PostgreSQL."""

from collections.abc import Callable, Sequence
from functools import partial
from uuid import uuid4

from hpo.commands import mending
from hpo.database import leases
from hpo.database.connections import Connection
from hpo.database.locations import DEFAULT_STORAGE
from hpo.database.reader import read_once
from hpo.database.storage import Storage
from hpo.errors import HpoError, StudyNotFound
from hpo.mirror import copying
from hpo.mirror import study as studies
from hpo.planning.plan import plan


def copy(
    names: Sequence[str],
    to: str,
    *,
    storage: str = DEFAULT_STORAGE,
    move: bool = False,
    stop: Callable[[], bool] = lambda: False,
    notify: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Copy studies whole, with all that they rest on; return how many rows of each.

    Each one is read at one moment. Of one that is there already nothing is copied. After a kill the
    same command begins that study anew.

    Args:
        to: SQLAlchemy URL of the other database, which is made if it is not there.
        move: Call each study off here before it is copied, and delete it here when the copy is the
            same; its looks at the test images go on counting here, too.
        notify: Is told whom a long wait is for.

    Raises:
        StudyNotFound: There is none of a name.
        HpoError: As `hpo.mirror.copying.copy`.
    """
    read_once(storage, lambda c: [studies.stored(c, name) for name in names], stop, notify)
    found = {}
    with Storage(to, stop, notify=notify) as target:
        if move:
            _refuse_itself(storage, target, stop)
        for name in names:
            if move:  # so that nobody begins to train it meanwhile
                mending.cancel(name, storage=storage, stop=stop, notify=notify)

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
    if move:  # what was copied is on the disk by now
        for name in names:
            mending.delete(name, storage=storage, stop=stop, notify=notify)
    return found


def _refuse_itself(storage: str, target: Storage, stop: Callable[[], bool]) -> None:
    """Refuse to move studies to where they are, by whatever address that goes."""
    name = f"move {uuid4()}"
    with Storage(storage, stop, notify=target.notify) as here, leases.held(here, name):
        if target.read(lambda connection: leases.is_held(connection, name)):
            raise HpoError(
                "--to names the very database that the studies are in. Name another one."
            )
