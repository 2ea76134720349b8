"""Commands for a service: the dashboard, workers that are kept, and files that start them."""

import os
from typing import Annotated

import typer

from hpo.cli.options import DEFAULT_STORAGE, Data, Grace, StorageUrl, Workers
from hpo.machine.console import say, tell


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(dashboard)
    app.command()(serve)
    app.command()(launcher)


def dashboard(
    storage: StorageUrl = DEFAULT_STORAGE,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where it is served; 0 finds a free one.")
    ] = 8080,
    allow_edit: Annotated[
        bool, typer.Option("--allow-edit", help="Let it change what is stored.")
    ] = False,
) -> None:
    """Show the stored studies in Optuna's dashboard, on this machine alone and only to look at.

    Example: hpo dashboard --port 8081
    """
    from hpo.commands import dashboard as showing

    showing.serve(storage, port, say, allow_edit=allow_edit, environ=os.environ)


def serve(
    storage: StorageUrl = DEFAULT_STORAGE,
    workers: Workers = None,
    data: Data = "cifar10",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where pages are; 0 finds a free one.")
    ] = 8080,
    host: Annotated[
        str, typer.Option(help="Address to listen at; another one opens the probes to others.")
    ] = "127.0.0.1",
    log_format: Annotated[
        str | None, typer.Option(help="text or json; by default text on a terminal.")
    ] = None,
    grace: Grace = 60.0,
) -> int:
    """Serve a database: keep workers that wait for studies, and show the dashboard, only to look at.

    /healthz, /readyz and /metrics are for machines. SIGTERM lets the workers give back what they hold.

    Example: hpo serve --workers 2 --data digits
    """
    from hpo.commands import serving
    from hpo.commands.keeping import Watch
    from hpo.machine.cores import usable_cores
    from hpo.machine.signals import StopRequest

    watch = Watch(storage, data, grace=grace, environ=dict(os.environ))
    with StopRequest() as stop:
        n_workers = workers or usable_cores()
        serving.serve(watch, n_workers, host, port, stop, log_format, os.environ)
    return stop.exit_status


def launcher(
    kind: Annotated[str, typer.Argument(help="systemd, slurm or kubernetes.")],
    workers: Workers = None,
    data: Data = "cifar10",
) -> None:
    """Print a file that others start our workers with, to be read and changed.

    Example: hpo launcher slurm --workers 16
    """
    from hpo.commands import launchers
    from hpo.machine.cores import usable_cores

    tell(launchers.text(kind, workers or usable_cores(), data).rstrip(), "file")
