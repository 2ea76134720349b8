"""What must be done now and then for all studies, by one process of many: ``hpo serve`` does it.

Idle workers find the dead of the study that they wait for; this finds those whom nobody waits for.
"""

from hpo.database import housekeeping, leases
from hpo.database.connections import Connection
from hpo.database.holders import holders
from hpo.database.storage import Storage
from hpo.database.tally import live_by_study
from hpo.errors import HpoError, is_of_one_study
from hpo.experiment.records import State
from hpo.mirror import study as studies
from hpo.planning.plan import plan_unless_planned


def tidy(storage: Storage) -> list[str]:
    """Free what dead workers hold, and sweep rows; return the names of the studies that had some.

    If another process is at it, nothing is done.
    """
    with leases.tried(storage, "janitor") as renew:
        if renew is None:
            return []
        freed = []
        for uuid in storage.read(_with_dead):
            renew()
            try:
                study = studies.by_uuid(storage, uuid)
                if study is not None and plan_unless_planned(study) is not None:
                    freed.append(study.stored.name)
            except HpoError as error:
                if not is_of_one_study(error):  # one that cannot be read harms itself alone
                    raise
        storage.write(housekeeping.sweep)
    return freed


def _with_dead(connection: Connection) -> list[str]:
    live = live_by_study(connection)
    running = [uuid for uuid, states in live.items() if State.RUNNING in states]
    return [uuid for uuid in running if holders(connection, uuid).some_died]
