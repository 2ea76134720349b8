"""How fast a search goes here: networks of its own recipes, trained for a moment before it begins.

Cells are drawn from the space as a sampler would, and stacks of them trained for a moment each; from
that follows what whole generations take, whose cells are shared out among the workers and cut.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hpo.definition.pruning import parse
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Slot
from hpo.search import candidates
from hpo.search.generations import n_kept
from hpo.training import trainer as training
from hpo.training.phases import TRAINING
from hpo.training.trainer import Trainer
from hpo.views.duration import in_words
from model.data import Dataset

MOMENT = 0.08  #: seconds of training of each stack that is timed
KINDS = 4  #: of stacks that are timed at most
GENERATIONS = 20  #: that are gone through in thought
AROUND = 0.03  #: seconds of a stack's cycle that are not training: claims, checkpoints, results


@dataclass(frozen=True)
class _Pace:
    """What the stacks of one kind need, as straight lines over their width."""

    update: tuple[float, float]
    evaluation: tuple[float, float]

    def seconds(self, lengths: Sequence[int]) -> float:
        """Return what a cycle of networks takes in one stack, whose cycles have these lengths."""
        done, total = 0, AROUND
        for place, length in enumerate(sorted(lengths)):
            width = len(lengths) - place
            total += (length - done) * (self.update[0] + self.update[1] * width)
            done = length
        return total + 20 * len(lengths) * sum(self.evaluation)


def rate(experiment: Experiment, dataset: Dataset, n_workers: int) -> float:
    """Return how many updates of a search's networks ``n_workers`` make in a second, about."""
    space, definition = experiment.definition.space, experiment.definition
    if space is None:
        raise ValueError(f"{definition.name} searches no space")
    drawn = candidates.at_random(space.dimensions(experiment.per_epoch), candidates.source(0))
    cells = tuple(drawn() for _ in range(GENERATIONS * space.width))
    thought = replace(experiment, cells=cells, search=None)
    paces = _measured(thought, Trainer(thought, dataset), min(space.width, training.WIDTH))
    pruning = parse(definition.pruner)
    n_updates, seconds = 0, 0.0
    for first in range(0, len(cells), space.width):
        live = list(range(first, first + space.width))
        for cycle in range(1, 1 + max(thought.recipe(cell).n_cycles for cell in live)):
            live = [cell for cell in live if thought.recipe(cell).n_cycles >= cycle]
            n_updates += sum(2 * thought.recipe(cell).n_s for cell in live)
            seconds += _longest(thought, paces, live, n_workers)
            if pruning.is_synchronous:
                live = live[: n_kept(len(live), pruning.parameters["eta"])]
    return n_updates / (seconds * _crowding(thought, n_workers))


def told(experiment: Experiment, dataset: Dataset, n_updates: int, n_workers: int) -> str:
    """Return in words what a search is about to do, and about how long that takes here."""
    seconds = n_updates / rate(experiment, dataset, n_workers)
    seeds = seeds_in_words(experiment)
    what = f"{seeds}, {n_updates:,} updates" if seeds else f"{n_updates:,} updates at most"
    return (
        f"{experiment.definition.name}: {what}, which take about {in_words(seconds)} with "
        f"{of_workers(n_workers)}"
    )


def seeds_in_words(experiment: Experiment) -> str:
    """Return which cells of a search that is over have more seeds than others, and how many."""
    search = experiment.search
    if search is None or not search.is_over or not search.finalists:
        return ""
    return f"seeds for cells {', '.join(map(str, search.finalists))}, {search.replicates} each"


def of_workers(n: int) -> str:
    """Return ``2 workers``."""
    return "1 worker" if n == 1 else f"{n} workers"


def _longest(
    experiment: Experiment, paces: dict[object, _Pace], live: Sequence[int], n_workers: int
) -> float:
    """Return what one cycle of cells takes the worker that has most of it to do."""
    width = max(1, -(-len(live) // n_workers))
    stacks: list[float] = []
    for kind in dict.fromkeys(experiment.recipe(cell).alike for cell in live):
        alike = [cell for cell in live if experiment.recipe(cell).alike == kind]
        pace = paces.get(kind) or next(iter(paces.values()))
        lengths = [2 * experiment.recipe(cell).n_s for cell in alike]
        parts = range(0, len(lengths), width)
        stacks += [pace.seconds(lengths[start : start + width]) for start in parts]
    busy = [0.0] * n_workers
    for seconds in sorted(stacks, reverse=True):
        busy[busy.index(min(busy))] += seconds
    return max(busy)


def _measured(experiment: Experiment, trainer: Trainer, width: int) -> dict[object, _Pace]:
    """Train narrow and wide stacks of some kinds for a moment each; return what they need by kind."""
    by_kind: dict[object, list[int]] = {}
    for cell in range(len(experiment.cells)):
        by_kind.setdefault(experiment.recipe(cell).alike, []).append(cell)
    most = sorted(by_kind, key=lambda kind: -len(by_kind[kind]))[:KINDS]
    paces: dict[object, _Pace] = {}
    for kind in most:
        cells = by_kind[kind][:width]
        one, all_ = _timed(trainer, cells[:1]), _timed(trainer, cells)
        lines = []
        for narrow, wide in zip(one, all_, strict=True):
            slope = (wide - narrow) / max(1, len(cells) - 1)
            lines.append((narrow - slope, slope) if slope > 0 else (wide, 0.0))
        paces[kind] = _Pace(lines[0], (lines[1][0] / len(cells), lines[1][1]))
    return paces


def _timed(trainer: Trainer, cells: Sequence[int]) -> tuple[float, float]:
    """Return the seconds of an update of a stack, and of an evaluation of all its networks."""
    stack, go = trainer.start([Slot(cell, 0) for cell in cells])
    clock = time.perf_counter
    trainer.examine_all(stack)  # the first time makes room
    began = clock()
    trainer.examine_all(stack)
    evaluation, update = clock() - began, 0.0
    last = began = clock()
    n_updates = 0

    def stop() -> bool:
        nonlocal n_updates
        n_updates += 1
        return (clock() - began > MOMENT and n_updates > 3) or len(stack.keys) < len(cells)

    def lap(phase: str) -> None:
        nonlocal last, update
        now = clock()
        if phase in TRAINING - {"evaluation"} and n_updates > 1:
            update += now - last
        last = now

    for _ in go(stop, lap):
        pass
    return update / max(1, n_updates - 2), evaluation


def _crowding(experiment: Experiment, n_workers: int) -> float:
    """Return how much longer a product takes where as many are made at once as there are workers."""
    definition = experiment.definition
    rng = np.random.default_rng(0)
    images = rng.random((definition.batch_size, experiment.data.d), dtype=np.float32)
    weights = rng.random((experiment.data.d, 4 * definition.hidden), dtype=np.float32)

    def products() -> int:
        end, n = time.perf_counter() + MOMENT, 0
        while time.perf_counter() < end:
            images @ weights
            n += 1
        return n

    products()
    alone, together = products(), [0] * n_workers

    def one(place: int) -> None:
        together[place] = products()

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n_workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(1.0, alone * n_workers / max(1, sum(together)))
