"""Commands that train or check one network: ``train`` and ``check-gradients``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.options import Data, open_source
from hpo.machine.console import say, tell

if TYPE_CHECKING:
    from hpo.data.source import Source
    from hpo.training.single import Settings, Trained
    from model.data import Dataset


LARGEST_LAMBDA = 1e6  #: in a check; beyond it, differences drown in the penalty
LARGEST_ERROR = 1e-6  #: relative, of a gradient that is right


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
        int, typer.Option(help="Images held out where no other option says which.")
    ] = 5000,
    plots: Annotated[Path | None, typer.Option(help="Folder for pictures.")] = None,
) -> int:
    """Train one network with explicit settings and print its last values.

    Example: hpo train --lambda 0.01 --n-s 500 --cycles 1 --train-batches 1 --validation-batch 2
    """
    from hpo.machine.signals import StopRequest
    from hpo.training.single import train_once

    settings = _settings(context)
    with StopRequest() as stop:
        training, validation = _parts(open_source(data, stop), context)
        say(f"{len(training)} training images, {len(validation)} validation images")
        trained = train_once(settings, training, validation, stop=stop)
    _print(trained)
    if plots is not None and trained.evaluations:
        _draw(trained, plots, training)
    if trained.network is None:
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
    from hpo.training.single import gradient_errors
    from model.errors import InvalidConfig

    if not 0 <= lambda_ <= LARGEST_LAMBDA:
        raise InvalidConfig(f"lambda must be 0 to {LARGEST_LAMBDA:g}, got {lambda_}.")
    dataset = open_source(data, lambda: False).training()
    few = dataset.take(0, min(images, len(dataset)))
    errors = gradient_errors(few, lambda_=lambda_, hidden=hidden, loss=loss, seed=seed)
    for name, error in vars(errors).items():
        tell(f"relative error of {name}: {error:.3e}")
    is_right = max(vars(errors).values()) < LARGEST_ERROR
    tell("The gradients are right." if is_right else "The gradients are WRONG.")
    return 0 if is_right else 1


def _settings(context: typer.Context) -> "Settings":
    """Return the settings that the options say, which are called as theirs."""
    from dataclasses import fields

    from hpo.training.single import Settings

    given = context.params
    chosen = {f.name: given[f.name] for f in fields(Settings) if f.name in given}
    if given["cycles"] is None and given["epochs"] is None:
        chosen["cycles"] = 2
    return Settings.of_options(**chosen, earlier_runs=tuple(given["after_epochs"] or ()))


def _parts(source: "Source", context: typer.Context) -> "tuple[Dataset, Dataset]":
    """Return training and validation images, from batches, from ranges, or from the usual split."""
    from hpo.data import parts
    from model.data import split

    given = context.params
    train_images, validation_images = given["train_images"], given["validation_images"]
    train_batches, validation_batch = _numbers(given["train_batches"]), given["validation_batch"]
    everything = source.batches(train_batches) if train_batches else source.training()
    if validation_batch is None and train_images is None and validation_images is None:
        both = split(everything, given["n_validation"])
        parts.check(both, say)
        return both.training, both.validation
    training = everything.take(*_range(train_images, len(everything)))
    if validation_batch is not None:
        held_out = source.batches([validation_batch])
        return training, held_out.take(*_range(validation_images, len(held_out)))
    if validation_images is None:
        raise typer.BadParameter(
            "name the images to validate on too, with --validation-images or --validation-batch."
        )
    return training, everything.take(*_range(validation_images, len(everything)))


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"--train-batches must be like 1 or 1,2,3; got {text!r}."
        ) from None


def _range(text: str | None, n: int) -> tuple[int, int]:
    if text is None:
        return 0, n
    start, colon, stop = text.partition(":")
    try:
        return (int(start or 0), int(stop or n)) if colon else (0, int(text))
    except ValueError:
        raise typer.BadParameter(f"a part of the images is like 0:20; got {text!r}.") from None


def _print(trained: "Trained") -> None:
    if not trained.evaluations:
        return
    last = trained.evaluations[-1]
    for name, metrics in (("training", last.training), ("validation", last.validation)):
        tell(
            f"{name:<10} cost {metrics.cost[0]:.4f}  loss {metrics.loss[0]:.4f}  "
            f"accuracy {metrics.accuracy[0]:.4f}"
        )
    tell(f"after {last.update} of {trained.config.n_updates} updates")


def _draw(trained: "Trained", folder: Path, training: "Dataset") -> None:
    from hpo.views import drawing

    for path in drawing.of_training(trained, training, folder):
        say(f"Wrote {path}")
