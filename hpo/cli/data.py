"""Commands about the images: ``data info``, ``data verify`` and ``data shuffle``."""

from pathlib import Path
from typing import Annotated

import typer

from hpo.cli.options import open_source
from hpo.progress import say, tell

app = typer.Typer(help="Look at the images and check them.", no_args_is_help=True)
Spec = Annotated[
    str, typer.Argument(help="cifar10, digits, auto, a folder or archive, or an .npz file.")
]


@app.command()
def info(source: Spec = "cifar10") -> None:
    """Print what the training images are, what white is in them, and whether their order is mixed.

    Example: hpo data info digits
    """
    import numpy as np

    from hpo import brightness, parts
    from hpo.definition import StudyDefinition
    from model.data import split
    from model.errors import InvalidData

    found = open_source(source, lambda: False)
    dataset = found.training()
    counts = np.bincount(dataset.labels, minlength=dataset.n_classes)
    shape = " x ".join(str(n) for n in dataset.image_shape) or f"{dataset.d} values"
    tell(f"name:         {dataset.name}")
    tell(f"from:         {found.spec}")
    tell(f"images:       {len(dataset):,} of {shape}, {dataset.images.dtype}")
    tell(f"classes:      {dataset.n_classes}, images in each: {', '.join(map(str, counts))}")
    tell(f"values:       {brightness.told(dataset)}")
    notes: list[str] = []
    try:
        both = split(dataset, StudyDefinition.n_validation)
        parts.check(both, notes.append)
        tell(f"validation:   the first {len(both.validation):,}, which show every class")
    except InvalidData as error:  # that is what was asked for
        tell(f"validation:   no study can be made. {error}")
    tell(f"fingerprint:  {dataset.fingerprint}")
    for note in notes:
        say(note)


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
    import io
    import os

    import numpy as np

    from hpo import output, parts
    from model import npz

    if new_file.suffix != ".npz":
        raise typer.BadParameter(f"the new file's name must end with .npz, got {new_file.name!r}.")
    if os.path.lexists(new_file):
        raise typer.BadParameter(
            f"{new_file} exists already. Choose another name for the new file."
        )
    labels = npz.npz(file).labels
    order = parts.order(labels, rng=np.random.default_rng(seed))
    arrays = npz.npz_arrays(file)
    arrays |= {name: arrays[name][order] for name in ("images", "labels")}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    output.write(new_file.parent, {new_file.name: content.getvalue()})
    say(f"Wrote {new_file}: {len(labels):,} images in a mixed order.")
