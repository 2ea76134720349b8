"""What a run would train, how much memory it takes, and about how long: ``hpo run --dry-run``."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpo.commands.running import prepare
from hpo.database.onlooker import looking
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition
from hpo.experiment.experiment import Experiment
from hpo.planning.plan import stands
from hpo.training.trainer import WIDTH
from model.data import Dataset

#: Share of the measured speed of products that a whole training reaches, about.
EFFICIENCY = 0.85
#: Seconds of an update that are not products, about.
OVERHEAD = 0.3e-3


@dataclass(frozen=True)
class Cost:
    """What one core needs."""

    seconds: float
    memory: float  #: bytes


def describe(
    definition: StudyDefinition,
    dataset: Dataset,
    url: str,
    name: str | None,
    parent: str | None,
    notify: Callable[[str], None],
    cell: int | None = None,
) -> str:
    """Return the cells, the updates, the memory and the time of a run that is not made."""
    with looking(url, notify) as storage:
        name, study, experiment = prepare(
            definition, dataset, storage, name=name, parent_name=parent, cell=cell, notify=notify
        )
        standing = None
        if storage is not None and study is not None:
            known = study
            standing = storage.write(lambda connection: stands(connection, known))
    done = standing.n_counted if standing else 0
    space = experiment.definition.space
    if space is not None:
        left = standing.n_updates + standing.n_unplanned if standing else space.budget
        return _of_search(name, experiment, space, dataset, done, left)
    n_slots = len(experiment.cells) * experiment.definition.replicates
    needed = cost(experiment, dataset, n_slots - done)
    replicates = experiment.definition.replicates
    several = f" with {replicates} replicates each" if replicates > 1 else ""
    trainings = "trainings" if several else "of them"
    lines = [f"{name}: {len(experiment.cells)} cells{several}, {done} {trainings} done"]
    lines += [f"  cell {i}: lambda {value!r}" for i, value in enumerate(experiment.lambdas)]
    lines += [
        f"updates: {experiment.n_updates:,} a cell, {experiment.n_updates * (n_slots - done):,} to make",
        f"memory:  about {needed.memory / 1e6:,.0f} MB",
        f"time:    about {needed.seconds:,.0f} s on one core of this machine",
    ]
    return "\n".join(lines)


def _of_search(
    name: str, experiment: Experiment, space: Space, dataset: Dataset, done: int, left: int
) -> str:
    dimensions = space.dimensions(experiment.per_epoch)
    needed = cost(experiment, dataset, space.width, left // space.width)
    lines = [f"{name}: {len(experiment.cells)} cells so far, {done} trainings done"]
    lines += [f"  {key}: {dimension.in_words()}" for key, dimension in dimensions.items()]
    lines += [
        f"search:  {space.sampler}, {space.width} proposals at a time; the best {space.finalists} get "
        f"more seeds from {space.final_share:.0%} of the budget"
        if space.finalists > 1
        else f"search:  {space.sampler}, {space.width} proposals at a time",
        f"updates: {left:,} to make, within a budget of {space.budget:,}; "
        f"{experiment.definition.n_cycles} cycles for a cell",
        f"memory:  about {needed.memory / 1e6:,.0f} MB",
        f"time:    about {needed.seconds:,.0f} s on one core of this machine",
    ]
    return "\n".join(lines)


def cost(
    experiment: Experiment, dataset: Dataset, n_slots: int, n_updates: int | None = None
) -> Cost:
    """Estimate from the speed of one product of the training's shape, measured now.

    Args:
        n_updates: Of each slot, if it is not what a cell of a grid has.
    """
    n_updates = experiment.n_updates if n_updates is None else n_updates
    definition, data = experiment.definition, experiment.data
    width = min(1 if definition.protocol == "notebook" else WIDTH, max(n_slots, 1))
    columns = width * definition.hidden
    rng = np.random.default_rng(0)
    dtype = np.dtype(definition.dtype)
    images = rng.standard_normal((definition.batch_size, data.d)).astype(dtype)
    weights = rng.standard_normal((data.d, columns)).astype(dtype)
    times = []
    for _ in range(8):
        began = time.perf_counter()
        images @ weights
        times.append(time.perf_counter() - began)
    product = min(times) / EFFICIENCY  # seconds for one batch of one stack
    per_stack = n_updates * (2 * product + OVERHEAD)
    log_points = 10 * n_updates / experiment.n_s
    evaluated = data.n_validation
    if definition.train_metrics == "full":
        evaluated += data.n_training
    per_stack += log_points * evaluated / definition.batch_size * product
    stacks = n_slots / width
    memory = 120e6 + dataset.images.nbytes + 3 * weights.nbytes  # Python with its libraries first
    memory += data.n_validation * data.d * dtype.itemsize
    return Cost(stacks * per_stack, memory)
