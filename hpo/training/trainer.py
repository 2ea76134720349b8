"""From an experiment and its data to stacks in training: the seam between search and model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from hpo.definition.ranges import Real
from hpo.definition.study import StudyDefinition
from hpo.errors import DataChanged
from hpo.experiment.experiment import DataFacts, Experiment
from hpo.experiment.records import Slot
from model.data import Dataset, Split, Statistics, split
from model.losses import Loss, probabilities
from model.network import Network, forward
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
    space = definition.space
    flips = space.flip_probability if space else ()
    flips = (flips.high,) if isinstance(flips, Real) else flips or (definition.flip_probability,)
    normalisations = (space.normalisation if space else ()) or (definition.normalisation,)
    if any(flips) and not dataset.image_shape:
        dataset.mirrored(dataset.images[:1])  # says that these images cannot be mirrored
    if Normalisation.IMAGE in normalisations:
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
    """Trains slots of one experiment on one data set, which is prepared once.

    Raises:
        DataChanged: The data set is not the one that the experiment is about.
    """

    def __init__(self, experiment: Experiment, dataset: Dataset) -> None:
        data = experiment.data
        if dataset.fingerprint != data.fingerprint:
            raise DataChanged(data.name, data.fingerprint, dataset.fingerprint)
        self.experiment = experiment
        self._definition = experiment.definition
        self._dataset = dataset
        self._prepared: dict[str, Inputs] = {}  # by normalisation
        self._examinations: dict[str, Examination] = {}  # by normalisation, of validation images

    def check(self) -> None:
        """Make sure that the images are still those that were read.

        Raises:
            DataChanged: Somebody has written to them.
        """
        if not self._dataset.is_unchanged():
            data = self.experiment.data
            raise DataChanged(data.name, data.fingerprint, None)

    def follow(self, experiment: Experiment) -> None:
        """Learn of cells that were added to the experiment."""
        self.experiment = experiment

    @cached_property
    def _parts(self) -> Split:
        return split(self._dataset, self._definition.n_validation)

    @cached_property
    def _statistics(self) -> Statistics:
        return feature_statistics(self._parts.training)

    def _training(self, normalisation: str) -> Inputs:
        if normalisation not in self._prepared:
            self._prepared[normalisation] = self._inputs(self._parts.training, normalisation)
        return self._prepared[normalisation]

    def _validation(self, normalisation: str) -> Examination:
        if normalisation not in self._examinations:
            validation = self._inputs(self._parts.validation, normalisation)
            self._examinations[normalisation] = Examination(validation)
        return self._examinations[normalisation]

    def _inputs(self, dataset: Dataset, normalisation: str) -> Inputs:
        kind = Normalisation(normalisation)
        statistics = self._statistics if kind is Normalisation.FEATURE else None
        return Inputs(dataset, kind, self._definition.dtype, statistics)

    @property
    def width(self) -> int:
        """How many slots may share mini-batches; the notebook's runs each have their own order."""
        return 1 if self._definition.protocol == "notebook" else WIDTH

    def config(self, cell: int) -> TrainingConfig:
        """Return the recipe of a cell."""
        recipe = self.experiment.recipe(cell)
        schedule = Cyclic(eta_min=recipe.eta_min, eta_max=recipe.eta_max, n_s=recipe.n_s)
        return TrainingConfig(lambda_=recipe.lambda_, schedule=schedule, n_updates=recipe.n_updates)

    def start(
        self,
        slots: Sequence[Slot],
        resumed: Mapping[int, Network] | None = None,
        n_updates: int = 0,
    ) -> tuple[Stack, "Callable[..., Iterator[Evaluation]]"]:
        """Return a stack for ``slots``, and the training that takes a ``stop`` and a ``lap``.

        The key of a network is its cell. All slots have one replicate and what a stack has in common
        (`Recipe.alike`), and in the notebook protocol there is one slot.

        Args:
            resumed: Networks that go on from ``n_updates``; without one, a slot starts afresh.
        """
        definition, recipe = self._definition, self.experiment.recipe(slots[0].cell)
        randomness = self._randomness(slots[0])
        configs = {slot.cell: self.config(slot.cell) for slot in slots}
        fresh = randomness.network().astype(definition.dtype)
        networks = dict.fromkeys(configs, fresh) | dict(resumed or {})
        stack = build_stack(configs, networks, recipe.batch_size, Loss(definition.loss))
        training = self._training(recipe.normalisation)
        batches = Batches(training, randomness, recipe.batch_size, recipe.flip_probability)
        full = Examination(training) if definition.train_metrics == "full" else None

        def go(
            stop: Callable[[], bool] = never, lap: Callable[[str], None] = untimed
        ) -> Iterator[Evaluation]:
            return train(
                stack,
                configs,
                batches,
                self._validation(recipe.normalisation),
                full_training=full,
                first_update=n_updates,
                stop=stop,
                lap=lap,
            )

        return stack, go

    def examine(
        self, network: Network, dataset: Dataset, cell: int = 0
    ) -> tuple[Metrics, np.ndarray]:
        """Evaluate a network of ``cell`` on images of the same kind as the training images."""
        key = {0: self.config(cell)}
        recipe = self.experiment.recipe(cell)
        stack = build_stack(key, {0: network}, recipe.batch_size, Loss(self._definition.loss))
        examined = Examination(self._inputs(dataset, recipe.normalisation))(stack, [0])
        if examined is None:  # only a stop makes it so, and there is none
            raise RuntimeError("An evaluation without a stop came back empty.")
        return examined

    def examine_all(self, stack: Stack) -> None:
        """Evaluate all networks of a stack on the validation images, and keep nothing."""
        recipe = self.experiment.recipe(stack.keys[0])
        self._validation(recipe.normalisation)(stack, range(len(stack.keys)))

    def answers(self, network: Network, cell: int) -> tuple[Dataset, np.ndarray]:
        """Return the validation images, and the probability of each class that a network gives them.

        Shape (images, classes). Test images are no part of it.
        """
        validation = self._parts.validation
        inputs = self._inputs(validation, self.experiment.recipe(cell).normalisation)
        scores = forward(network.astype(self._definition.dtype), inputs.all())
        return validation, probabilities(Loss(self._definition.loss), scores)

    def _randomness(self, slot: Slot) -> Randomness:
        seed, data = self._definition.seed, self.experiment.data
        shape = (data.d, self.experiment.recipe(slot.cell).hidden, data.n_classes)
        if self._definition.protocol == "notebook":
            return NotebookRandomness(seed, shape, self.experiment.runs_before(slot.cell))
        return StandardRandomness(seed, shape, slot.replicate)
