"""The command that uses a trained network: ``predict``."""

from pathlib import Path
from typing import Annotated

import typer

from hpo.machine.console import say, tell

SHOWN = 20  #: faults that are told one by one


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(predict)


def predict(
    weights: Annotated[
        Path, typer.Argument(help="weights.npz or weights.safetensors, as hpo run final writes.")
    ],
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Image files (PNG, JPEG, ...), or .npz files with images (labels too)."
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many of the likeliest classes.")] = 1,
) -> int:
    """Print a line for each image: its name, and the likeliest classes with their probabilities.

    Columns are separated by tabs. With labels in an .npz, the last line is the accuracy. An image
    that cannot be classified is named on stderr, and the exit status is 1; the others are classified.

    Example: hpo predict final-model/weights.npz cat.png --top 3
    """
    from hpo.commands import classes

    network = classes.network(weights)
    if top > network.n_classes:
        raise typer.BadParameter(
            f"--top must be at most {network.n_classes}, the classes there are."
        )
    table, faults = classes.told(network, images, top, say)
    _tell(faults, is_all=table is None)
    if table is not None:
        tell(table)
    return 1 if faults else 0


def _tell(faults: list[str], is_all: bool) -> None:
    """Say what is wrong with which image.

    Raises:
        InvalidImage: None can be classified.
    """
    from hpo.errors import InvalidImage

    if is_all and len(faults) == 1:
        raise InvalidImage(faults[0])
    for fault in faults[:SHOWN]:
        say(fault)
    if len(faults) > SHOWN:
        say(f"{len(faults) - SHOWN:,} more images cannot be classified either.")
    if is_all:
        raise InvalidImage(f"None of the {len(faults):,} images can be classified.")
