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
    from hpo.errors import InvalidImage
    from hpo.weights import pictures as image_files
    from hpo.weights import prediction as predicting
    from hpo.weights.file import read

    network = read(weights)
    if top > network.n_classes:
        raise typer.BadParameter(
            f"--top must be at most {network.n_classes}, the classes there are."
        )
    scale = image_files.scale(images, network)
    if scale:
        say(scale)
    pictures, faults = image_files.read_each(images, network, say)
    n_sound = 0
    if pictures is not None:
        sound, prediction, more = predicting.predict_each(network, pictures)
        faults, n_sound = faults + more, len(sound.names)
    if not n_sound and len(faults) == 1:
        raise InvalidImage(faults[0])
    for fault in faults[:SHOWN]:
        say(fault)
    if len(faults) > SHOWN:
        say(f"{len(faults) - SHOWN:,} more images cannot be classified either.")
    if not n_sound:
        raise InvalidImage(f"None of the {len(faults):,} images can be classified.")
    tell(predicting.table(network, sound, prediction, top))
    return 1 if faults else 0
