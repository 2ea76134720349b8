"""One training with explicit settings, outside of any study: what the notebook did by hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.definition.study import NOTEBOOK_SEED
from model.data import Dataset
from model.errors import InvalidConfig
from model.gradient_check import GradientErrors, check_gradients
from model.losses import Loss
from model.network import Network
from model.normalisation import Inputs, Normalisation, feature_statistics
from model.order import NotebookRandomness, Randomness, StandardRandomness
from model.schedule import Cyclic, Schedule, Static
from model.training import (
    Batches,
    Evaluation,
    Examination,
    TrainingConfig,
    build_stack,
    never,
    train,
)

#: Numbers of a training that are larger than any that makes sense.
LARGEST = {
    "n_s": 10_000_000,
    "cycles": 10_000,
    "epochs": 10_000,
    "batch_size": 1_000_000,
    "hidden": 100_000,
}
MOST_UPDATES = 10**9


def gradient_errors(
    images: Dataset, *, lambda_: float, hidden: int, loss: str, seed: int
) -> GradientErrors:
    """Return the relative errors of the analytic gradients of a network with weights of ``seed``.

    Raises:
        InvalidConfig: There is no such loss.
    """
    if loss not in list(Loss):
        raise InvalidConfig(f"loss must be one of {', '.join(Loss)}; got {loss!r}.")
    inputs = Inputs(images, Normalisation.IMAGE, np.float64).all()
    network = StandardRandomness(seed, (images.d, hidden, images.n_classes)).network()
    return check_gradients(network, inputs, images.labels, lambda_, Loss(loss))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every choice of a single training."""

    lambda_: float = 0.0
    #: ``cyclic`` or ``static``.
    schedule: str = "cyclic"
    eta_min: float = 1e-5
    eta_max: float = 1e-1
    #: Updates in half a cycle (cyclic).
    n_s: int = 500
    #: The learning rate (static).
    eta: float = 1e-3
    #: Length of the training: cycles, or epochs, whichever is given.
    cycles: int | None = None
    epochs: int | None = None
    batch_size: int = 100
    hidden: int = 50
    loss: Loss = Loss.CROSS_ENTROPY
    normalisation: Normalisation = Normalisation.IMAGE
    flip: float = 0.0
    dtype: str = "float32"
    #: ``running`` or ``full``.
    train_metrics: str = "running"
    protocol: str = "standard"
    seed: int = 0
    #: Notebook protocol: epochs of the runs that used the training set before this one.
    earlier_runs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, value, known in (
            ("schedule", self.schedule, ("cyclic", "static")),
            ("dtype", self.dtype, ("float32", "float64")),
            ("train-metrics", self.train_metrics, ("running", "full")),
            ("protocol", self.protocol, ("standard", "notebook")),
        ):
            if value not in known:
                raise InvalidConfig(f"{name} must be {' or '.join(known)}, got {value!r}.")
        for name, most in LARGEST.items():
            value = getattr(self, name)
            if value is not None and value > most:
                raise InvalidConfig(f"{name} must be at most {most:,}, got {value}.")
        if sum(self.earlier_runs) > LARGEST["epochs"]:
            raise InvalidConfig(
                f"The earlier runs have at most {LARGEST['epochs']:,} epochs together, got more."
            )
        if self.hidden < 1:
            raise InvalidConfig(f"The hidden layer needs at least 1 unit, got {self.hidden}.")
        if (self.cycles is None) == (self.epochs is None):
            raise InvalidConfig("Give the length of the training as cycles or as epochs, not both.")
        for name, length in (("cycles", self.cycles), ("epochs", self.epochs)):
            if length is not None and length < 1:
                raise InvalidConfig(f"The training needs at least 1 update, got {length} {name}.")
        if any(length < 1 for length in self.earlier_runs):
            raise InvalidConfig(f"An earlier run has at least 1 epoch, got {self.earlier_runs}.")
        if not 0 <= self.flip <= 1:
            raise InvalidConfig(f"The flip probability must be 0 to 1, got {self.flip}.")
        if not 0 <= self.seed < 2**32:
            raise InvalidConfig(f"The seed must be 0 to {2**32 - 1}, got {self.seed}.")
        if self.schedule == "static" and self.cycles is not None:
            raise InvalidConfig("A static learning rate has no cycles; give the length in epochs.")
        if self.protocol == "notebook" and self.flip:
            raise InvalidConfig("The notebook protocol has no flips; use the standard one.")

    @classmethod
    def of_options(cls, *, dtype: str | None, seed: int | None, **rest: Any) -> "Settings":
        """Build settings as typed by a user; precision and seed default to the protocol's."""
        notebook = rest.get("protocol") == "notebook"
        for name, known in (("loss", Loss), ("normalisation", Normalisation)):
            if rest[name] not in list(known):
                raise InvalidConfig(f"{name} must be {' or '.join(known)}, got {rest[name]!r}.")
            rest[name] = known(rest[name])
        return cls(
            dtype=dtype or ("float64" if notebook else "float32"),
            seed=seed if seed is not None else NOTEBOOK_SEED if notebook else 0,
            **rest,
        )

    def plan(self, per_epoch: int) -> TrainingConfig:
        """Return the recipe for ``per_epoch`` updates an epoch."""
        schedule: Schedule
        if self.schedule == "static":
            schedule = Static(eta=self.eta, period=per_epoch)
        else:
            schedule = Cyclic(eta_min=self.eta_min, eta_max=self.eta_max, n_s=self.n_s)
        length = (
            per_epoch * (self.epochs or 0) if self.cycles is None else 2 * self.n_s * self.cycles
        )
        if length > MOST_UPDATES:
            raise InvalidConfig(
                f"The training has {length:,} updates; at most {MOST_UPDATES:,} are possible."
            )
        return TrainingConfig(lambda_=self.lambda_, schedule=schedule, n_updates=length)

    def randomness(self, d: int, n_classes: int) -> Randomness:
        """Return the source of weights, orders and flips."""
        shape = (d, self.hidden, n_classes)
        if self.protocol == "notebook":
            return NotebookRandomness(self.seed, shape, self.earlier_runs)
        return StandardRandomness(self.seed, shape)


