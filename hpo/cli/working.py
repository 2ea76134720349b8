"""Commands for many processes and machines: ``worker``, ``submit``, ``queue``, ``doctor``, ``copy`` ..."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hpo.cli.options import (
    DEFAULT_STORAGE,
    Budget,
    BudgetEpochs,
    BudgetMinutes,
    Cell,
    Data,
    Definition,
    Grace,
    Name,
    Parent,
    Protocol,
    Pruner,
    Replicates,
    Sampler,
    Seed,
    StorageUrl,
    StudyName,
    ToldIn,
    TrainMetrics,
    a_number,
    request_of,
)
from hpo.machine.console import say, say_reading, tell


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(worker)
    app.command()(submit)
    app.command()(cancel)
    app.command()(queue)
    app.command()(retry)
    app.command()(doctor)
    app.command()(copy)
    app.command()(backup)


def worker(
    studies: Annotated[
        list[str] | None, typer.Argument(help="Studies to work for; all on these images if none.")
    ] = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    data: Data = "cifar10",
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for new work until told to stop.")
    ] = False,
    idle_exit: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=86_400,
            callback=a_number,
            help="Wait for new work for so many seconds at most.",
        ),
    ] = None,
    max_hours: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=8760,
            callback=a_number,
            help="Stop after so many hours, as if told to; status 0.",
        ),
    ] = None,
    grace: Grace = 60.0,
) -> int:
    """Join in: train what is waiting in a storage until nothing is left.

    Start it in several terminals, or on several machines with one PostgreSQL.

    Example: hpo worker coarse --watch
    """
    say_reading(data)
    from hpo.commands import images, looking, watching
    from hpo.commands.studies import work_on
    from hpo.machine.signals import StopRequest

    looking.check(storage, say)  # a worker makes no database
    with StopRequest(max_hours) as stop, watching.story(storage, stop) as story:
        dataset = images.training(data, os.environ, say, stop)
        more = (story, stop, grace, idle_exit)
        n_trained = work_on(dataset, studies or [], storage, watch, *more)
    if stop():
        say(f"Stopped; {n_trained} trials were trained here, what was begun is given back.")
        return stop.exit_status
    tell(f"Nothing is left to do; {n_trained} trials were trained here.")
    return 0


def submit(
    context: typer.Context,
    study: Definition,
    storage: StorageUrl = DEFAULT_STORAGE,
    data: Data = "cifar10",
    protocol: Protocol = None,
    name: Name = None,
    parent: Parent = None,
    seed: Seed = None,
    pruner: Pruner = None,
    replicates: Replicates = None,
    sampler: Sampler = None,
    budget: Budget = None,
    budget_epochs: BudgetEpochs = None,
    budget_minutes: BudgetMinutes = None,
    cell: Cell = None,
    train_metrics: TrainMetrics = None,
    priority: Annotated[
        int | None,
        typer.Option(min=-1000, max=1000, help="Workers serve higher ones first; 0 by default."),
    ] = None,
) -> None:
    """Put a study's trials into the queue for workers that are running, and train nothing here.

    Example: hpo submit coarse --priority 5
    """
    from hpo.commands import images
    from hpo.commands.studies import queue
    from hpo.machine.signals import StopRequest

    with StopRequest() as stop:
        find = images.finder(os.environ, say, stop)
        order = request_of(context).order(find, os.environ, say)
        name, plan = queue(order, storage, stop, say, priority)
    waiting = plan.n_slots - plan.n_counted - len(plan.failed)
    tell(f"{name}: {waiting} of {plan.n_slots} trials are waiting or running.")


def cancel(study: StudyName, storage: StorageUrl = DEFAULT_STORAGE) -> None:
    """Call a study off: nobody trains it any further until it is run or submitted again.

    Who trains it gives it back within seconds. Nothing is lost.

    Example: hpo cancel coarse
    """
    from hpo.commands import mending, studies
    from hpo.machine.signals import StopRequest

    if studies.load(study, storage=storage).is_complete:
        tell(f"{study} is finished; there was nothing to call off.")
        return
    with StopRequest() as stop:
        mending.cancel(study, storage=storage, stop=stop, notify=say)
    tell(f"{study} is called off; `{mending.goes_on(study, storage)}` goes on with it.")


def queue(storage: StorageUrl = DEFAULT_STORAGE, format_: ToldIn = "text") -> None:
    """Print which studies wait, in the order in which workers serve them, and what for.

    Example: hpo queue
    """
    from hpo.commands import looking

    tell(looking.waiting(storage, say, format_), format_)


def retry(study: StudyName, storage: StorageUrl = DEFAULT_STORAGE) -> None:
    """Give the cells of a study that failed again and again another chance.

    Example: hpo retry coarse
    """
    from hpo.commands import mending
    from hpo.machine.signals import StopRequest

    with StopRequest() as stop:
        n_forgiven = mending.retry(study, storage=storage, stop=stop, notify=say)
    if not n_forgiven:
        tell(f"No cell of {study} has failed; there is nothing to try again.")
        return
    again = mending.goes_on(study, storage)
    tell(f"{n_forgiven} cells of {study} are waiting again. `{again}` trains them.")


def doctor(
    storage: StorageUrl = DEFAULT_STORAGE,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    format_: ToldIn = "text",
) -> int:
    """Examine a database: is it sound, is every checkpoint, do trials and cells agree.

    Exit status 1 if something is wrong that was not mended.

    Example: hpo doctor --storage sqlite:///hpo.db
    """
    from hpo.commands import doctor as examination
    from hpo.machine.signals import StopRequest

    if repair:
        with StopRequest() as stop:
            findings = examination.examine(storage, repair=True, stop=stop)
    else:
        findings = examination.examine(storage)
    tell(examination.report(findings, format_), format_)
    return 1 if any(finding.is_open for finding in findings) else 0


def backup(
    file: Annotated[
        Path, typer.Argument(help="A new SQLite file.", metavar="FILE", show_default=False)
    ],
    storage: StorageUrl = DEFAULT_STORAGE,
) -> None:
    """Copy a whole database of one moment into an SQLite file, also while workers go on.

    Example: hpo backup hpo-2026-11-28.db
    """
    from hpo.commands import backup as backing
    from hpo.machine.signals import StopRequest

    with StopRequest() as stop:
        n = backing.backup(file, storage=storage, stop=stop, notify=say)
    tell(
        f"Wrote {file}: {n} {'study' if n == 1 else 'studies'}. --storage sqlite:///{file} uses it."
    )


def copy(
    studies: Annotated[list[str], typer.Argument(help="Studies to copy.", metavar="STUDY...")],
    to: Annotated[str, typer.Option("--to", help="The other database; made if it is not there.")],
    move: Annotated[
        bool, typer.Option("--move", help="Delete here what is there, once it is the same.")
    ] = False,
    storage: StorageUrl = DEFAULT_STORAGE,
) -> None:
    """Copy studies into another database, whole and compared, from SQLite to PostgreSQL or back.

    Workers there go on with what is not done. A study that is in training is not copied.

    Example: hpo copy coarse-cifar10 --to postgresql://server/hpo
    """
    from hpo.commands import copying
    from hpo.machine.signals import StopRequest

    with StopRequest() as stop:
        found = copying.copy(studies, to, storage=storage, move=move, stop=stop, notify=say)
    for name, n_rows in found.items():
        told = f"{n_rows} rows copied." if n_rows else "the same is there already."
        tell(f"{name}: {told}{' It is no longer here.' if move else ''}")
