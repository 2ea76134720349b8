"""What earlier studies tell a search before it begins; it is stored with it and never moves."""

from dataclasses import replace

from hpo.database import outcomes, rows
from hpo.database.connections import Connection
from hpo.definition.ranges import Value
from hpo.definition.study import suffixed
from hpo.experiment.experiment import Experiment, Recipe
from hpo.experiment.resolution import COMMON
from hpo.judging.ranking import cell_means

Known = tuple[tuple[dict[str, Value], float], ...]


def known(connection: Connection, experiment: Experiment) -> dict[str, Known]:
    """Return by study the cells that are complete, as far as they lie in the space.

    Studies that are not finished, or of other networks or images, tell nothing.
    """
    definition = experiment.definition
    space = definition.space
    found: dict[str, Known] = {}
    if space is None:
        return found
    dimensions = space.dimensions(experiment.per_epoch)
    fixed = _parameters(replace(experiment, cells=({"lambda": 0.0},)).recipe(0))
    for parent in space.warm_start:
        name = suffixed(parent, experiment.data.name, definition.protocol)
        for study in rows.studies_by_name(connection, name)[:1]:
            results = outcomes.results_of(connection, study.uuid)
            if len(results) < study.experiment.n_slots or not _is_alike(
                study.experiment, experiment
            ):
                continue
            means = cell_means(results, study.experiment)
            cells = [(_parameters(study.experiment.recipe(c)), mean) for c, mean in means.items()]
            inside = tuple(
                ({name: cell[name] for name in dimensions}, mean)
                for cell, mean in cells
                if all(
                    dimensions[name].has(value) if name in dimensions else value == fixed[name]
                    for name, value in cell.items()
                )
            )
            if inside:
                found[name] = inside
    return found


def _is_alike(study: Experiment, experiment: Experiment) -> bool:
    """Tell whether the networks of two studies are of one kind, and judged by the same images."""
    mine, own = study.definition, experiment.definition
    is_over = study.search is None or study.search.is_over
    same = all(getattr(mine, name) == getattr(own, name) for name in COMMON)
    return is_over and same and study.data == experiment.data


def _parameters(recipe: Recipe) -> dict[str, Value]:
    return {
        "lambda": recipe.lambda_,
        "eta_max": recipe.eta_max,
        "n_s": recipe.n_s,
        "normalisation": recipe.normalisation,
        "flip_probability": recipe.flip_probability,
    }
