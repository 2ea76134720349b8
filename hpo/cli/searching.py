"""Commands that search: ``run`` and ``reproduce``."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    ToldIn,
    TrainMetrics,
    Workers,
    folder,
    request_of,
)
from hpo.machine.console import say, say_reading, tell
from hpo.views.story import Story

if TYPE_CHECKING:
    from hpo.commands.request import Order, Request
    from hpo.commands.running import Outcome
    from hpo.machine.signals import StopRequest


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
    budget_epochs: BudgetEpochs = None,
    budget_minutes: BudgetMinutes = None,
    workers: Workers = None,
    grace: Grace = 60.0,
    cell: Cell = None,
    again: Annotated[
        bool, typer.Option("--again", help="Look at the test images once more, on purpose (final).")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=folder,
            metavar="<path>",
            help="Folder for weights and model card (final); default: <study>-model.",
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(help="Train on a Dask cluster: address or file of its scheduler, or local."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, and train nothing.")
    ] = False,
    format_: ToldIn = "text",
    profile: Annotated[
        bool, typer.Option("--profile", help="Say in the end where the time went.")
    ] = False,
) -> int:
    """Run a study to its end; interrupted, the same command goes on with what is missing.

    Example: hpo run coarse --data digits
    """
    say_reading(data)
    from hpo.machine.signals import StopRequest

    request = request_of(context)
    with StopRequest() as stop, _without_bytecode() if dry_run else nullcontext():
        _check_meaning(request, again, out, dry_run or format_ == "text")
        if dry_run:
            tell(_described(request, storage, stop, workers, format_), format_)
            return 0
        story = Story()
        status = _carried_out(request, storage, story, stop, workers, grace, again, out, dask)
        if profile:
            say(story.profile())
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
    dask: str | None,
) -> int:
    """Run the study, say what came of it, and return the exit status."""
    from hpo.commands import early
    from hpo.machine.signals import Interrupted

    with early.reserve(request, storage, workers if dask is None else 1) as reserve:
        ordered = early.order(request, os.environ, say, stop)
        from hpo.commands import ending, running, watching  # while they import theirs

        with closing(watching.Onlooker(storage, stop)) as story.look, story:
            order = ordered()
            model_folder = ending.model_folder(order, out)
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
                    announce=story.warn,
                    dask=dask,
                ) as outcome:
                    story.close()
                    status = _tell(outcome, stop)
                    if outcome.looks_at_test_images:
                        _tell_test(outcome, order, model_folder)
            except Interrupted:
                say("Interrupted before the end; run the same command to go on.")
                return stop.exit_status
    return status


def _described(
    request: "Request", storage: str, stop: "StopRequest", workers: int | None, form: str
) -> str:
    """Return what a run would train, and leave everything on this machine as it is."""
    from hpo.commands import dry_run

    return dry_run.told(request, storage, os.environ, say, stop, workers, form)


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
    from hpo.commands import ending

    stored, before, after = outcome.study.stored, outcome.before, outcome.after
    if before.n_recovered:
        trials = "trial" if before.n_recovered == 1 else "trials"
        say(f"{before.n_recovered} {trials} of processes that died were taken up again.")
    if not after.is_complete and stop():
        say(ending.left(outcome))
        return stop.exit_status
    failed = ending.failed(outcome)
    if failed is not None and not stop():
        raise failed
    if not after.is_complete:
        say(f"{outcome.n_missing} cells of {stored.name} are still missing; run the command again.")
        return 1
    if before.is_complete:
        say(f"All {before.n_slots} cells of {stored.name} were done before; nothing was trained.")
    tell(ending.table(outcome))
    return 0


def _tell_test(outcome: "Outcome", order: "Order", place: Path) -> None:
    """Print what the test images say, and write the best network with its model card."""
    from hpo.commands import ending

    verdict = ending.verdict(outcome)
    if not verdict:
        say("No cell came to its end in every replicate, so nothing was shown the test images.")
        return
    for line in verdict:
        tell(line)
    for path in ending.write_model(outcome, order, place, say):
        say(f"Wrote {path}")


def _check_meaning(request: "Request", again: bool, out: Path | None, is_for_people: bool) -> None:
    """Refuse options about the test images for a study that never looks at them, and JSON of a run."""
    if not is_for_people:
        raise typer.BadParameter(
            "--format json goes with --dry-run; what a run came to is told by `hpo best` and `hpo export`."
        )
    definition = request.definition  # a mistake in it is told first
    for option, given in (("--again", again), ("--out", out is not None)):
        if given and not definition.evaluates_test:
            raise typer.BadParameter(
                f"{option} is for a study that ends with the test images, as final does; "
                f"{definition.name!r} does not."
            )


def reproduce(
    workdir: Annotated[
        Path,
        typer.Option(
            parser=folder,
            metavar="<path>",
            help="Folder for the database; a second run goes on from it.",
        ),
    ] = Path("hpo-reproduce"),
    data: Data = "cifar10",
) -> int:
    """Reproduce every figure that the notebook printed, beside the published ones.

    Takes a few minutes. Exit status 0 only if everything matches.

    Example: hpo reproduce --workdir /tmp/reproduce
    """
    from hpo.commands import images
    from hpo.commands import reproduce as reproduction
    from hpo.machine.signals import Interrupted, StopRequest

    with StopRequest() as stop, Story() as story:
        try:
            source = images.source(data, os.environ, say, stop)
            figures = reproduction.reproduce(source, workdir, stop, story, os.environ)
        except Interrupted:
            say(f"Interrupted. `hpo reproduce --workdir {workdir}` goes on from here.")
            return stop.exit_status
    tell(reproduction.table(figures))
    return 0 if all(figure.matches for figure in figures) else 1
