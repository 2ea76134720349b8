"""Commands that search: ``run`` and ``reproduce``."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    Workers,
    open_source,
)
from hpo.machine.console import say, tell
from hpo.views.story import Story

if TYPE_CHECKING:
    from hpo.commands.running import Outcome
    from hpo.database.storage import Storage
    from hpo.definition.study import StudyDefinition
    from hpo.machine.signals import StopRequest
    from hpo.mirror.study import OpenStudy
    from model.data import Dataset


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(run)
    app.command()(reproduce)


def run(
    study: Definition,
    storage: StorageUrl = DEFAULT_STORAGE,
    data: Data = "cifar10",
    protocol: Protocol = None,
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
    sampler: Sampler = None,
    budget: Budget = None,
    workers: Workers = None,
    grace: Grace = 60.0,
    cell: Annotated[
        int | None, typer.Option(min=0, help="Cell of the parent to go on from, not its best one.")
    ] = None,
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
    from hpo.database.glance import is_done
    from hpo.definition import lookup
    from hpo.machine.signals import StopRequest
    from hpo.workers.member import Reserve

    with StopRequest() as stop, _without_bytecode() if dry_run else nullcontext():
        definition = lookup.definition(study).changed(
            protocol,
            train_metrics=train_metrics,
            seed=seed,
            pruner=pruner,
            replicates=replicates,
            sampler=sampler,
            budget=budget,
        )
        _check_meaning(definition, again, out)
        known = name or definition.name
        n_early = 0 if dry_run or is_done(storage, known) else _started_early(workers, data)
        with Reserve(n_early) as reserve, Story() as story, ExitStack() as until_the_end:
            from hpo.commands import running
            from hpo.data import prepared  # while the processes import theirs
            from hpo.database.storage import Interrupted
            from hpo.training.phases import table

            if dry_run:
                tell(_described(definition, data, stop, storage, name, parent, cell))
                return 0
            source = open_source(data, stop)
            dataset = prepared.training(source, os.environ)
            folder = _model_folder(definition, dataset, name, out)
            opened = until_the_end.enter_context(
                running.open_for(
                    definition, dataset, storage, stop, name=name, parent_name=parent, cell=cell
                )
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
                    cell=cell,
                    notify=say,
                    n_workers=workers,
                    source=source,
                    grace=grace,
                    reserve=reserve,
                )
                is_tested = outcome.after.is_complete and definition.evaluates_test
                if is_tested:
                    from hpo.held_out import final

                    final.show_test_images(opened, outcome.study, dataset, source, again=again)
            except Interrupted:
                say("Interrupted before the end; run the same command to go on.")
                return stop.exit_status
            story.close()
            status = _tell(outcome, opened, stop)
            if is_tested:
                _tell_test(outcome.study, opened, dataset, folder)
        if profile:
            say(table(story.phases))
    return status


def _described(
    definition: "StudyDefinition",
    data: str,
    stop: "StopRequest",
    storage: str,
    name: str | None,
    parent: str | None,
    cell: int | None,
) -> str:
    """Return what a run would train, and leave everything on this machine as it is."""
    from hpo.commands import estimate
    from hpo.data import sources

    missing = sources.to_fetch(data, os.environ)
    if missing is not None:
        return missing
    dataset = open_source(data, stop).training()
    return estimate.describe(definition, dataset, storage, name, parent, say, cell)


@contextmanager
def _without_bytecode() -> Iterator[None]:
    """Let no import leave compiled code beside a user's file."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _tell(outcome: "Outcome", storage: "Storage", stop: "StopRequest") -> int:
    """Print what a run came to, and return its exit status."""
    from hpo.errors import CellsFailed
    from hpo.views import report

    stored, before = outcome.study.stored, outcome.before
    if before.n_recovered:
        trials = "trial" if before.n_recovered == 1 else "trials"
        say(f"{before.n_recovered} {trials} of processes that died were taken up again.")
    if outcome.after.failed and not stop():
        raise CellsFailed(stored.name, report.failures(stored.experiment, outcome.after))
    if not outcome.after.is_complete and not stop():
        say(f"{outcome.n_missing} cells of {stored.name} are still missing; run the command again.")
        return 1
    if not outcome.after.is_complete:
        left = f"{outcome.n_missing} are left"
        if not outcome.after.is_over:
            left += f", and {outcome.after.n_unplanned:,} updates for more"
        say(
            f"Interrupted: {outcome.n_counted} of {outcome.after.n_slots} cells of {stored.name} are "
            f"done, {left}. Run the same command to go on."
        )
        return stop.exit_status
    if before.is_complete:
        say(f"All {before.n_slots} cells of {stored.name} were done before; nothing was trained.")
    tell(storage.read(lambda connection: report.table(report.read(connection, stored))))
    return 0


def _tell_test(study: "OpenStudy", storage: "Storage", dataset: "Dataset", folder: Path) -> None:
    """Print what the test images say, and write the best network with its model card."""
    from hpo.held_out import final
    from hpo.held_out.verdict import verdict

    found = storage.read(lambda connection: verdict(connection, study.stored))
    if found is None:
        say("No cell came to its end in every replicate, so nothing was shown the test images.")
        return
    tell(found.spread())
    tell(f"Looks at the test images: {found.looks()}")
    for path in final.write_model(storage, study, dataset, folder, say):
        say(f"Wrote {path}")


def _check_meaning(definition: "StudyDefinition", again: bool, out: Path | None) -> None:
    """Refuse options about the test images for a study that never looks at them."""
    for option, given in (("--again", again), ("--out", out is not None)):
        if given and not definition.evaluates_test:
            raise typer.BadParameter(
                f"{option} is for a study that ends with the test images, as final does; "
                f"{definition.name!r} does not."
            )


def _model_folder(
    definition: "StudyDefinition", dataset: "Dataset", name: str | None, out: Path | None
) -> Path:
    """Return the folder for the files, which can be written to, if there will be some."""
    from hpo.definition.study import study_name
    from hpo.machine import files

    folder = out or Path(f"{name or study_name(definition, dataset.name)}-model")
    if definition.evaluates_test:
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

    with StopRequest() as stop:
        source = open_source(data, stop)
        try:
            with Story() as story:
                figures = reproduction.reproduce(source, workdir, stop, story, os.environ)
        except Interrupted:
            say(f"Interrupted. `hpo reproduce --workdir {workdir}` goes on from here.")
            return stop.exit_status
    tell(reproduction.table(figures))
    return 0 if all(figure.matches for figure in figures) else 1
