"""Commands that search: ``run`` and ``reproduce``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.cli.options import (
    DEFAULT_STORAGE,
    Data,
    Grace,
    Pruner,
    Replicates,
    StorageUrl,
    Workers,
    open_source,
)
from hpo.progress import Story, say

if TYPE_CHECKING:
    from hpo.definition import StudyDefinition
    from hpo.running import Outcome
    from hpo.signals import StopRequest
    from hpo.storage import Storage


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(run)
    app.command()(reproduce)


def run(
    study: Annotated[
        str, typer.Argument(help="A name in studies/, a dotted path, or a file with a STUDY.")
    ],
    storage: StorageUrl = DEFAULT_STORAGE,
    data: Data = "cifar10",
    protocol: Annotated[
        str, typer.Option(help="standard, or notebook: its random stream, order and precision.")
    ] = "standard",
    train_metrics: Annotated[
        str | None,
        typer.Option(help="running: means over mini-batches; full: the whole training set."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the study in the storage.")] = None,
    parent: Annotated[
        str | None, typer.Option("--from", help="Stored study to derive this one from.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and orders.")] = None,
    pruner: Pruner = None,
    replicates: Replicates = None,
    workers: Workers = None,
    grace: Grace = 60.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, and train nothing.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Say in the end where the time went.")
    ] = False,
) -> int:
    """Run a study to its end; interrupted, the same command goes on with what is missing.

    Example: hpo run coarse --data digits
    """
    from hpo.member import Reserve
    from hpo.signals import StopRequest

    with StopRequest() as stop:
        n_early = 0 if dry_run else _started_early(workers, data)
        with Reserve(n_early) as reserve, Story() as story:
            from hpo import estimate, lookup, prepared, running  # while the processes import theirs
            from hpo.profile import table
            from hpo.storage import Interrupted

            definition = with_options(
                lookup.definition(study),
                protocol,
                train_metrics=train_metrics,
                seed=seed,
                pruner=pruner,
                replicates=replicates,
            )
            source = open_source(data, stop)
            dataset = prepared.training(source, os.environ)
            if dry_run:
                typer.echo(estimate.describe(definition, dataset, storage, name, parent, say))
                return 0
            opened = running.open_for(
                definition, dataset, storage, stop, name=name, parent_name=parent
            )
            try:
                outcome = running.run(
                    definition,
                    dataset,
                    opened,
                    story,
                    stop,
                    name=name,
                    parent_name=parent,
                    notify=say,
                    n_workers=workers,
                    source=source,
                    grace=grace,
                    reserve=reserve,
                )
                if outcome.n_missing == 0 and definition.evaluates_test:
                    running.show_test_images(opened, outcome.study, dataset, source)
            except Interrupted:
                say("Interrupted before anything was trained; run the same command to go on.")
                return stop.exit_status
            story.close()
            status = _tell(outcome, opened, stop)
            opened.close()
        if profile:
            say(table(story.phases))
    return status


def _tell(outcome: "Outcome", storage: "Storage", stop: "StopRequest") -> int:
    """Print what a run came to, and return its exit status."""
    from hpo import report
    from hpo.errors import CellsFailed

    stored, before = outcome.study.stored, outcome.before
    if before.n_recovered:
        trials = "trial" if before.n_recovered == 1 else "trials"
        say(f"{before.n_recovered} {trials} of processes that died were taken up again.")
    if outcome.after.failed and not stop():
        raise CellsFailed(stored.name, report.failures(stored.experiment, outcome.after))
    if outcome.n_missing and not stop():
        say(f"{outcome.n_missing} cells of {stored.name} are still missing; run the command again.")
        return 1
    if outcome.n_missing:
        say(
            f"Interrupted: {outcome.n_counted} of {before.n_slots} cells of {stored.name} are done, "
            f"{outcome.n_missing} are left. Run the same command to go on."
        )
        return stop.exit_status
    if before.n_counted == before.n_slots:
        say(f"All {before.n_slots} cells of {stored.name} were done before; nothing was trained.")
    typer.echo(storage.write(lambda connection: report.table(report.read(connection, stored))))
    return 0


def _started_early(workers: int | None, data: str) -> int:
    """Return how many processes are sure enough to be needed; a study on digits needs none."""
    from hpo.hosts import usable_cores

    if workers is not None:
        return workers if workers > 1 else 0
    n_cores = usable_cores()
    return n_cores if n_cores > 1 and data != "digits" else 0


def reproduce(
    workdir: Annotated[
        Path, typer.Option(help="Folder for the database; a second run goes on from it.")
    ] = Path("hpo-reproduce"),
    data: Data = "cifar10",
) -> int:
    """Reproduce every figure that the notebook printed, beside the published ones.

    Takes a few minutes. Exit status 0 only if everything matches.

    Example: hpo reproduce --workdir /tmp/reproduce
    """
    from hpo import reproduce as reproduction
    from hpo.signals import StopRequest
    from hpo.storage import Interrupted

    with StopRequest() as stop:
        source = open_source(data, stop)
        try:
            figures = reproduction.reproduce(source, workdir, stop)
        except Interrupted:
            say(f"Interrupted. `hpo reproduce --workdir {workdir}` goes on from here.")
            return stop.exit_status
    typer.echo(reproduction.table(figures))
    return 0 if all(figure.matches for figure in figures) else 1


def with_options(
    definition: "StudyDefinition", protocol: str, **given: str | int | None
) -> "StudyDefinition":
    """Return the definition as the options of a command change it; None changes nothing."""
    from dataclasses import replace

    from hpo.definition import PROTOCOLS
    from hpo.errors import InvalidDefinition

    if protocol not in PROTOCOLS:
        raise InvalidDefinition(f"--protocol must be standard or notebook, got {protocol!r}.")
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return replace(definition.in_protocol(protocol), **changes)
