"""What a study definition may say, checked once when it is built."""

import math
from typing import TYPE_CHECKING, Any

from hpo.errors import InvalidDefinition
from hpo.grids import AroundBest, Best, Grid
from hpo.pruners import NONE, parse
from hpo.spaces import Space

if TYPE_CHECKING:
    from hpo.definition import StudyDefinition

PROTOCOLS = ("standard", "notebook")
TRAIN_METRICS = ("running", "full")
CHOICES = {
    "loss": ("cross-entropy", "binary-cross-entropy"),
    "normalisation": ("image", "feature", "none"),
    "dtype": ("float32", "float64"),
    "train_metrics": TRAIN_METRICS,
    "protocol": PROTOCOLS,
}
COUNTS = ("n_cycles", "batch_size", "hidden", "n_validation", "replicates")


def check(definition: "StudyDefinition") -> None:
    """Refuse a definition that describes no study.

    Raises:
        InvalidDefinition: With the field, what it must be, and what it is.
    """
    check_name(definition.name)
    if (definition.grid is None) == (definition.space is None):
        raise InvalidDefinition(f"{definition.name!r} needs a grid or a space, and not both.")
    if definition.space is None:
        _check_grid(definition)
    else:
        _check_space(definition)
    for field in COUNTS:
        _check_count(field, getattr(definition, field))
    _check_n_s(definition.n_s)
    for field, known in CHOICES.items():
        value = getattr(definition, field)
        if value not in known:
            raise InvalidDefinition(f"{field} must be one of {', '.join(known)}; got {value!r}.")
    _check_rates(definition.eta_min, definition.eta_max)
    probability = definition.flip_probability
    if not _is_number(probability) or not 0 <= probability <= 1:
        raise InvalidDefinition(f"The flip probability must be 0 to 1, got {probability!r}.")
    seed = definition.seed
    if not _is_whole(seed) or not 0 <= seed < 2**32:
        raise InvalidDefinition(f"The seed must be 0 to {2**32 - 1}, got {seed!r}.")
    if parse(definition.pruner).name != NONE and definition.protocol == "notebook":
        raise InvalidDefinition("The notebook protocol prunes nothing; its pruner is none.")
    if definition.protocol == "notebook" and (probability or definition.replicates > 1):
        raise InvalidDefinition(
            "The notebook protocol has no flips and one replicate; use the standard one."
        )


def check_name(name: str) -> None:
    """Refuse a study name that is awkward to type."""
    if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum():
        raise InvalidDefinition(f"A study's name has letters, digits, - and _, got {name!r}.")


def _check_grid(definition: "StudyDefinition") -> None:
    if not isinstance(definition.grid, Grid):
        raise InvalidDefinition(
            f"The grid of {definition.name!r} must be one of hpo.grids, for example "
            f"Values((0.001, 0.01)); got {definition.grid!r}."
        )
    if isinstance(definition.grid, AroundBest | Best) and definition.parent is None:
        raise InvalidDefinition(
            f"The grid of {definition.name!r} needs a parent study, but none is named. Set parent=..."
        )


def _check_space(definition: "StudyDefinition") -> None:
    name, space = definition.name, definition.space
    if not isinstance(space, Space):
        raise InvalidDefinition(f"The space of {name!r} must be a hpo.spaces.Space; got {space!r}.")
    if definition.protocol == "notebook":
        raise InvalidDefinition(f"{name!r} searches a space, which the notebook did not do.")
    if parse(definition.pruner).name != NONE:
        raise InvalidDefinition(
            f"{name!r} searches a space, in which cells of other lengths cannot be compared at a rung; "
            "its pruner is none."
        )
    if definition.evaluates_test:
        raise InvalidDefinition(
            f"{name!r} searches a space, so it cannot look at the test images; derive a study with a grid "
            "of its Best() from it, as final is."
        )
    if space.eta_max is not None and _is_number(definition.eta_min):
        _check_rates(definition.eta_min, space.eta_max.low)


def _check_count(field: str, value: Any) -> None:
    if not _is_whole(value):
        raise InvalidDefinition(f"{field} must be a whole number, got {value!r}.")
    if value < 1:
        raise InvalidDefinition(f"{field} must be at least 1, got {value}.")


def _check_n_s(n_s: Any) -> None:
    epochs = getattr(n_s, "epochs", None)
    if epochs is None:
        _check_count("n_s", n_s)
    elif not _is_number(epochs) or not 0 < epochs < math.inf:
        raise InvalidDefinition(
            f"n_s must be at least 1 update, more than 0 epochs, got {epochs!r}."
        )


def _check_rates(eta_min: Any, eta_max: Any) -> None:
    numbers = _is_number(eta_min) and _is_number(eta_max)
    if not numbers or not 0 <= eta_min <= eta_max < math.inf or eta_max == 0:
        raise InvalidDefinition(
            "The learning rates must satisfy 0 <= eta_min <= eta_max with eta_max above 0, "
            f"got eta_min={eta_min!r}, eta_max={eta_max!r}."
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
