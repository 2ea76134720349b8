"""Optuna's pruners, by the name that a definition has for them."""

import warnings
from collections.abc import Callable
from typing import Any

from optuna import pruners
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner

from hpo.definition.pruning import REAL, Pruning
from hpo.errors import InvalidDefinition


def optuna_pruner(pruning: Pruning) -> BasePruner:
    """Return Optuna's own pruner of this name.

    Raises:
        InvalidDefinition: Optuna refuses a parameter.
    """
    makers: dict[str, Callable[..., BasePruner]] = {
        "median": pruners.MedianPruner,
        "percentile": pruners.PercentilePruner,
        "async-halving": pruners.SuccessiveHalvingPruner,
        "hyperband": pruners.HyperbandPruner,
        "threshold": pruners.ThresholdPruner,
        "patient": lambda **given: pruners.PatientPruner(None, **given),
        "wilcoxon": pruners.WilcoxonPruner,
    }
    given: dict[str, Any] = {
        key: value if key in REAL else int(value) for key, value in pruning.parameters.items()
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return makers[pruning.name](**given)
    except ValueError as error:
        raise InvalidDefinition(f"The pruner {pruning.name}: {error}") from error
