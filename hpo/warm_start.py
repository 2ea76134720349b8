"""What earlier studies tell a search before it begins; it is stored with it and never moves."""

from sqlalchemy import Connection

from hpo import rows
from hpo.definition import StudyDefinition, suffixed
from hpo.experiment import Experiment
from hpo.ranking import cell_means
from hpo.spaces import Value

Known = tuple[tuple[dict[str, Value], float], ...]


def known(
    connection: Connection, definition: StudyDefinition, experiment: Experiment
) -> dict[str, Known]:
    """Return by study the cells that are complete, as far as they lie in the space.

    Studies on other images, or judged by others, tell nothing.
    """
    space = definition.space
    found: dict[str, Known] = {}
    if space is None:
        return found
    dimensions = space.dimensions(experiment.per_epoch)
    for parent in space.warm_start:
        name = suffixed(parent, experiment.data.name, definition.protocol)
        for study in rows.studies_by_name(connection, name)[:1]:
            if study.experiment.data != experiment.data:
                continue
            means = cell_means(rows.results_of(connection, study.uuid), study.experiment)
            cells = [(_parameters(study.experiment, cell), mean) for cell, mean in means.items()]
            inside = tuple(
                ({name: cell[name] for name in dimensions}, mean)
                for cell, mean in cells
                if all(dimension.has(cell[name]) for name, dimension in dimensions.items())
            )
            if inside:
                found[name] = inside
    return found


def _parameters(experiment: Experiment, cell: int) -> dict[str, Value]:
    recipe = experiment.recipe(cell)
    return {
        "lambda": recipe.lambda_,
        "eta_max": recipe.eta_max,
        "n_s": recipe.n_s,
        "normalisation": recipe.normalisation,
        "flip_probability": recipe.flip_probability,
    }
