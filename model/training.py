"""Training as a generator: it yields an evaluation at each log point, and can be left or resumed.

The caller prunes by dropping networks from the stack, or by not asking for more. It resumes by
handing in networks as they were at a cycle's end, and the number of updates made.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from model.errors import InvalidConfig
from model.losses import Loss
from model.network import Network
from model.normalisation import Inputs
from model.order import Randomness
from model.schedule import Schedule
from model.stack import Member, Stack

#: Images evaluated at a time. Fixed, because sums are taken chunk by chunk.
EVALUATION_CHUNK = 500
#: Evaluation inputs up to this many bytes are kept ready; larger sets are made chunk by chunk.
KEPT_INPUTS = 256 * 2**20


def never() -> bool:
    """Do not stop."""
    return False


def untimed(phase: str) -> None:
    """Take no notice of the end of a phase."""
    del phase


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What distinguishes the networks of a stack, and how long each is trained."""

    #: Factor of the sum of squared weights in the cost (no 1/2; biases are not counted).
    lambda_: float
    schedule: Schedule
    #: Updates until the end of the training.
    n_updates: int

    def __post_init__(self) -> None:
        if not 0 <= self.lambda_ < float("inf"):
            raise InvalidConfig(f"lambda must be 0 or more, got {self.lambda_}.")
        if self.n_updates < 1:
            raise InvalidConfig(f"The training needs at least 1 update, got {self.n_updates}.")
        if 1 - 2 * self.schedule.eta_max * self.lambda_ <= 0:
            raise InvalidConfig(
                f"lambda {self.lambda_} with a learning rate of {self.schedule.eta_max} multiplies the "
                f"weights by {1 - 2 * self.schedule.eta_max * self.lambda_:g} an update; the factor "
                "1 - 2 eta lambda must stay above 0. Lower one of them."
            )

    def is_log_point(self, n_done: int) -> bool:
        """Tell whether the curves get a value now: at the schedule's points, and at the end."""
        return n_done == self.n_updates or self.schedule.is_log_point(n_done)


@dataclass(frozen=True)
class Metrics:
    """Values of several networks, each array of shape (networks,)."""

    cost: NDArray[np.float64]
    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """The state of the networks that reached a log point of theirs."""

    #: Updates made so far.
    update: int
    #: The networks that these values belong to.
    keys: tuple[int, ...]
    training: Metrics
    validation: Metrics
    #: Which validation images each network got right, shape (networks, n).
    hits: NDArray[np.bool_]


class Batches:
    """The mini-batches of a replicate: a pure function of the update."""

    def __init__(
        self,
        training: Inputs,
        randomness: Randomness,
        batch_size: int,
        flip_probability: float = 0.0,
    ) -> None:
        if not 1 <= batch_size <= len(training):
            raise InvalidConfig(
                f"The batch size must be 1 to {len(training)}, the number of training images; "
                f"got {batch_size}."
            )
        if not 0 <= flip_probability <= 1:
            raise InvalidConfig(f"The flip probability must be 0 to 1, got {flip_probability}.")
        self.inputs = training
        self.batch_size = batch_size
        #: Updates in an epoch; images of an incomplete last mini-batch are left out.
        self.per_epoch = len(training) // batch_size
        self._randomness = randomness
        self._flip_probability = flip_probability
        self._epoch = -1
        self._order = np.arange(0)
        self._flips: NDArray[np.bool_] | None = None
        self._images = np.empty((batch_size, training.dataset.d), training.dtype)

    def get(self, update: int) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
        """Return inputs (n, d) and labels (n,) of ``update``; the next call reuses the inputs."""
        epoch, place = divmod(update, self.per_epoch)
        if epoch != self._epoch:
            n = len(self.inputs)
            self._order = self._randomness.order(epoch, n)
            if self._flip_probability:
                self._flips = self._randomness.flips(epoch, n, self._flip_probability)
            self._epoch = epoch
        part = slice(place * self.batch_size, (place + 1) * self.batch_size)
        chosen = self._order[part]
        mirrored = None if self._flips is None else self._flips[part]
        self.inputs.fill(self._images, chosen, mirrored)
        return self._images, self.inputs.labels[chosen]


