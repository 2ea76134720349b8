"""What a run would train, how much memory it takes, and about how long: ``hpo run --dry-run``."""

from collections.abc import Callable
from dataclasses import dataclass

from hpo.commands import budgets, speed
from hpo.commands.request import Order
from hpo.commands.running import prepare
from hpo.database import outcomes
from hpo.database.onlooker import looking
from hpo.definition.pruning import NONE, parse
from hpo.definition.spaces import Space
from hpo.experiment.budgets import largest
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import short
from hpo.planning import seeds
from hpo.planning.plan import stands
from hpo.training.cost import cost, worth
from hpo.views import numbers
from hpo.views.duration import in_words


def describe(
    order: Order,
    url: str,
    notify: Callable[[str], None],
    n_workers: int | None = None,
    form: str = "text",
) -> str:
    """Return the cells, the updates, the memory and the time of a run that is not made.

    Args:
        n_workers: Processes that would train, or None for as many as are worth it.
        form: text or json.
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
        workers = n_workers or worth(experiment, left)
        needed = cost(experiment, dataset, space.width, left // space.width)
        seconds = left / speed.rate(experiment, dataset, workers) if left else 0.0
        found = Estimate(name, experiment, done, left, needed.memory, seconds, workers)
        return _as_json(found) if form == "json" else _of_search(found, space)
    n_left = len(experiment.cells) * experiment.definition.replicates - done
    needed = cost(experiment, dataset, n_left)
    left = experiment.n_updates * n_left
    found = Estimate(name, experiment, done, left, needed.memory, needed.seconds, 1)
    return _as_json(found) if form == "json" else _of_grid(found)


@dataclass(frozen=True)
class Estimate:
    """What a run would take."""

    name: str
    experiment: Experiment
    done: int  #: trainings
    left: int  #: updates
    memory: float  #: bytes
    seconds: float
    workers: int


def _as_json(found: Estimate) -> str:
    experiment = found.experiment
    space = experiment.definition.space
    return numbers.written(
        {
            "study": found.name,
            "cells": list(experiment.cells),
            "replicates": experiment.definition.replicates,
            "done": found.done,
            "updates": found.left,
            "budget": None if space is None else largest(experiment),
            "memory": found.memory,
            "seconds": found.seconds,
            "workers": found.workers,
        }
    )


def _of_grid(found: Estimate) -> str:
    experiment, replicates = found.experiment, found.experiment.definition.replicates
    several = f" with {replicates} replicates each" if replicates > 1 else ""
    trainings = "trainings" if several else "of them"
    lines = [f"{found.name}: {len(experiment.cells)} cells{several}, {found.done} {trainings} done"]
    lines += [f"  cell {i}: lambda {short(value)}" for i, value in enumerate(experiment.lambdas)]
    lines += [
        f"updates: {experiment.n_updates:,} a cell, {found.left:,} to make",
        f"memory:  about {found.memory / 1e6:,.0f} MB",
        f"time:    about {found.seconds:,.0f} s on one core of this machine",
    ]
    return "\n".join(lines)


def _of_search(found: Estimate, space: Space) -> str:
    experiment = found.experiment
    dimensions = space.dimensions(experiment.per_epoch)
    takes = in_words(found.seconds) if found.left else "0 s"
    n = space.n_cycles
    cycles = f"{n.low} to {n.high}" if n else str(experiment.definition.n_cycles)
    lines = [f"{found.name}: {len(experiment.cells)} cells so far, {found.done} trainings done"]
    lines += [f"  {key}: {dimension.in_words()}" for key, dimension in dimensions.items()]
    more = speed.seeds_in_words(experiment)
    if more:
        lines.append(f"seeds:   {more.removeprefix('seeds ')}")
    lines += [
        f"search:  {space.sampler}, {space.width} proposals at a time{_cut(experiment)}{_race(space)}",
        f"updates: {found.left:,} to make, within a budget of {largest(experiment):,}; "
        f"{cycles} cycles for a cell",
        f"memory:  about {found.memory / 1e6:,.0f} MB",
        f"time:    about {takes} with {speed.of_workers(found.workers)} on this machine",
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
