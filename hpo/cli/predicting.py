"""The command that uses a trained network: ``predict``."""

from pathlib import Path
from typing import Annotated

import typer

from hpo.progress import say


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
) -> None:
    """Print a line for each image: its name, and the likeliest classes with their probabilities.

    Columns are separated by tabs. With labels in an .npz, the last line is the accuracy.

    Example: hpo predict final-model/weights.npz cat.png --top 3
    """
    from hpo import image_files
    from hpo import predict as predicting
    from hpo.weights_file import read

    network = read(weights)
    if top > network.n_classes:
        raise typer.BadParameter(
            f"--top must be at most {network.n_classes}, the classes there are."
        )
    pictures = image_files.read(images, network, say)
    typer.echo(predicting.table(network, pictures, predicting.predict(network, pictures), top))
