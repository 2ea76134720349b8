"""What part of the differences between cells each parameter explains: fANOVA, by Optuna."""

import importlib.util
from collections.abc import Mapping, Sequence

from hpo.definition.ranges import Dimension, Value
from hpo.errors import MissingPackage
from hpo.search.proposals import undisturbed

FEWEST = 4  #: cells below which there is nothing to explain


def importances(
    dimensions: Mapping[str, Dimension],
    cells: Sequence[Mapping[str, Value]],
    values: Sequence[float],
) -> dict[str, float]:
    """Return the share of the variance of ``values`` that each parameter explains, largest first.

    Equal cells give equal shares. They are empty for fewer than `FEWEST` cells, and for equal values.

    Raises:
        MissingPackage: scikit-learn is not installed, whose trees Optuna needs.

    Reference: F. Hutter, H. Hoos and K. Leyton-Brown, "An Efficient Approach for Assessing
    Hyperparameter Importance" (2014), ICML 31.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise MissingPackage("The picture of importances", "scikit-learn")
    if len(values) < FEWEST or min(values) == max(values):
        return {}
    import optuna

    told = {key: dimension.for_optuna() for key, dimension in dimensions.items()}
    distributions = {
        key: getattr(optuna.distributions, kind)(**given) for key, (kind, given) in told.items()
    }
    with undisturbed("fanova"):
        study = optuna.create_study(direction="maximize")
        for cell, value in zip(cells, values, strict=True):
            params = {key: cell[key] for key in distributions}
            trial = optuna.trial.create_trial(
                params=params, distributions=distributions, value=value
            )
            study.add_trial(trial)
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(share) for key, share in found.items()}
