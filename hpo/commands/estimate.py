"""What a run would train, how much memory it takes, and about how long: ``hpo run --dry-run``."""

from collections.abc import Callable

from hpo.commands import budgets, speed
from hpo.commands.request import Order
from hpo.commands.running import prepare
from hpo.database import outcomes
from hpo.database.onlooker import looking
from hpo.definition.pruning import NONE, parse
from hpo.definition.spaces import Space
from hpo.experiment.budgets import largest
from hpo.experiment.experiment import Experiment
from hpo.planning import seeds
from hpo.planning.plan import stands
from hpo.training.cost import cost, worth
from model.data import Dataset


def describe(
    order: Order, url: str, notify: Callable[[str], None], n_workers: int | None = None
) -> str:
    """Return the cells, the updates, the memory and the time of a run that is not made.

    Args:
        n_workers: Processes that would train, or None for as many as are worth it.
    """
    order = budgets.in_updates(order, url, n_workers, notify)
    with looking(url, notify) as storage:
        name, study, experiment = prepare(order, storage, notify)
        standing = None
        if storage is not None and study is not None:
            known, experiment = study, budgets.grown(order, name, experiment)
            results = storage.read(lambda connection: outcomes.results_of(connection, known.uuid))
            experiment = seeds.seeded(name, experiment, results, order.definition.replicates)
            standing = storage.read(lambda connection: stands(connection, known, experiment))
    done, dataset = standing.n_counted if standing else 0, order.dataset
    space = experiment.definition.space
    if space is not None:
        left = standing.n_updates + standing.n_unplanned if standing else space.budget
        return _of_search(name, experiment, space, dataset, done, left, n_workers)
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
    name: str,
    experiment: Experiment,
    space: Space,
    dataset: Dataset,
    done: int,
    left: int,
    n_workers: int | None,
) -> str:
    dimensions = space.dimensions(experiment.per_epoch)
    workers = n_workers or worth(experiment, left)
    takes = speed.in_words(left / speed.rate(experiment, dataset, workers)) if left else "0 s"
    needed = cost(experiment, dataset, space.width, left // space.width)
    n = space.n_cycles
    cycles = f"{n.low} to {n.high}" if n else str(experiment.definition.n_cycles)
    lines = [f"{name}: {len(experiment.cells)} cells so far, {done} trainings done"]
    lines += [f"  {key}: {dimension.in_words()}" for key, dimension in dimensions.items()]
    more = speed.seeds_in_words(experiment)
    if more:
        lines.append(f"seeds:   {more.removeprefix('seeds ')}")
    lines += [
        f"search:  {space.sampler}, {space.width} proposals at a time{_cut(experiment)}{_race(space)}",
        f"updates: {left:,} to make, within a budget of {largest(experiment):,}; "
        f"{cycles} cycles for a cell",
        f"memory:  about {needed.memory / 1e6:,.0f} MB",
        f"time:    about {takes} with {speed.of_workers(workers)} on this machine",
    ]
    return "\n".join(lines)


def _cut(experiment: Experiment) -> str:
    pruning = parse(experiment.definition.pruner)
    if pruning.name == NONE:
        return ""
    if not pruning.is_synchronous:
        return f", cut by {pruning.name}"
    return f", of which one in {pruning.parameters['eta']:g} goes on after each cycle"


def _race(space: Space) -> str:
    if space.n_finalists < 2:
        return ""
    share = f"{space.final_share:.0%} of the budget"
    return f"; the best {space.n_finalists} get more seeds from {share}"
