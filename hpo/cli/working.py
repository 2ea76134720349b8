"""Commands for many processes and machines: ``worker``, ``submit``, ``retry`` and ``doctor``."""

import os
from typing import Annotated

import typer

from hpo.cli.options import (
    DEFAULT_STORAGE,
    Budget,
    Data,
    Definition,
    Grace,
    Protocol,
    Pruner,
    Replicates,
    Sampler,
    StorageUrl,
    StudyName,
    open_source,
)
from hpo.machine.console import say, tell
from hpo.views.story import Story


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(worker)
    app.command()(submit)
    app.command()(retry)
    app.command()(doctor)


def worker(
    studies: Annotated[
        list[str] | None, typer.Argument(help="Studies to work for; all on these images if none.")
    ] = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    data: Data = "cifar10",
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for new work until told to stop.")
    ] = False,
    grace: Grace = 60.0,
) -> int:
    """Join in: train what is waiting in a storage until nothing is left.

    Start it in several terminals, or on several machines with one PostgreSQL.

    Example: hpo worker coarse --watch
    """
    from hpo.commands import joining
    from hpo.data import prepared
    from hpo.database.reader import read_once
    from hpo.database.storage import Interrupted, Storage
    from hpo.machine.signals import StopRequest

    read_once(storage, lambda _: None)  # a worker makes no database
    with StopRequest() as stop:
        try:
            dataset = prepared.training(open_source(data, stop), os.environ)
            with Storage(storage, stop) as opened, Story() as story:
                n_trained = joining.join(opened, dataset, studies or [], story, stop, watch, grace)
        except Interrupted:
            n_trained = 0
        if stop():
            say(f"Stopped; {n_trained} trials were trained here, what was begun is given back.")
            return stop.exit_status
    tell(f"Nothing is left to do; {n_trained} trials were trained here.")
    return 0


def submit(
    study: Definition,
    storage: StorageUrl = DEFAULT_STORAGE,
    data: Data = "cifar10",
    protocol: Protocol = None,
    name: Annotated[str | None, typer.Option(help="Name of the study in the storage.")] = None,
    parent: Annotated[
        str | None, typer.Option("--from", help="Stored study to derive this one from.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and orders.")] = None,
    pruner: Pruner = None,
    replicates: Replicates = None,
    sampler: Sampler = None,
    budget: Budget = None,
) -> None:
    """Put a study's trials into the queue for workers that are running, and train nothing here.

    Example: hpo submit coarse
    """
    from hpo.commands import running
    from hpo.data import prepared
    from hpo.definition import lookup
    from hpo.machine.signals import StopRequest

    definition = lookup.definition(study).changed(
        protocol,
        seed=seed,
        pruner=pruner,
        replicates=replicates,
        sampler=sampler,
        budget=budget,
    )
    with StopRequest() as stop:
        dataset = prepared.training(open_source(data, stop), os.environ)
        with running.open_for(
            definition, dataset, storage, stop, name=name, parent_name=parent
        ) as opened:
            made, plan = running.submit(
                definition, dataset, opened, name=name, parent_name=parent, notify=say
            )
    waiting = plan.n_slots - plan.n_counted - len(plan.failed)
    tell(f"{made.stored.name}: {waiting} of {plan.n_slots} trials are waiting or running.")


def retry(study: StudyName, storage: StorageUrl = DEFAULT_STORAGE) -> None:
    """Give the cells of a study that failed again and again another chance.

    Example: hpo retry coarse
    """
    from hpo.database.reader import read_once
    from hpo.database.storage import Storage
    from hpo.errors import StudyNotFound
    from hpo.machine.signals import StopRequest
    from hpo.mirror import study as studies
    from hpo.planning import plan

    read_once(storage, lambda _: None)  # a database that is not there is not made
    with StopRequest() as stop, Storage(storage, stop) as opened:
        found = studies.find(opened, study)
        if found is None:
            raise StudyNotFound(study, studies.names(opened))
        n_forgiven = plan.retry(opened, found)
    definition = found.experiment.definition.name
    tell(f"{n_forgiven} cells of {study} are waiting again. `hpo run {definition}` trains them.")


def doctor(
    storage: StorageUrl = DEFAULT_STORAGE,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
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
    tell(examination.report(findings))
    return 1 if any(finding.is_open for finding in findings) else 0
