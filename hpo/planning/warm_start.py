"""What earlier studies tell a search before it begins; it is stored with it and never moves."""

from collections.abc import Collection
from dataclasses import replace

from hpo.database import outcomes, rows
from hpo.database.connections import Connection
from hpo.definition.ranges import Value
from hpo.definition.study import suffixed
from hpo.experiment.experiment import Experiment
from hpo.judging.ranking import cell_means

ALWAYS = ("eta_max", "normalisation", "flip_probability", "hidden", "batch_size")
Known = tuple[tuple[dict[str, Value], float], ...]


def known(connection: Connection, experiment: Experiment) -> dict[str, Known]:
    """Return by study the cells that are complete, as far as they lie in the space.

    Studies that are not finished, or of other networks or images, tell nothing. Those that held out
    another number of the same images do: cells have as many epochs then, and the accuracy they had.
    """
    definition = experiment.definition
    space = definition.space
    found: dict[str, Known] = {}
    if space is None:
        return found
    dimensions = space.dimensions(experiment.per_epoch)
    n_training = experiment.data.n_training
    fixed = _parameters(replace(experiment, cells=({"lambda": 0.0},)), 0, n_training)
    for parent in space.warm_start:
        name = suffixed(parent, experiment.data.name, definition.protocol)
        for study in rows.studies_by_name(connection, name)[:1]:
            results = outcomes.results_of(connection, study.uuid)
            if len(results) < study.experiment.n_slots or not _is_alike(
                study.experiment, experiment
            ):
                continue
            means = cell_means(results, study.experiment)
            cells = [
                (_parameters(study.experiment, cell, n_training), mean)
                for cell, mean in means.items()
            ]
            inside = tuple(
                ({name: cell[name] for name in dimensions}, mean)
                for cell, mean in cells
                if all(dimensions[name].has(cell[name]) for name in dimensions)
                and all(cell[name] == fixed[name] for name in _unsearched(dimensions))
            )
            if inside:
                found[name] = inside
    return found


def _is_alike(study: Experiment, experiment: Experiment) -> bool:
    """Tell whether the networks of two studies are of one kind, and of the same images."""
    mine, own, data = study.definition, experiment.definition, experiment.data
    is_over = study.search is None or study.search.is_over
    theirs = replace(study.data, n_training=data.n_training, n_validation=data.n_validation)
    return is_over and mine.loss == own.loss and theirs == data


def _unsearched(dimensions: Collection[str]) -> set[str]:
    """Return what cells must have in common with a search which leaves that out.

    Of what is told in two ways one is enough, and the number of cycles may be another.
    """
    n_s = "n_s_epochs" if "n_s_epochs" in dimensions or "batch_size" in dimensions else "n_s"
    eta_min = "eta_min_share" if "eta_min_share" in dimensions else "eta_min"
    return {n_s, eta_min, *ALWAYS} - {*dimensions}


def _parameters(experiment: Experiment, cell: int, n_training: int) -> dict[str, Value]:
    """Return a cell's recipe where an epoch is one of ``n_training`` images."""
    recipe = experiment.recipe(cell)
    epochs = recipe.n_s / (experiment.data.n_training // recipe.batch_size)
    return {
        "lambda": recipe.lambda_,
        "eta_max": recipe.eta_max,
        "n_s": round(epochs * (n_training // recipe.batch_size)),
        "normalisation": recipe.normalisation,
        "flip_probability": recipe.flip_probability,
        "hidden": recipe.hidden,
        "batch_size": recipe.batch_size,
        "n_cycles": recipe.n_cycles,
        "eta_min": recipe.eta_min,
        "eta_min_share": recipe.eta_min / recipe.eta_max,
        "n_s_epochs": int(epochs) if epochs.is_integer() else epochs,
    }
