"""Parameters as Optuna stores them, a number each with its range as JSON; it is not imported for that."""

import json
from dataclasses import dataclass
from typing import Any

from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Attempt


@dataclass(frozen=True)
class Range:
    """The range of a parameter: one of Optuna's distributions, and what that is made with."""

    kind: str
    given: dict[str, Any]

    def number(self, value: Any) -> float:
        """Return what Optuna stores of a value: of a choice its place."""
        if self.kind == "CategoricalDistribution":
            return float(self.given["choices"].index(value))
        return float(value)

    def as_json(self) -> str:
        """Return it as ``optuna.distributions.distribution_to_json`` does."""
        given = self.given
        told: dict[str, Any] = given
        if self.kind == "FloatDistribution":
            told = {"step": None, "low": float(given["low"]), "high": float(given["high"])}
            told["log"] = given["log"]
        elif self.kind == "IntDistribution":
            low, step = given["low"], given["step"]
            high = low + (given["high"] - low) // step * step
            told = {"log": given.get("log", False), "step": step, "low": low, "high": high}
        return json.dumps({"name": self.kind, "attributes": told})


def ranges(experiment: Experiment) -> dict[str, Range]:
    """Return the range of every parameter: the space's, or that of a grid's cells.

    A grid's is logarithmic where it spans decades.
    """
    space = experiment.definition.space
    if space is not None:
        dimensions = space.dimensions(experiment.per_epoch)
        return {name: Range(*dimension.for_optuna()) for name, dimension in dimensions.items()}
    found = {}
    for name in experiment.cells[0]:
        values = [float(cell[name]) for cell in experiment.cells]
        low, high = min(values), max(values)
        given = {"low": low, "high": high, "log": low > 0 and high >= 10 * low}
        found[name] = Range("FloatDistribution", given)
    return found


def numbers(experiment: Experiment, known: dict[str, Range], cell: int) -> dict[str, float]:
    """Return what Optuna stores of each parameter of a cell.

    Args:
        known: The `ranges` of the experiment, here and below.
    """
    return {name: known[name].number(value) for name, value in experiment.cells[cell].items()}


def parameter_rows(
    experiment: Experiment, known: dict[str, Range], attempt: Attempt, trial_id: int
) -> list[dict[str, Any]]:
    """Return the parameters of an attempt as rows of Optuna's table."""
    return [
        {
            "trial_id": trial_id,
            "param_name": name,
            "param_value": number,
            "distribution_json": known[name].as_json(),
        }
        for name, number in numbers(experiment, known, attempt.slot.cell).items()
    ]
