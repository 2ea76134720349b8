"""Commands about the images: ``data info`` and ``data verify``."""

from typing import Annotated

import typer

from hpo.cli.options import open_source
from hpo.progress import tell

app = typer.Typer(help="Look at the images and check them.", no_args_is_help=True)
Spec = Annotated[
    str, typer.Argument(help="cifar10, digits, auto, a folder or archive, or an .npz file.")
]


@app.command()
def info(source: Spec = "cifar10") -> None:
    """Print what the training images are.

    Example: hpo data info digits
    """
    import numpy as np

    found = open_source(source, lambda: False)
    dataset = found.training()
    counts = np.bincount(dataset.labels, minlength=dataset.n_classes)
    shape = " x ".join(str(n) for n in dataset.image_shape) or f"{dataset.d} values"
    tell(f"name:         {dataset.name}")
    tell(f"from:         {found.spec}")
    tell(f"images:       {len(dataset):,} of {shape}, {dataset.images.dtype}")
    tell(f"classes:      {dataset.n_classes}, images in each: {', '.join(map(str, counts))}")
    tell(f"fingerprint:  {dataset.fingerprint}")


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