class Examination:
    """Evaluates networks on a fixed set of images, always in the same chunks."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        d, size = inputs.dataset.d, inputs.dtype.itemsize
        kept = len(inputs) * d * size <= KEPT_INPUTS
        self._all = inputs.all() if kept else None
        self._chunk = np.empty((0 if kept else min(EVALUATION_CHUNK, len(inputs)), d), inputs.dtype)

    def __call__(
        self, stack: Stack, places: Sequence[int], stop: Callable[[], bool] = never
    ) -> tuple[Metrics, NDArray[np.bool_]] | None:
        """Return metrics and hits of the networks at ``places``, or None when told to stop."""
        penalties = stack.penalties(places)
        n = len(self._inputs)
        total = np.zeros(len(places))
        hits = np.empty((len(places), n), dtype=bool)
        for start in range(0, n, EVALUATION_CHUNK):
            if stop():
                return None
            part = slice(start, min(start + EVALUATION_CHUNK, n))
            images = self._images(part)
            row = 0
            for run in _runs(places):
                rows = slice(row, row + run.stop - run.start)
                sums, right = stack.evaluate(images, self._inputs.labels[part], run)
                total[rows] += sums
                hits[rows, part] = right
                row = rows.stop
        loss = total / n
        return Metrics(loss + penalties, loss, np.count_nonzero(hits, axis=1) / n), hits

    def _images(self, part: slice) -> NDArray[np.floating]:
        if self._all is not None:
            return self._all[part]
        chunk = self._chunk[: part.stop - part.start]
        self._inputs.fill(chunk, part)
        return chunk


def build_stack(
    configs: dict[int, TrainingConfig],
    networks: dict[int, Network],
    batch_size: int,
    loss: Loss = Loss.CROSS_ENTROPY,
) -> Stack:
    """Put the networks of ``configs`` into one stack, under the same keys."""
    members = [Member(key, config.lambda_) for key, config in configs.items()]
    return Stack(members, [networks[key] for key in configs], batch_size, loss)


def train(
    stack: Stack,
    configs: dict[int, TrainingConfig],
    batches: Batches,
    validation: Examination,
    *,
    full_training: Examination | None = None,
    first_update: int = 0,
    stop: Callable[[], bool] = never,
    lap: Callable[[str], None] = untimed,
) -> Iterator[Evaluation]:
    """Train the stack and yield the state of each network at its log points.

    A network leaves the stack after the evaluation at its own end. ``stop`` is asked before every
    update and every evaluation chunk; once it says True, the generator ends within one of them.

    Args:
        full_training: Evaluates the training images at each log point. Without it, their values
            are running means of the mini-batches since the last log point, taken before each
            update; the penalty in the running cost is that of the log point.
        first_update: Updates that the networks have behind them.
        lap: Is told when a phase ends: gather, forward, backward, evaluation.
    """
    update = first_update
    _drop_ended(stack, configs, update)
    keys = stack.keys
    running = np.zeros((3, len(keys)))  # sums of loss, hits and updates of each network
    while keys:
        if stop():
            return
        with np.errstate(
            over="ignore", invalid="ignore", divide="ignore"
        ):  # divergence is a result
            etas = _rates(configs, keys, update)
            images, labels = batches.get(update)
            lap("gather")
            mean_losses, hits = stack.step(images, labels, etas, lap)
            update += 1
            running[0] += mean_losses
            running[1] += hits
            running[2] += 1
            due = [t for t, key in enumerate(keys) if configs[key].is_log_point(update)]
            if not due:
                continue
            evaluation = _evaluate(
                stack, due, update, validation, full_training, running, batches, stop
            )
            lap("evaluation")
        if evaluation is None:
            return
        running[:, due] = 0
        yield evaluation
        _drop_ended(stack, configs, update)
        if stack.keys != keys:  # the caller may have dropped some too
            staying = [keys.index(key) for key in stack.keys]
            keys, running = stack.keys, running[:, staying]


def _rates(
    configs: dict[int, TrainingConfig], keys: Sequence[int], update: int
) -> NDArray[np.float64]:
    """Return the learning rate of each network."""
    return np.array([configs[key].schedule.rate(update) for key in keys])


def _evaluate(
    stack: Stack,
    due: list[int],
    update: int,
    validation: Examination,
    full_training: Examination | None,
    running: NDArray[np.float64],
    batches: Batches,
    stop: Callable[[], bool],
) -> Evaluation | None:
    """Return the state of the networks at the places ``due``, or None when told to stop."""
    keys = tuple(stack.keys[t] for t in due)
    examined = validation(stack, due, stop)
    if examined is None:
        return None
    if full_training is not None:
        trained = full_training(stack, due, stop)
        if trained is None:
            return None
        return Evaluation(update, keys, trained[0], *examined)
    losses, hits, n_updates = running[:, due]
    loss = losses / n_updates
    accuracy = hits / (n_updates * batches.batch_size)
    training = Metrics(loss + stack.penalties(due), loss, accuracy)
    return Evaluation(update, keys, training, *examined)


def _drop_ended(stack: Stack, configs: dict[int, TrainingConfig], update: int) -> None:
    ended = [key for key in stack.keys if configs[key].n_updates <= update]
    if ended:
        stack.drop(ended)


def _runs(places: Sequence[int]) -> Iterator[slice]:
    """Join neighbouring places: [0, 1, 4] gives 0:2 and 4:5."""
    breaks = [i for i, (a, b) in enumerate(pairwise(places), 1) if b != a + 1]
    for first, last in pairwise([0, *breaks, len(places)]):
        yield slice(places[first], places[last - 1] + 1)
