"""Which pruner a study has, by name and parameters.

``halving`` is ours: at a cycle's end all live cells of the study have their value before any is
cut (`hpo.planning.rungs`), so what it decides does not depend on who was faster. With a confidence it
cuts only cells that are behind by more than chance. The others are Optuna's;
they see the values at cycle ends, and with few trials they depend on the order of completion.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hpo.definition.numbers import shown
from hpo.errors import InvalidDefinition

NONE, HALVING = "none", "halving"
UNSAID = "usual"  #: as it is for the kind of study: halving in a space, none in a grid
#: Parameters of every pruner, with the values they have if nothing is said.
KNOWN: Mapping[str, Mapping[str, float]] = {
    NONE: {},
    HALVING: {"eta": 2, "confidence": 0},
    "median": {"n_startup_trials": 5, "n_warmup_steps": 0, "n_min_trials": 1},
    "percentile": {"percentile": 25, "n_startup_trials": 5, "n_warmup_steps": 0, "n_min_trials": 1},
    "async-halving": {"min_resource": 1, "reduction_factor": 4, "min_early_stopping_rate": 0},
    "hyperband": {"min_resource": 1, "max_resource": 2, "reduction_factor": 3},
    "threshold": {"lower": 0.2, "n_warmup_steps": 0},
    "patient": {"patience": 1, "min_delta": 0},
    "wilcoxon": {"p_threshold": 0.1, "n_startup_steps": 2},
}
#: What each parameter may be; what is not named here counts, from 0.
RANGES: Mapping[str, tuple[float, float]] = {
    "eta": (1, 1e6),
    "confidence": (0, 0.9999),
    "percentile": (0, 100),
    "lower": (0, 1),
    "min_delta": (0, 1),
    "p_threshold": (0, 1),
    "n_min_trials": (1, 1e6),
    "min_resource": (1, 1e6),
    "max_resource": (1, 1e6),
    "reduction_factor": (2, 1e6),
    "min_early_stopping_rate": (0, 100),
}
A_COUNT = (0, 1e6)
REAL = (
    "eta",
    "confidence",
    "percentile",
    "lower",
    "min_delta",
    "p_threshold",
)  #: all others are whole numbers
A_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True)
class Pruning:
    """A pruner's name and all its parameters."""

    name: str
    parameters: Mapping[str, float]

    @property
    def is_synchronous(self) -> bool:
        """Whether cells wait for each other at a rung."""
        return self.name == HALVING

    @property
    def is_optunas(self) -> bool:
        """Whether Optuna decides."""
        return self.name not in (NONE, HALVING)


def parse(text: str) -> Pruning:
    """Read ``name`` or ``name:parameter=value,parameter=value``.

    >>> parse("halving:eta=3").parameters
    {'eta': 3.0, 'confidence': 0}

    Raises:
        InvalidDefinition: There is no such pruner or parameter, or a value is not in its range.
    """
    name, _, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
    known = KNOWN.get(name)
    if known is None:
        told = name if isinstance(text, str) else text
        raise InvalidDefinition(
            f"There is no pruner {shown(told)}; choose one of {', '.join(KNOWN)}."
        )
    given: dict[str, float] = {}
    for pair in filter(None, rest.split(",")):
        key, _, value = pair.partition("=")
        if key not in known:
            raise InvalidDefinition(
                f"The pruner {name} has no parameter {shown(key)}; it has "
                f"{', '.join(known) or 'none'}. Write, for example, {_example(name)}."
            )
        if key in given:
            raise InvalidDefinition(f"The pruner {name} is given {key} twice. Give it once.")
        if not A_NUMBER.fullmatch(value):
            raise InvalidDefinition(
                f"The pruner's parameter {key} must be a number, got {shown(value)}."
            )
        given[key] = float(value)
        _check(name, key, given[key])
    parameters = dict(known) | given
    if parameters.get("max_resource", 1e6) < parameters.get("min_resource", 1):
        raise InvalidDefinition(
            f"max_resource of {name} must be at least min_resource, got "
            f"{parameters['max_resource']:g} and {parameters['min_resource']:g}."
        )
    return Pruning(name, parameters)


def _check(name: str, key: str, value: float) -> None:
    """Refuse a value that Optuna, or we, could not work with."""
    least, most = RANGES.get(key, A_COUNT)
    if key == "eta" and not value > least:
        raise InvalidDefinition(f"eta of {name} must be above 1, got {value:g}.")
    if not least <= value <= most or (key not in REAL and not value.is_integer()):
        kind = "a number" if key in REAL else "a whole number"
        raise InvalidDefinition(
            f"{key} of {name} must be {kind} from {least:g} to {most:g}, got {value:g}."
        )


def _example(name: str) -> str:
    known = KNOWN[name]
    return f"{name}:{next(iter(known))}={next(iter(known.values())):g}" if known else name
