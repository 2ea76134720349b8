"""Commands that search: ``run`` and ``reproduce``."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.options import (
    DEFAULT_STORAGE,
    Budget,
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
    TrainMetrics,
    Workers,
    open_source,
    request_of,
)
from hpo.machine.console import say, tell
from hpo.views.story import Story

if TYPE_CHECKING:
    from hpo.commands.request import Order, Request
    from hpo.commands.running import Outcome
    from hpo.definition.study import StudyDefinition
    from hpo.machine.signals import StopRequest
    from hpo.mirror.study import OpenStudy
    from model.data import Dataset


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(run)
    app.command()(reproduce)


def run(
    context: typer.Context,
    study: Definition,
    storage: StorageUrl = DEFAULT_STORAGE,
    data: Data = "cifar10",
    protocol: Protocol = None,
    train_metrics: TrainMetrics = None,
    name: Name = None,
    parent: Parent = None,
    seed: Seed = None,
    pruner: Pruner = None,
    replicates: Replicates = None,
    sampler: Sampler = None,
    budget: Budget = None,
    workers: Workers = None,
    grace: Grace = 60.0,
    cell: Cell = None,
    again: Annotated[
        bool, typer.Option("--again", help="Look at the test images once more, on purpose (final).")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for weights and model card (final); default: <study>-model."),
    ] = None,
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
    from hpo.machine.signals import StopRequest

    request = request_of(context)
    with StopRequest() as stop, _without_bytecode() if dry_run else nullcontext():
        _check_meaning(request.definition, again, out)
        if dry_run:
            tell(_described(request, storage, stop))
            return 0
        story = Story()
        status = _carried_out(request, storage, story, stop, workers, grace, again, out)
        if profile:
            _tell_where_the_time_went(story)
    return status


def _carried_out(
    request: "Request",
    storage: str,
    story: Story,
    stop: "StopRequest",
    workers: int | None,
    grace: float,
    again: bool,
    out: Path | None,
) -> int:
    """Run the study, say what came of it, and return the exit status."""
    from hpo.database.glance import is_done
    from hpo.workers.member import Reserve

    known = request.name or request.definition.name
    n_early = 0 if is_done(storage, known) else _started_early(workers, str(request.data))
    with Reserve(n_early) as reserve, story:
        from hpo.commands import running  # while the processes import theirs
        from hpo.database.storage import Interrupted

        order = request.order(lambda spec: open_source(spec, stop), os.environ, say)
        folder = _model_folder(order, out)
        try:
            with running.to_the_end(
                order,
                storage,
                story,
                stop,
                n_workers=workers,
                grace=grace,
                reserve=reserve,
                again=again,
            ) as outcome:
                story.close()
                status = _tell(outcome, stop)
                if outcome.looks_at_test_images:
                    _tell_test(outcome.study, order.dataset, folder)
        except Interrupted:
            say("Interrupted before the end; run the same command to go on.")
            return stop.exit_status
    return status


def _described(request: "Request", storage: str, stop: "StopRequest") -> str:
    """Return what a run would train, and leave everything on this machine as it is."""
    from hpo.commands import estimate
    from hpo.commands.request import Order
    from hpo.data import sources

    missing = sources.to_fetch(str(request.data), os.environ)
    if missing is not None:
        return missing
    dataset = open_source(str(request.data), stop).training()
    order = Order(request.definition, dataset, None, request.name, request.parent, request.cell)
    return estimate.describe(order, storage, say)


@contextmanager
def _without_bytecode() -> Iterator[None]:
    """Let no import leave compiled code beside a user's file."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _tell(outcome: "Outcome", stop: "StopRequest") -> int:
    """Print what a run came to, and return its exit status."""
    from hpo.errors import CellsFailed
    from hpo.views import report

    stored, before, after = outcome.study.stored, outcome.before, outcome.after
    if before.n_recovered:
        trials = "trial" if before.n_recovered == 1 else "trials"
        say(f"{before.n_recovered} {trials} of processes that died were taken up again.")
    if not after.is_complete and stop():
        say(_left(outcome))
        return stop.exit_status
    if after.failed and not stop():
        raise CellsFailed(stored.name, report.failures(stored.experiment, after))
    if not after.is_complete:
        say(f"{outcome.n_missing} cells of {stored.name} are still missing; run the command again.")
        return 1
    if before.is_complete:
        say(f"All {before.n_slots} cells of {stored.name} were done before; nothing was trained.")
    storage = outcome.study.storage
    tell(storage.read(lambda connection: report.table(report.read(connection, stored))))
    return 0


def _left(outcome: "Outcome") -> str:
    """Return what is left of a study after an interruption."""
    after = outcome.after
    left = f"{outcome.n_missing} are left"
    if not after.is_over:
        left += f", and {after.n_unplanned:,} updates for more"
    return (
        f"Interrupted: {outcome.n_counted} of {after.n_slots} cells of {outcome.study.stored.name} are "
        f"done, {left}. Run the same command to go on."
    )


def _tell_test(study: "OpenStudy", dataset: "Dataset", folder: Path) -> None:
    """Print what the test images say, and write the best network with its model card."""
    from hpo.held_out import final
    from hpo.held_out.verdict import verdict

    found = study.storage.read(lambda connection: verdict(connection, study.stored))
    if found is None:
        say("No cell came to its end in every replicate, so nothing was shown the test images.")
        return
    tell(found.spread())
    tell(f"Looks at the test images: {found.looks()}")
    for path in final.write_model(study, dataset, folder, say):
        say(f"Wrote {path}")


def _tell_where_the_time_went(story: Story) -> None:
    from hpo.training.phases import table

    say(table(story.phases))


def _check_meaning(definition: "StudyDefinition", again: bool, out: Path | None) -> None:
    """Refuse options about the test images for a study that never looks at them."""
    for option, given in (("--again", again), ("--out", out is not None)):
        if given and not definition.evaluates_test:
            raise typer.BadParameter(
                f"{option} is for a study that ends with the test images, as final does; "
                f"{definition.name!r} does not."
            )


def _model_folder(order: "Order", out: Path | None) -> Path:
    """Return the folder for the files, which can be written to, if there will be some."""
    from hpo.machine import files

    folder = out or Path(f"{order.study_name}-model")
    if order.definition.evaluates_test:
        files.check_folder(folder)
    return folder


def _started_early(workers: int | None, data: str) -> int:
    """Return how many processes are sure enough to be needed; a study on digits needs none."""
    from hpo.machine.cores import usable_cores

    n_cores = usable_cores()
    if workers is not None:  # the others are started when it is known that there is work for them
        return min(workers, n_cores) if workers > 1 else 0
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
    from hpo.commands import reproduce as reproduction
    from hpo.database.storage import Interrupted
    from hpo.machine.signals import StopRequest

    with StopRequest() as stop, Story() as story:
        try:
            source = open_source(data, stop)
            figures = reproduction.reproduce(source, workdir, stop, story, os.environ)
        except Interrupted:
            say(f"Interrupted. `hpo reproduce --workdir {workdir}` goes on from here.")
            return stop.exit_status
    tell(reproduction.table(figures))
    return 0 if all(figure.matches for figure in figures) else 1
