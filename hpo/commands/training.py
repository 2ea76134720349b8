"""One network outside of any study, as options say: its settings, its images, what came of it."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hpo.commands import images
from hpo.data import parts
from hpo.data.source import Source
from hpo.machine.files import check_folder
from hpo.training.single import Settings, Trained, gradient_errors, train_once
from model.data import Dataset, split
from model.errors import InvalidConfig
from model.gradient_check import GradientErrors
from model.training import Evaluation

Range = tuple[int, int | None]  #: from an image on, up to another one or the last

LARGEST_LAMBDA = 1e6  #: in a check; beyond it, differences drown in the penalty
LARGEST_ERROR = 1e-6  #: relative, of a gradient that is right


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which images train and which validate: batches, ranges, or the usual split."""

    train_batches: list[int] | None
    validation_batch: int | None
    train_images: Range | None
    validation_images: Range | None
    n_validation: int  #: where nothing else says which

    @property
    def lacks_validation(self) -> bool:
        """Whether there is a part to train on, and none to validate on."""
        return self.train_images is not None and not self._names_validation

    @property
    def is_usual(self) -> bool:
        """Whether the usual split says which images train and which validate."""
        return self.train_images is None and not self._names_validation

    @property
    def _names_validation(self) -> bool:
        return self.validation_batch is not None or self.validation_images is not None


def settings(given: Mapping[str, Any], pictures: Path | None) -> Settings:
    """Return the settings among options, which are called as theirs.

    Args:
        pictures: Folder for pictures, which can be written to.

    Raises:
        InvalidConfig: One of them is none; it is told before images are read.
        OutputError: Nothing can be written there.
    """
    chosen = {f.name: given[f.name] for f in fields(Settings) if f.name in given}
    if given["cycles"] is None and given["epochs"] is None:
        chosen["cycles"] = 2
    found = Settings.of_options(**chosen, earlier_runs=tuple(given["after_epochs"] or ()))
    found.plan(per_epoch=1)  # how many updates an epoch has, only the images say
    if pictures is not None:
        check_folder(pictures)
    return found


def datasets(source: Source, choice: Choice, notify: images.Notify) -> tuple[Dataset, Dataset]:
    """Return training and validation images, and tell how many.

    Raises:
        DataUnavailable: There are no such batches.
        InvalidData: The files are damaged, or have no such images.
    """
    numbers = choice.train_batches
    everything = source.batches(numbers) if numbers else source.training()
    if choice.is_usual:
        both = split(everything, choice.n_validation)
        parts.check(both, notify)
        training, validation = both.training, both.validation
    else:
        held_out = everything
        if choice.validation_batch is not None:
            held_out = source.batches([choice.validation_batch])
        training = _taken(everything, choice.train_images)
        validation = _taken(held_out, choice.validation_images)
        if n := _shared(training, validation):
            notify(
                f"Trained on: {n} of the {len(validation)} validation images. What comes of these says "
                "nothing about others."
            )
    notify(f"{len(training)} training images, {len(validation)} validation images")
    return training, validation


def _taken(dataset: Dataset, part: Range | None) -> Dataset:
    start, stop = part or (0, None)
    return dataset.take(start, len(dataset) if stop is None else stop)


def _shared(training: Dataset, validation: Dataset) -> int:
    """Return how many validation images are among those that are trained on, in whatever place."""
    known = {hashlib.blake2b(image.tobytes()).digest() for image in training.images}
    return sum(hashlib.blake2b(image.tobytes()).digest() in known for image in validation.images)


@dataclass(frozen=True)
class Run:
    """A training that is over, or was stopped."""

    trained: Trained
    training: Dataset

    @property
    def evaluations(self) -> list[Evaluation]:
        """Its values at the log points that it came to."""
        return self.trained.evaluations

    @property
    def is_complete(self) -> bool:
        """Whether it came to its end."""
        return self.trained.network is not None

    def last_values(self) -> str:
        """Return its last values in words, of a training that came to some."""
        last = self.evaluations[-1]
        lines = [
            f"{name:<10} cost {metrics.cost[0]:.4f}  loss {metrics.loss[0]:.4f}  "
            f"accuracy {metrics.accuracy[0]:.4f}"
            for name, metrics in (("training", last.training), ("validation", last.validation))
        ]
        lines.append(f"after {last.update} of {self.trained.config.n_updates} updates")
        if not math.isfinite(last.training.cost[0]):
            lines.append("It diverged: the cost is no number any more. Lower the rate or lambda.")
        return "\n".join(lines)

    def draw(self, folder: Path) -> list[Path]:
        """Draw it into a folder, if there is something to draw; return the files.

        Raises:
            OutputError: They cannot be written.
        """
        from hpo.views import drawing

        if not self.evaluations:
            return []
        return drawing.of_training(self.trained, self.training, folder)


def train(
    settings: Settings, source: Source, choice: Choice, notify: images.Notify, stop: images.Stop
) -> Run:
    """Train one network until its end, or until ``stop``.

    Raises:
        DataUnavailable: There are no such batches.
        InvalidData: The files are damaged, or have no such images.
        InvalidConfig: The settings do not go with the images.
    """
    training, validation = datasets(source, choice, notify)
    return Run(train_once(settings, training, validation, stop=stop), training)


@dataclass(frozen=True)
class GradientCheck:
    """How far the analytic gradients are from centred differences."""

    errors: GradientErrors  #: relative ones

    @property
    def are_right(self) -> bool:
        """Whether none differs more than rounding explains."""
        return bool(max(vars(self.errors).values()) < LARGEST_ERROR)

    def told(self) -> str:
        """Return the error of every parameter in words, and the verdict."""
        lines = [
            f"relative error of {name}: {error:.3e}" for name, error in vars(self.errors).items()
        ]
        verdict = "The gradients are right." if self.are_right else "The gradients are WRONG."
        return "\n".join([*lines, verdict])


def check_gradients(
    find: Callable[[], Source],
    *,
    n_images: int,
    lambda_: float,
    hidden: int,
    loss: str,
    seed: int,
) -> GradientCheck:
    """Compare the analytic gradient of every parameter on the first images with centred differences.

    Args:
        find: Says where the images are, once it is known that there is something to check.

    Raises:
        InvalidConfig: There is no such loss, or lambda is too large.
        InvalidData: The files are damaged.
    """
    if not 0 <= lambda_ <= LARGEST_LAMBDA:
        raise InvalidConfig(f"lambda must be 0 to {LARGEST_LAMBDA:g}, got {lambda_}.")
    dataset = find().training()
    few = dataset.take(0, min(n_images, len(dataset)))
    return GradientCheck(gradient_errors(few, lambda_=lambda_, hidden=hidden, loss=loss, seed=seed))
