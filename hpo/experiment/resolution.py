"""How a definition becomes an experiment: every quantity that is relative to data or parent is settled."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hpo.definition.pruning import parse
from hpo.definition.ranges import Value, Whole
from hpo.definition.spaces import Space
from hpo.definition.study import MOST_SLOTS, MOST_UPDATES, Epochs, StudyDefinition
from hpo.errors import InvalidDefinition
from hpo.experiment.experiment import DataFacts, Experiment, Parent
from hpo.experiment.search_state import EDITION, SearchState


def resolve(
    definition: StudyDefinition,
    data: DataFacts,
    parent: Parent | None = None,
    notify: Callable[[str], None] = lambda _: None,
    stored: Experiment | None = None,
) -> Experiment:
    """Settle every number of ``definition`` for ``data``.

    Args:
        stored: That of the study if it exists: its grid is read back, and never made again.

    Raises:
        InvalidDefinition: The definition does not fit the data, or the grid its parent.
    """
    if definition.inherits_recipe and parent and parent.cell.recipe:
        definition = replace(definition, **inherited(parent.cell.recipe))
    sizes = _bounds(definition.space.batch_size if definition.space else (), definition.batch_size)
    if sizes[1] > data.n_training:
        raise InvalidDefinition(
            f"The batch size {sizes[1]} is larger than the training set ({data.n_training} images)."
        )
    per_epoch = data.n_training // definition.batch_size
    if definition.space is not None:
        definition = replace(definition, space=definition.space.settled(per_epoch))
    n_s, n_s_epochs = definition.n_s, None
    if isinstance(n_s, Epochs):
        given, n_s = n_s.epochs, n_s.updates(per_epoch, stored.n_s if stored else None)
        if sizes[0] < sizes[1]:
            n_s_epochs = max(given, n_s / per_epoch)
    cells: tuple[dict[str, Value], ...] = ()
    if definition.space is not None:
        rates = definition.space.eta_max
        _check_stability(definition.space.lambda_.high, rates.high if rates else definition.eta_max)
    elif stored:
        cells = stored.cells
    else:
        cells = _grid(definition, parent, notify)
    n_updates = _n_updates(definition, n_s, data.n_training, per_epoch)
    check_size(definition, len(cells), n_updates)
    earlier: tuple[int, ...] = ()
    if definition.protocol == "notebook" and definition.continues_order and parent:
        earlier = parent.experiment.runs_before(len(parent.experiment.lambdas))
    return Experiment(
        definition=replace(definition, n_s=n_s),
        data=data,
        cells=cells,
        n_updates=n_updates,
        parent=parent.cell if parent else None,
        earlier_runs=earlier,
        search=SearchState(edition=EDITION) if definition.space else None,
        n_s_epochs=n_s_epochs,
        ties_go_on=parse(definition.pruner).is_synchronous,
    )


def check_size(definition: StudyDefinition, n_cells: int, n_updates: int) -> None:
    """Refuse a study that is larger than any machine could finish.

    Raises:
        InvalidDefinition: It has too many slots, or a network too many updates.
    """
    n_slots = n_cells * definition.replicates
    if n_slots > MOST_SLOTS:
        raise InvalidDefinition(
            f"{definition.name!r} has {n_cells:,} cells with {definition.replicates:,} replicates each, "
            f"{n_slots:,} trainings; at most {MOST_SLOTS:,} are possible. Give fewer replicates."
        )
    if n_updates > MOST_UPDATES:
        raise InvalidDefinition(
            f"A network of {definition.name!r} has {n_updates:,} updates; at most {MOST_UPDATES:,} "
            "are possible. Give shorter or fewer cycles."
        )


def inheritance(experiment: Experiment, cell: int) -> dict[str, Value]:
    """Return what a derived study takes over from a cell beside lambda; n_s in whole epochs if so."""
    recipe = experiment.recipe(cell)
    epochs, rest = divmod(recipe.n_s, experiment.data.n_training // recipe.batch_size)
    return {
        **({"n_s": recipe.n_s} if rest else {"epochs": epochs}),
        "n_cycles": experiment.cells[cell].get("n_cycles", experiment.definition.n_cycles),
        "eta_max": recipe.eta_max,
        "normalisation": recipe.normalisation,
        "flip_probability": recipe.flip_probability,
        "eta_min": recipe.eta_min,
        "batch_size": recipe.batch_size,
        "hidden": recipe.hidden,
        "loss": experiment.definition.loss,
    }


def inherited(recipe: dict[str, Value]) -> dict[str, Any]:
    """Return the fields of a definition that an `inheritance` sets."""
    given: dict[str, Any] = dict(recipe)
    if "epochs" in given:
        given["n_s"] = Epochs(given.pop("epochs"))
    return given


def _grid(
    definition: StudyDefinition, parent: Parent | None, notify: Callable[[str], None]
) -> tuple[dict[str, Value], ...]:
    if definition.grid is None:
        raise InvalidDefinition(f"{definition.name!r} has neither a grid nor a space.")
    lambdas = definition.grid.lambdas(
        parent.cell if parent else None, parent.experiment.lambdas if parent else (), notify
    )
    for value in lambdas:
        _check_stability(value, definition.eta_max)
    if len(set(lambdas)) != len(lambdas):
        raise InvalidDefinition(f"The grid of {definition.name!r} has a lambda twice: {lambdas}.")
    return tuple({"lambda": value} for value in lambdas)


def check_budget(experiment: Experiment, space: Space) -> None:
    """Refuse a search whose budget does not pay for a single cell.

    Raises:
        InvalidDefinition: It does not.
    """
    definition = experiment.definition
    shortest, longest = _lengths(experiment, space)
    needed = longest * definition.replicates
    if needed > space.for_search:
        least = math.ceil(needed * space.budget / space.for_search)
        raise InvalidDefinition(
            f"A budget of {space.budget:,} updates is too small for {definition.name!r}: one cell may "
            f"need {needed:,}, and {space.for_search:,.0f} of the budget are for the search. Give "
            f"{least:,} or more, or shorter cycles."
        )
    check_size(definition, 1, longest)
    n_most = space.budget // shortest
    if n_most > MOST_SLOTS:
        raise InvalidDefinition(
            f"A budget of {space.budget:,} updates pays for {n_most:,} trainings of {definition.name!r}; "
            f"at most {MOST_SLOTS:,} are possible. Give less, or longer cycles."
        )


def _lengths(experiment: Experiment, space: Space) -> tuple[int, int]:
    """Return the updates of the shortest and of the longest cell that there may be."""
    definition = experiment.definition
    per_epoch = [
        experiment.data.n_training // size
        for size in reversed(_bounds(space.batch_size, definition.batch_size))
    ]
    cycles = _bounds(space.n_cycles or (), definition.n_cycles)
    if space.n_s is not None:
        half = [space.n_s.low * per_epoch[0], space.n_s.high * per_epoch[1]]
    elif experiment.n_s_epochs is not None:
        half = [max(1, math.floor(experiment.n_s_epochs * n)) for n in per_epoch]
    else:
        half = [experiment.n_s] * 2
    return 2 * half[0] * cycles[0], 2 * half[1] * cycles[1]


def _bounds(searched: Whole | tuple[int, ...], own: int) -> tuple[int, int]:
    """Return the smallest and the largest value of what is searched, or is the same in all cells."""
    if isinstance(searched, Whole):
        return searched.low, searched.high
    return min(searched, default=own), max(searched, default=own)


def _check_stability(lambda_: float, eta_max: float) -> None:
    if not 0 <= lambda_ < math.inf or 1 - 2 * eta_max * lambda_ <= 0:
        raise InvalidDefinition(
            f"lambda {lambda_} does not work with eta_max {eta_max}: it must be 0 or more, and "
            f"keep 1 - 2 eta lambda above 0{'. Lower one of them.' if lambda_ > 0 else '.'}"
        )


def _n_updates(definition: StudyDefinition, n_s: int, n_training: int, per_epoch: int) -> int:
    """Return whole cycles; in the notebook protocol the whole epochs that fit into them."""
    if definition.protocol == "standard":
        return 2 * n_s * definition.n_cycles
    epochs_per_cycle = 2 * n_s / (n_training / definition.batch_size)
    return per_epoch * max(1, int(epochs_per_cycle * definition.n_cycles))


def differences(stored: Experiment, asked: Experiment) -> list[str]:
    """Return one line for each thing in which two experiments differ; replicates may grow.

    How many images are asked for is no difference where the data make the same number of it.
    """
    found = []
    parted_alike = stored.data.n_validation == asked.data.n_validation
    for part in ("definition", "data"):
        old, new = stored.to_json()[part], asked.to_json()[part]
        for key in old.keys() | new.keys():
            if key == "replicates" and new[key] >= old[key]:
                continue
            if (part, key) == ("definition", "n_validation") and parted_alike:
                continue
            if old.get(key) != new.get(key):
                name = key if part == "definition" else f"data {key}"
                found += _difference(name, old.get(key), new.get(key))
    return sorted(found)


def _difference(name: str, old: Any, new: Any) -> list[str]:
    """Return what differs; of two spaces only the parts that do."""
    if name == "space" and old and new:
        # Who says nothing about finalists wants no others than there are.
        unsaid = {"finalists"} if new.get("finalists") is None else set()
        keys = dict.fromkeys((*old, *new))
        parts = [key for key in keys if old.get(key) != new.get(key) and key not in unsaid]
        return [
            line
            for key in parts
            for line in _difference(f"space {key}", old.get(key), new.get(key))
        ]
    return [f"{name}: stored {_short(old)}, asked for {_short(new)}"]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "..."
