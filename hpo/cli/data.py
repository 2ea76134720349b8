"""Commands about the images: ``data info``, ``data verify`` and ``data shuffle``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hpo.machine.console import say, tell

app = typer.Typer(help="Look at the images and check them.", invoke_without_command=True)
Spec = Annotated[
    str, typer.Argument(help="cifar10, digits, auto, a folder or archive, or an .npz file.")
]


@app.callback()
def _without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def info(source: Spec = "cifar10") -> None:
    """Print what the training images are, what white is in them, and whether their order is mixed.

    Example: hpo data info digits
    """
    from hpo.commands import images

    about = images.about(source, os.environ, say)
    for title, value in about.facts.items():
        tell(f"{title + ':':<14}{value}")
    for note in about.notes:
        say(note)


@app.command()
def verify(source: Spec = "cifar10") -> None:
    """Check every file, training and test, against its published digest, and print fingerprints.

    The test images are hashed, never evaluated.

    Example: hpo data verify cifar10
    """
    from hpo.commands import images

    found = images.verify(source, os.environ, say)
    tell(f"{found.spec}: {found.n_training:,} training images are sound")
    tell(f"training fingerprint: {found.fingerprint}")
    if found.test_fingerprint is None:
        tell("There are no test images.")
        return
    tell(f"{found.n_test:,} test images are sound")
    tell(f"test fingerprint:     {found.test_fingerprint}")


@app.command()
def shuffle(
    file: Annotated[Path, typer.Argument(help="An .npz with images and labels.")],
    new_file: Annotated[Path, typer.Argument(help="The .npz to write; it must not exist.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order.")] = 0,
) -> None:
    """Write a copy of an .npz with its training images in a mixed order, the classes spread evenly.

    The first images of a file validate. Test images and other arrays stay as they are.

    Example: hpo data shuffle sorted.npz mixed.npz
    """
    from hpo.commands import images

    if new_file.suffix != ".npz":
        raise typer.BadParameter(f"the new file's name must end with .npz, got {new_file.name!r}.")
    n_images = images.shuffle(file, new_file, seed)
    say(f"Wrote {new_file}: {n_images:,} images in a mixed order.")
