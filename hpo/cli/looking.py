"""Commands that look at stored studies, and the one that deletes them."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo.cli.options import DEFAULT_STORAGE, StorageUrl, StudyName, ToldIn, folder
from hpo.machine.console import say, tell, tell_at_once


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(best)
    app.command()(status)
    app.command("list")(list_)
    app.command()(export)
    app.command()(plot)
    app.command()(report)
    app.command()(delete)


def best(study: StudyName, storage: StorageUrl = DEFAULT_STORAGE, format_: ToldIn = "text") -> None:
    """Print the best cell of a study, how sure that is, and which cells may be as good.

    Example: hpo best coarse
    """
    from hpo.commands import looking

    tell(looking.best(storage, study, say, format_), format_)


def status(
    study: Annotated[
        str | None, typer.Argument(help="Name of a stored study, with --watch.")
    ] = None,
    storage: StorageUrl = DEFAULT_STORAGE,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the study until it is over; Ctrl-C ends that.")
    ] = False,
    format_: ToldIn = "text",
) -> int:
    """Print how far every study is, or with --watch show one as it is trained elsewhere.

    Example: hpo status coarse --watch
    """
    from hpo.commands import looking

    if watch != (study is not None):
        asked = f"hpo status {study or 'STUDY'} --watch"
        raise typer.BadParameter(f"write `{asked}` for one study, or `hpo status` for all of them.")
    if study is not None:
        return _watch(storage, study, format_)
    tell(looking.status(storage, say, format_), format_)
    return 0


def _watch(storage: str, study: str, form: str) -> int:
    from hpo.commands import watching
    from hpo.machine.signals import StopRequest

    with StopRequest() as stop:
        if form == "json":
            for line in watching.changes(storage, study, stop):
                tell_at_once(line)
            return stop.exit_status if stop() else 0
        return 0 if watching.watch(storage, study, stop) else stop.exit_status


def list_(storage: StorageUrl = DEFAULT_STORAGE, format_: ToldIn = "text") -> None:
    """Print the stored studies and what they are about.

    Example: hpo list
    """
    from hpo.commands import looking

    tell(looking.listing(storage, say, format_), format_)


def export(
    study: StudyName,
    storage: StorageUrl = DEFAULT_STORAGE,
    format_: Annotated[
        str,
        typer.Option(
            "--format", help="json, csv for a row a log point, or csv-trials for a row a trial."
        ),
    ] = "json",
) -> None:
    """Print results and curves of a study in full precision, in canonical form.

    Example: hpo export coarse --format csv > coarse.csv
    """
    from hpo.commands import looking

    if format_ not in looking.FORMATS:
        raise typer.BadParameter(f"--format must be json, csv or csv-trials, got {format_!r}.")
    text = looking.export(storage, study, format_, say)
    typer.echo(text, nl=not text.endswith("\n"))


def plot(
    study: StudyName,
    kind: Annotated[
        str | None,
        typer.Argument(
            help="One picture: lambda, parameters, updates, importances, contour, curves, "
            "learning-rate, network, first-layer, confusion, classes, mistakes or calibration; "
            "by default all that suit the study."
        ),
    ] = None,
    cell: Annotated[
        int | None, typer.Option(min=0, help="Cell whose network is shown, not the best one.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=folder, metavar="<path>", help="Folder for the pictures; default: <study>-plots."
        ),
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="png, svg or pdf.")] = "png",
    data: Annotated[
        str | None, typer.Option("--data", help="Where the images are, for what needs them.")
    ] = None,
    storage: StorageUrl = DEFAULT_STORAGE,
) -> None:
    """Draw a study: accuracy against what was searched, curves, learning rate, weights, answers.

    Example: hpo plot coarse lambda --format svg
    """
    from hpo.commands import looking

    asked: Any = {"kind": kind, "cell": cell, "folder": out, "form": format_, "data": data}
    for path in looking.plot(storage, study, say, environ=os.environ, **asked):
        say(f"Wrote {path}")


def report(
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY...", help="Names of stored studies, in the order of the story."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=folder, metavar="<path>", help="Folder for the report; default: <study>-report."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Where the images are, for what needs them.")
    ] = None,
    storage: StorageUrl = DEFAULT_STORAGE,
) -> None:
    """Write a report of studies: one HTML page that needs nothing else, and Markdown with pictures.

    Example: hpo report coarse fine final
    """
    from hpo.commands import reporting

    asked: Any = {"folder": out, "data": data, "environ": os.environ, "notify": say}
    for path in reporting.report(*studies, storage=storage, **asked)[-2:]:
        say(f"Wrote {path}")


def delete(
    study: StudyName,
    storage: StorageUrl = DEFAULT_STORAGE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    looks: Annotated[
        bool, typer.Option("--looks", help="Forget its looks at the test images, too.")
    ] = False,
) -> None:
    """Delete a study with everything that belongs to it, after asking.

    Its looks at the test images go on counting for other studies unless --looks is given.

    Example: hpo delete coarse-digits --yes
    """
    from hpo.commands import mending
    from hpo.machine.signals import StopRequest

    mending.check_deletable(study, storage, notify=say)
    if not yes:  # a signal ends the question at once
        what = (
            "its trials, curves and looks at the test images" if looks else "its trials and curves"
        )
        typer.confirm(f"Delete the study {study!r} with {what}?", abort=True, err=True)
    with StopRequest() as stop:
        mending.delete(study, storage=storage, looks=looks, stop=stop, notify=say)
    say(f"Deleted {study}.")
