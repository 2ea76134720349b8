"""The command that goes on with a stored study, with the options that it was started with."""

import shlex

from hpo.definition.pruning import HALVING, NONE
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition, study_name
from hpo.experiment import budgets
from hpo.experiment.records import StoredStudy


def command(study: StoredStudy, replicates: int | None = None) -> str:
    """Return ``hpo run joint --data digits --budget 12000``; a grid's has data and name.

    What is said is as it is stored, so it may say again what the study's file does.
    """
    experiment = study.experiment
    definition, data = experiment.definition, experiment.data.name
    space = definition.space
    options: dict[str, tuple[object, bool]] = {
        "--data": (data if data == "digits" else f"{data}.npz", data == "cifar10"),
        "--name": (study.name, study.name == study_name(definition, data)),
    }
    if space is None:
        return _said(definition.name, options)
    n, largest = replicates or definition.replicates, budgets.largest(experiment)
    usual = HALVING if experiment.most_cycles > 1 else NONE
    options |= {
        "--seed": (definition.seed, definition.seed == _default(StudyDefinition, "seed")),
        "--pruner": (definition.pruner, definition.pruner == usual),
        "--sampler": (space.sampler, space.sampler == _default(Space, "sampler")),
        "--budget": (largest, largest == _default(Space, "budget")),
        "--replicates": (n, n == _default(StudyDefinition, "replicates")),
    }
    return _said(definition.name, options)


def _said(name: str, options: dict[str, tuple[object, bool]]) -> str:
    said = [
        f"{option} {shlex.quote(str(value))}"
        for option, (value, is_usual) in options.items()
        if not is_usual
    ]
    return " ".join([f"hpo run {name}", *said])


def _default(kind: type, field: str) -> object:
    return kind.__dataclass_fields__[field].default  # type: ignore[attr-defined]
