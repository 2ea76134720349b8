"""The product's own search on the table: its generations, rungs, race and ranking, called as they are."""

import math
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from hpo.definition.pruning import parse
from hpo.experiment.experiment import DataFacts, Experiment
from hpo.experiment.records import Outcome, Result, Slot
from hpo.experiment.resolution import resolve
from hpo.judging.ranking import best_cell
from hpo.planning import rungs
from hpo.planning.plan import slots_of
from hpo.search import generations
from studies.joint import STUDY
from tests.benchmarks.regret.trainings import Answer, Recipe, Search, Trainings

CIFAR10 = DataFacts(
    name="cifar10",
    fingerprint="0" * 64,
    n_training=45_000,
    n_validation=5_000,
    d=3072,
    n_classes=10,
    image_shape=(32, 32, 3),
)
#: What `joint` holds out itself; here its peers and it are compared with the same images.
A_FIFTH = replace(CIFAR10, n_training=40_000, n_validation=10_000)
Curves = Callable[[Experiment, Slot], Any]  #: the value of a slot at the end of each cycle


def recipe_of(experiment: Experiment, cell: int) -> Recipe:
    """Return a cell as the table names its parameters."""
    recipe = experiment.recipe(cell)
    return {
        "lambda": recipe.lambda_,
        "eta_max": recipe.eta_max,
        "epochs": recipe.n_s // experiment.per_epoch,
        "normalisation": recipe.normalisation,
        "flip_probability": recipe.flip_probability,
    }


def run(experiment: Experiment, curve: Curves) -> tuple[Experiment, list[Result]]:
    """Search to the end, and return all cells with all results."""
    known: dict[Slot, Result] = {}
    at_rungs: dict[int, Mapping[int, float | None]] = {}
    while experiment.search is not None and not experiment.search.is_over:
        experiment = generations.grown(experiment, list(known.values()), at_rungs)
        new = [slot for slot in slots_of(experiment) if slot not in known]
        known |= {result.slot: result for result in _trained(experiment, new, curve, at_rungs)}
    return experiment, list(known.values())


def _trained(
    experiment: Experiment,
    new: list[Slot],
    curve: Curves,
    at_rungs: dict[int, Mapping[int, float | None]],
) -> list[Result]:
    """Train what is new: a generation through its rungs, finalists to their end."""
    values = {slot: curve(experiment, slot) for slot in new}
    live = {slot.cell for slot in new}
    reached = dict.fromkeys(new, experiment.definition.n_cycles)
    pruning = parse(experiment.definition.pruner)
    is_race = any(slot.replicate >= experiment.definition.replicates for slot in new)
    if pruning.is_synchronous and not is_race:
        generation = len(experiment.generations) - 1
        for cycle in rungs.cycles_with_rung(experiment):
            table = {s.cell: float(values[s][cycle - 1]) for s in new if s.cell in live}
            at_rungs[rungs.number(experiment, generation, cycle)] = table
            n = generations.n_kept(len(live), pruning.parameters["eta"])
            kept = set(rungs.survivors(table, n))
            reached |= {slot: cycle for slot in new if slot.cell in live - kept}
            live = kept
    return [
        Result(
            slot=slot,
            attempt=0,
            outcome=Outcome.COMPLETE if slot.cell in live else Outcome.PRUNED,
            value=float(values[slot][cycles - 1]),
            cycles=cycles,
            n_updates=2 * experiment.recipe(slot.cell).n_s * cycles,
        )
        for slot, cycles in reached.items()
    ]


def search(
    trainings: Trainings,
    budget: int,
    pruner: str = STUDY.pruner,
    data: DataFacts = CIFAR10,
    **space: Any,
) -> Answer:
    """Return what came of `joint`, or of a space that differs from its own as told."""
    if STUDY.space is None:
        raise ValueError("studies/joint.py searches no space")
    definition = replace(
        STUDY,
        space=replace(STUDY.space, budget=budget, budget_epochs=None, **space),
        pruner=pruner,
        seed=trainings.repetition,
    )
    experiment, results = run(
        resolve(definition, data),
        lambda now, slot: trainings.curve(recipe_of(now, slot.cell), slot.replicate),
    )
    best = best_cell(results, experiment)
    chosen = None if best is None else recipe_of(experiment, best)
    return Answer(
        trainings.world.regret(chosen), sum(_cost(experiment, result) for result in results)
    )


def search_by_a_fifth(trainings: Trainings, budget: int) -> Answer:
    """Return what came of `joint` as it is: by a fifth of the images, with as many epochs.

    Its updates are told as those of the others, whose epochs are longer.
    """
    shorter = A_FIFTH.n_training / CIFAR10.n_training
    world = replace(trainings.world.of_all_images(), excess=1 / shorter)
    wider = Trainings(world, trainings.repetition)
    found = search(wider, math.floor(budget * shorter), data=A_FIFTH)
    return Answer(found.regret, round(found.spent / shorter))


def _cost(experiment: Experiment, result: Result) -> int:
    return result.n_updates


METHODS: Mapping[str, Search] = {
    "joint": search,
    "joint, judged by 10,000 images": search_by_a_fifth,
    "joint, by TPE": partial(search, sampler="tpe"),
    "joint of before (TPE, pruner none, race of 4 with 30 %)": partial(
        search, sampler="tpe", pruner="none", finalists=4, final_share=0.3
    ),
    "random, halved as joint": partial(search, sampler="random"),
    "Sobol, halved as joint": partial(search, sampler="qmc"),
}
