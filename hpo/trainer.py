"""From an experiment and its data to stacks in training: the seam between search and model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from hpo.definition import DataFacts, Experiment, StudyDefinition
from hpo.tables import Slot
from model.data import Dataset, Split, Statistics, split
from model.losses import Loss
from model.network import Network
from model.normalisation import (
    Inputs,
    Normalisation,
    feature_statistics,
    refuse_constant_images,
)
from model.order import NotebookRandomness, Randomness, StandardRandomness
from model.schedule import Cyclic
from model.stack import Stack
from model.training import (
    Batches,
    Evaluation,
    Examination,
    Metrics,
    TrainingConfig,
    build_stack,
    never,
    train,
    untimed,
)

WIDTH = 16  #: networks in a stack at most; beyond that a core gains little


def facts(dataset: Dataset, definition: StudyDefinition) -> DataFacts:
    """Return what an experiment on ``dataset`` stores of it.

    Raises:
        InvalidData: The images cannot be used as the definition asks.
    """
    parts = split(dataset, definition.n_validation)
    if definition.flip_probability and not dataset.image_shape:
        dataset.mirrored(dataset.images[:1])  # says that these images cannot be mirrored
    if definition.normalisation == Normalisation.IMAGE:
        refuse_constant_images(dataset)
    return DataFacts(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        n_training=len(parts.training),
        n_validation=len(parts.validation),
        d=dataset.d,
        n_classes=dataset.n_classes,
        image_shape=dataset.image_shape,
    )


class Trainer:
    """Trains slots of one experiment on one data set, which is prepared once."""

    def __init__(self, experiment: Experiment, dataset: Dataset) -> None:
        self.experiment = experiment
        self._definition = experiment.definition
        self._dataset = dataset

    @cached_property
    def _parts(self) -> Split:
        return split(self._dataset, self._definition.n_validation)

    @cached_property
    def _statistics(self) -> Statistics | None:
        feature = self._definition.normalisation == Normalisation.FEATURE
        return feature_statistics(self._parts.training) if feature else None

    @cached_property
    def _training(self) -> Inputs:
        return self._inputs(self._parts.training)

    @cached_property
    def _validation(self) -> Examination:
        return Examination(self._inputs(self._parts.validation))

    def _inputs(self, dataset: Dataset) -> Inputs:
        kind = Normalisation(self._definition.normalisation)
        return Inputs(dataset, kind, self._definition.dtype, self._statistics)

    @property
    def width(self) -> int:
        """How many slots may share mini-batches; the notebook's runs each have their own order."""
        return 1 if self._definition.protocol == "notebook" else WIDTH

    def config(self, cell: int) -> TrainingConfig:
        """Return the recipe of a cell."""
        definition = self._definition
        schedule = Cyclic(
            eta_min=definition.eta_min, eta_max=definition.eta_max, n_s=self.experiment.n_s
        )
        lambda_ = self.experiment.cells[cell]["lambda"]
        return TrainingConfig(
            lambda_=lambda_, schedule=schedule, n_updates=self.experiment.n_updates
        )

    def start(
        self,
        slots: Sequence[Slot],
        resumed: Mapping[int, Network] | None = None,
        n_updates: int = 0,
    ) -> tuple[Stack, "Callable[..., Iterator[Evaluation]]"]:
        """Return a stack for ``slots``, and the training that takes a ``stop`` and a ``lap``.

        The key of a network is its cell. All slots have one replicate, and in the notebook
        protocol there is one slot.

        Args:
            resumed: Networks that go on from ``n_updates``; without one, a slot starts afresh.
        """
        definition = self._definition
        randomness = self._randomness(slots[0])
        configs = {slot.cell: self.config(slot.cell) for slot in slots}
        fresh = randomness.network().astype(definition.dtype)
        networks = dict.fromkeys(configs, fresh) | dict(resumed or {})
        stack = build_stack(configs, networks, definition.batch_size, Loss(definition.loss))
        batches = Batches(
            self._training, randomness, definition.batch_size, definition.flip_probability
        )
        full = Examination(self._training) if definition.train_metrics == "full" else None

        def go(
            stop: Callable[[], bool] = never, lap: Callable[[str], None] = untimed
        ) -> Iterator[Evaluation]:
            return train(
                stack,
                configs,
                batches,
                self._validation,
                full_training=full,
                first_update=n_updates,
                stop=stop,
                lap=lap,
            )

        return stack, go

    def examine(self, network: Network, dataset: Dataset) -> tuple[Metrics, np.ndarray]:
        """Evaluate a network on images of the same kind as the training images."""
        key = {0: self.config(0)}
        stack = build_stack(
            key, {0: network}, self._definition.batch_size, Loss(self._definition.loss)
        )
        examined = Examination(self._inputs(dataset))(stack, [0])
        if examined is None:  # only a stop makes it so, and there is none
            raise RuntimeError("An evaluation without a stop came back empty.")
        return examined

    def _randomness(self, slot: Slot) -> Randomness:
        seed, data = self._definition.seed, self.experiment.data
        shape = (data.d, self._definition.hidden, data.n_classes)
        if self._definition.protocol == "notebook":
            return NotebookRandomness(seed, shape, self.experiment.runs_before(slot.cell))
        return StandardRandomness(seed, shape, slot.replicate)
