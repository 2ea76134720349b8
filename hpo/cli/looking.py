"""Commands that look at stored studies, and the one that deletes them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hpo.cli.options import DEFAULT_STORAGE, StorageUrl, StudyName
from hpo.machine.console import say, tell

if TYPE_CHECKING:
    from hpo.database.connections import Connection

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(best)
    app.command()(status)
    app.command("list")(list_)
    app.command()(export)
    app.command()(plot)
    app.command()(delete)


def best(study: StudyName, storage: StorageUrl = DEFAULT_STORAGE) -> None:
    """Print the best cell of a study, how sure that is, and which cells may be as good.

    Example: hpo best coarse
    """
    from hpo.mirror.study import stored
    from hpo.views import report

    def told(connection: "Connection") -> str:
        found = stored(connection, study)
        return report.best(report.read(connection, found), report.judged(connection, found))

    tell(_read(storage, told))


def status(storage: StorageUrl = DEFAULT_STORAGE) -> None:
    """Print how far every study is.

    Example: hpo status
    """
    from hpo.views import overview

    tell(_read(storage, overview.status))


def list_(storage: StorageUrl = DEFAULT_STORAGE) -> None:
    """Print the stored studies and what they are about.

    Example: hpo list
    """
    from hpo.views import overview

    tell(_read(storage, overview.listing))


def export(
    study: StudyName,
    storage: StorageUrl = DEFAULT_STORAGE,
    format_: Annotated[str, typer.Option("--format", help="json or csv.")] = "json",
) -> None:
    """Print results and curves of a study in full precision, in canonical form.

    Example: hpo export coarse --format csv > coarse.csv
    """
    from hpo.mirror.study import stored
    from hpo.views import export as exporting

    writers = {"json": exporting.to_json, "csv": exporting.to_csv}
    if format_ not in writers:
        raise typer.BadParameter(f"--format must be json or csv, got {format_!r}.")
    text = _read(storage, lambda c: writers[format_](c, stored(c, study)))
    typer.echo(text, nl=not text.endswith("\n"))


def plot(
    study: StudyName,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    storage: StorageUrl = DEFAULT_STORAGE,
) -> None:
    """Draw a study: accuracy against what was searched, curves, learning rate, first-layer weights.

    Example: hpo plot coarse --out pictures
    """
    from hpo.mirror.study import stored
    from hpo.views import drawing

    for path in _read(storage, lambda c: drawing.of_study(c, stored(c, study), out)):
        say(f"Wrote {path}")


def delete(
    study: StudyName,
    storage: StorageUrl = DEFAULT_STORAGE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a study with everything that belongs to it, after asking.

    Example: hpo delete coarse-digits --yes
    """
    from hpo.commands import studies
    from hpo.machine.signals import StopRequest

    studies.check_deletable(study, storage, notify=say)
    if not yes:  # a signal ends the question at once
        typer.confirm(
            f"Delete the study {study!r} with its trials and curves?", abort=True, err=True
        )
    with StopRequest() as stop:
        studies.delete(study, storage=storage, stop=stop, notify=say)
    say(f"Deleted {study}.")


def _read(url: str, action: "Callable[[Connection], T]") -> T:
    from hpo.database.reader import read_once

    return read_once(url, action)
