"""What a run would do, on a machine that is left as it is: ``hpo run --dry-run``."""

from collections.abc import Mapping

from hpo.commands import estimate, images
from hpo.commands.request import Request
from hpo.data import sources
from hpo.views import numbers


def told(
    request: Request,
    storage: str,
    environ: Mapping[str, str],
    notify: images.Notify,
    stop: images.Stop,
    n_workers: int | None = None,
    form: str = "text",
) -> str:
    """Return what a run would train, or what it would download first.

    Args:
        environ: The environment, for HPO_DATA and HPO_CACHE.
        n_workers: Processes that would train, or None for as many as are worth it.
        form: text or json.

    Raises:
        HpoError: The run would be refused.
    """
    spec = str(request.data)
    missing = sources.to_fetch(spec, environ)
    if missing is not None:
        return numbers.written({"to_fetch": missing}) if form == "json" else missing
    dataset = images.source(spec, environ, notify, stop).training()
    return estimate.describe(request.ordered(dataset), storage, notify, n_workers, form)
