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
    from hpo.commands.predicting import classified
    from hpo.weights.file import read
    from hpo.weights.prediction import table

    network = read(weights)
    if top > network.n_classes:
        raise typer.BadParameter(
            f"--top must be at most {network.n_classes}, the classes there are."
        )
    found, faults = classified(network, images, say)
    _tell(faults, n_sound=len(found[0].names) if found else 0)
    if found:
        tell(table(network, *found, top))
    return 1 if faults else 0


def _tell(faults: list[str], n_sound: int) -> None:
    """Say what is wrong with which image.

    Raises:
        InvalidImage: None can be classified.
    """
    from hpo.errors import InvalidImage

    if not n_sound and len(faults) == 1:
        raise InvalidImage(faults[0])
    for fault in faults[:SHOWN]:
        say(fault)
    if len(faults) > SHOWN:
        say(f"{len(faults) - SHOWN:,} more images cannot be classified either.")
    if not n_sound:
        raise InvalidImage(f"None of the {len(faults):,} images can be classified.")
