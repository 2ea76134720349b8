"""What is begun before anything else: worker processes, and the check of the images.

Processes need half a second to import. So does the process that starts them, at the same time; what is
imported here takes no time itself.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from hpo.commands.request import Order, Request
from hpo.database.glance import is_done
from hpo.machine import cores
from hpo.workers.member import Reserve


def reserve(request: Request, storage: str, n_workers: int | None) -> Reserve:
    """Return the processes that a run will need for sure, which wait for their job.

    Args:
        n_workers: As it was asked for; None leaves it to the work that there is.

    Raises:
        HpoError: There is no such definition.
    """
    known = request.name or request.definition.name
    return Reserve(0 if is_done(storage, known) else _n_sure(n_workers, str(request.data)))


def order(
    request: Request,
    environ: Mapping[str, str],
    notify: Callable[[str], None],
    stop: Callable[[], bool],
) -> Callable[[], Order]:
    """Return what waits for a request with its images, which a thread finds and checks meanwhile.

    Raises:
        HpoError: There is no such definition; all else is raised where it is waited for.
    """
    _ = request.definition  # a user's file, which may be run in this thread alone

    def found() -> Order:
        from hpo.commands import images

        return request.order(images.finder(environ, notify, stop), environ, notify)

    with_images = ThreadPoolExecutor(1, thread_name_prefix="images")
    return with_images.submit(found).result


def _n_sure(n_workers: int | None, data: str) -> int:
    """Return how many processes are sure enough to be needed; a study on digits needs none."""
    n_cores = cores.usable_cores()
    if n_workers is not None:  # the others are started when it is known that there is work for them
        return min(n_workers, n_cores) if n_workers > 1 else 0
    return n_cores if n_cores > 1 and data != "digits" else 0
