"""Commands about the images: ``data info``, ``data verify`` and ``data shuffle``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.options import open_source
from hpo.machine.console import say, tell

if TYPE_CHECKING:
    from hpo.data.source import Source
    from model.data import Dataset

app = typer.Typer(help="Look at the images and check them.", no_args_is_help=True)
Spec = Annotated[
    str, typer.Argument(help="cifar10, digits, auto, a folder or archive, or an .npz file.")
]


@app.command()
def info(source: Spec = "cifar10") -> None:
    """Print what the training images are, what white is in them, and whether their order is mixed.

    Example: hpo data info digits
    """
    from hpo.data import parts
    from hpo.definition.study import StudyDefinition

    found = open_source(source, lambda: False)
    dataset = found.training()
    standing, notes = parts.told(dataset, StudyDefinition.n_validation)
    for title, value in (_facts(found, dataset) | {"validation": standing}).items():
        tell(f"{title + ':':<14}{value}")
    tell(f"fingerprint:  {dataset.fingerprint}")
    for note in notes:
        say(note)


def _facts(source: "Source", dataset: "Dataset") -> dict[str, str]:
    import numpy as np

    from hpo.weights import brightness

    counts = np.bincount(dataset.labels, minlength=dataset.n_classes)
    shape = " x ".join(str(n) for n in dataset.image_shape) or f"{dataset.d} values"
    return {
        "name": dataset.name,
        "from": source.spec,
        "images": f"{len(dataset):,} of {shape}, {dataset.images.dtype}",
        "classes": f"{dataset.n_classes}, images in each: {', '.join(map(str, counts))}",
        "values": brightness.told(dataset),
    }


@app.command()
def verify(source: Spec = "cifar10") -> None:
    """Check every file, training and test, against its published digest, and print fingerprints.

    The test images are hashed, never evaluated.

    Example: hpo data verify cifar10
    """
    found = open_source(source, lambda: False)
    training, test = found.training(), found.test()
    tell(f"{found.spec}: {len(training):,} training images are sound")
    tell(f"training fingerprint: {training.fingerprint}")
    if test is None:
        tell("There are no test images.")
        return
    tell(f"{len(test):,} test images are sound")
    tell(f"test fingerprint:     {test.fingerprint}")


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
    from hpo.data import shuffling

    if new_file.suffix != ".npz":
        raise typer.BadParameter(f"the new file's name must end with .npz, got {new_file.name!r}.")
    n_images = shuffling.write(file, new_file, seed)
    say(f"Wrote {new_file}: {n_images:,} images in a mixed order.")