@dataclass(frozen=True)
class Trained:
    """What a single training gave."""

    config: TrainingConfig
    evaluations: list[Evaluation]
    network: Network | None  #: None when it was told to stop
    hits: Callable[[Dataset], NDArray[np.bool_]]  #: which of more images the network gets right


def train_once(
    settings: Settings,
    training: Dataset,
    validation: Dataset,
    *,
    watch: Callable[[Evaluation, TrainingConfig], None] = lambda *_: None,
    stop: Callable[[], bool] = never,
) -> Trained:
    """Train one network and return it with its curve."""
    statistics = feature_statistics(training)

    def inputs(dataset: Dataset) -> Inputs:
        return Inputs(dataset, settings.normalisation, settings.dtype, statistics)

    randomness = settings.randomness(training.d, training.n_classes)
    prepared = inputs(training)
    batches = Batches(prepared, randomness, settings.batch_size, settings.flip)
    configs = {0: settings.plan(batches.per_epoch)}
    networks = {0: randomness.network().astype(settings.dtype)}
    stack = build_stack(configs, networks, settings.batch_size, settings.loss)
    full = Examination(prepared) if settings.train_metrics == "full" else None
    evaluations: list[Evaluation] = []
    trained: Network | None = None
    validate = Examination(inputs(validation))
    for evaluation in train(stack, configs, batches, validate, full_training=full, stop=stop):
        evaluations.append(evaluation)
        watch(evaluation, configs[0])
        if evaluation.update == configs[0].n_updates:
            trained = stack.network(0)

    def hits(dataset: Dataset) -> NDArray[np.bool_]:
        if trained is None:
            raise InvalidConfig("The training was stopped before its end.")
        finished = build_stack(configs, {0: trained}, settings.batch_size, settings.loss)
        examined = Examination(inputs(dataset))(finished, [0])
        if examined is None:
            raise RuntimeError("An evaluation without a stop came back empty.")
        right: NDArray[np.bool_] = examined[1][0]
        return right

    return Trained(configs[0], evaluations, trained, hits)
