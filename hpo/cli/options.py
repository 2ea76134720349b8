"""Options that several commands share, and what they are turned into."""

import os
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.machine.console import TOLD_IN, say

if TYPE_CHECKING:
    from hpo.commands.request import Request

StorageUrl = Annotated[
    str,
    typer.Option("--storage", envvar="HPO_STORAGE", help="SQLAlchemy URL of the database."),
]
DEFAULT_STORAGE = (
    "sqlite:///hpo.db"  # as in hpo.database.locations, which is too heavy to import here
)
MOST_WORKERS = 64  #: of a run, on a machine with few cores
Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="cifar10, digits, auto, a folder or archive of CIFAR-10, or an .npz file.",
    ),
]


def _sensible(n: int | None) -> int | None:
    """Refuse more processes than this machine could ever be busy with."""
    from hpo.machine.cores import usable_cores

    most = max(MOST_WORKERS, 4 * usable_cores())
    if n is not None and n > most:
        raise typer.BadParameter(
            f"{n} processes are too many for this machine; {most} are the most."
        )
    return n


def a_number(x: float | None) -> float | None:
    """Refuse what is not a number: it lies in every range."""
    if x is not None and isnan(x):
        raise typer.BadParameter(f"it must be a number, got {x}.")
    return x


def folder(typed: str) -> Path:
    """Return a folder for files; an empty name, as of a variable that is not set, is none.

    Raises:
        typer.BadParameter: It is empty.
    """
    if not typed:
        raise typer.BadParameter("a folder has a name, got ''; the current one is '.'.")
    return Path(typed)


Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        callback=_sensible,
        help="Processes that train; all usable cores, or one for a small study.",
    ),
]
Grace = Annotated[
    float,
    typer.Option(
        min=1,
        max=86_400,
        callback=a_number,
        help="Seconds of silence after which a worker counts as dead; a day at most.",
    ),
]
Name = Annotated[str | None, typer.Option(help="Name of the study in the storage.")]
Parent = Annotated[str | None, typer.Option("--from", help="Stored study to derive this one from.")]
Cell = Annotated[
    int | None, typer.Option(min=0, help="Cell of the parent to go on from, not its best one.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of weights and orders.")]
TrainMetrics = Annotated[
    str | None,
    typer.Option(help="running: means over mini-batches; full: the whole training set."),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="standard, or notebook: its random stream, order and precision; default: the study's."
    ),
]
Pruner = Annotated[
    str | None,
    typer.Option(
        help="Who is cut at the end of a cycle: none, halving, median, percentile, async-halving, "
        "hyperband, threshold, patient or wilcoxon; parameters as in halving:eta=2, "
        "or halving:confidence=0.9, which cuts only what is behind by more than chance.",
    ),
]
Replicates = Annotated[
    int | None,
    typer.Option(min=1, help="Seeds for every cell; a study that has fewer trains the new ones."),
]
Sampler = Annotated[
    str | None,
    typer.Option(
        help="Who proposes the cells of a space: curves, tpe, random, qmc, grid, gp or cmaes."
    ),
]


def _number(typed: str) -> Any:
    """Return a number as it was typed, or the text: what a budget may be, its request says."""
    for kind in (int, float):
        try:
            return kind(typed)
        except ValueError:
            continue
    return typed


Budget = Annotated[
    int | None,
    typer.Option(
        parser=_number,
        metavar="<updates>",
        help="Updates that the search of a space may make, all networks together. A stored search "
        "that had fewer goes on.",
    ),
]
BudgetEpochs = Annotated[
    float | None,
    typer.Option(parser=_number, metavar="<number>", help="The same in epochs of the data."),
]
BudgetMinutes = Annotated[
    float | None,
    typer.Option(
        parser=_number,
        metavar="<number>",
        help="The same in minutes, which are turned into updates once, by a short measurement.",
    ),
]


def _stored(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of stored studies for a shell that completes."""
    from hpo.commands import completion

    url = context.params.get("storage") or os.environ.get("HPO_STORAGE") or DEFAULT_STORAGE
    return [name for name in completion.stored(url, say) if name.startswith(incomplete)]


def _defined(incomplete: str) -> list[str]:
    """Return the names of the studies that ship with hpo, and study files here."""
    from hpo.commands import completion

    return [name for name in completion.defined(Path()) if name.startswith(incomplete)]


StudyName = Annotated[
    str,
    typer.Argument(
        help="Name of a stored study, for example coarse.",
        autocompletion=_stored,
    ),
]
Definition = Annotated[
    str,
    typer.Argument(
        help="A name in studies/, a dotted path, or a file with a STUDY.",
        autocompletion=_defined,
    ),
]


def request_of(context: typer.Context) -> "Request":
    """Return what the options of a command ask for, which are called as the fields of a request."""
    from dataclasses import fields

    from hpo.commands.request import Request

    asked = {field.name for field in fields(Request)} & context.params.keys()
    return Request(**{name: context.params[name] for name in asked})


def _told_in(value: str) -> str:
    if value not in TOLD_IN:
        raise typer.BadParameter(f"--format must be text or json, got {value!r}.")
    return value


ToldIn = Annotated[
    str,
    typer.Option("--format", callback=_told_in, help="text for people, or json for programs."),
]
