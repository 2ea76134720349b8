"""Commands that train or check one network: ``train`` and ``check-gradients``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.options import Data, folder
from hpo.machine.console import say, tell

if TYPE_CHECKING:
    from hpo.commands.training import Choice, Range


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(train)
    app.command("check-gradients")(check_gradients)


def train(
    context: typer.Context,
    data: Data = "cifar10",
    lambda_: Annotated[float, typer.Option("--lambda", help="L2 penalty.")] = 0.0,
    schedule: Annotated[str, typer.Option(help="cyclic or static.")] = "cyclic",
    eta_min: Annotated[float, typer.Option(help="Lowest rate of a cycle.")] = 1e-5,
    eta_max: Annotated[float, typer.Option(help="Highest rate of a cycle.")] = 1e-1,
    n_s: Annotated[int, typer.Option("--n-s", help="Updates in half a cycle.")] = 500,
    eta: Annotated[float, typer.Option(help="The rate, if static.")] = 1e-3,
    cycles: Annotated[int | None, typer.Option(help="Length in cycles.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Length in epochs.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images in a mini-batch.")] = 100,
    hidden: Annotated[int, typer.Option(help="Hidden units.")] = 50,
    loss: Annotated[
        str, typer.Option(help="cross-entropy or binary-cross-entropy.")
    ] = "cross-entropy",
    normalisation: Annotated[str, typer.Option(help="image, feature or none.")] = "image",
    flip: Annotated[float, typer.Option(help="Probability to mirror an image.")] = 0.0,
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float64; the notebook protocol has float64.")
    ] = None,
    train_metrics: Annotated[str, typer.Option(help="running or full.")] = "running",
    protocol: Annotated[str, typer.Option(help="standard or notebook.")] = "standard",
    seed: Annotated[
        int | None, typer.Option(help="Seed; 0, or the notebook's own in its protocol.")
    ] = None,
    after_epochs: Annotated[
        list[int] | None,
        typer.Option(help="Notebook protocol: epochs of an earlier run on the same images."),
    ] = None,
    train_batches: Annotated[
        str | None, typer.Option(help="CIFAR-10 batches to train on, for example 1 or 1,2.")
    ] = None,
    validation_batch: Annotated[
        int | None, typer.Option(help="CIFAR-10 batch to validate on.")
    ] = None,
    train_images: Annotated[
        str | None, typer.Option(help="Part of the images to train on, for example 0:20.")
    ] = None,
    validation_images: Annotated[
        str | None, typer.Option(help="Part of them to validate on, for example 100:150.")
    ] = None,
    n_validation: Annotated[
        int,
        typer.Option(help="Images held out of many; digits hold out 300, a small set a tenth."),
    ] = 5000,
    plots: Annotated[
        Path | None, typer.Option(parser=folder, metavar="<path>", help="Folder for pictures.")
    ] = None,
) -> int:
    """Train one network with explicit settings and print its last values.

    Example: hpo train --lambda 0.01 --n-s 500 --cycles 1 --train-batches 1 --validation-batch 2
    """
    from hpo.commands import images, training
    from hpo.machine.signals import StopRequest

    settings, choice = training.settings(context.params, plots), _choice(context)
    with StopRequest() as stop:
        source = images.source(data, os.environ, say, stop)
        run = training.train(settings, source, choice, say, stop)
    if run.evaluations:
        tell(run.last_values())
    for path in run.draw(plots) if plots is not None else ():
        say(f"Wrote {path}")
    if not run.is_complete:
        say("Interrupted before the end.")
        return stop.exit_status
    return 0


def check_gradients(
    data: Data = "cifar10",
    images: Annotated[int, typer.Option(min=1, max=10_000, help="Images in the check.")] = 20,
    lambda_: Annotated[float, typer.Option("--lambda", help="L2 penalty.")] = 0.3,
    hidden: Annotated[int, typer.Option(min=1, max=10_000, help="Hidden units.")] = 50,
    loss: Annotated[
        str, typer.Option(help="cross-entropy or binary-cross-entropy.")
    ] = "cross-entropy",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the weights.")] = 0,
) -> int:
    """Compare the analytic gradient of every parameter with centred differences.

    Example: hpo check-gradients --data digits
    """
    from hpo.commands import training
    from hpo.commands.images import source

    check = training.check_gradients(
        lambda: source(data, os.environ, say),
        n_images=images,
        lambda_=lambda_,
        hidden=hidden,
        loss=loss,
        seed=seed,
    )
    tell(check.told())
    return 0 if check.are_right else 1


def _choice(context: typer.Context) -> "Choice":
    """Return which images the options say.

    Raises:
        typer.BadParameter: They are not written as they should be, or say half of it.
    """
    from hpo.commands.training import Choice

    given = context.params
    choice = Choice(
        train_batches=_numbers(given["train_batches"]),
        validation_batch=given["validation_batch"],
        train_images=_range(given["train_images"]),
        validation_images=_range(given["validation_images"]),
        n_validation=given["n_validation"],
    )
    if choice.lacks_validation:
        raise typer.BadParameter(
            "name the images to validate on too, with --validation-images or --validation-batch."
        )
    return choice


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"--train-batches must be like 1 or 1,2,3; got {text!r}."
        ) from None


def _range(text: str | None) -> "Range | None":
    if text is None:
        return None
    start, colon, stop = text.partition(":")
    try:
        return (int(start or 0), int(stop) if stop else None) if colon else (0, int(text))
    except ValueError:
        raise typer.BadParameter(f"a part of the images is like 0:20; got {text!r}.") from None
