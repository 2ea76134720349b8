"""Hyperparameter optimisation of the two-layer classifier: Optuna studies over the shared model.

What a notebook or a script needs is here by name, and loaded when it is asked for::

    import hpo

    study = hpo.run("coarse", data="digits", storage="sqlite:///hpo.db")
    study.best  # Cell(index=3, parameters={'lambda': ...}, accuracy=..., replicates=1)
    study.judgement()  # contenders, intervals, how far each is behind
    hpo.load("coarse-digits", storage="sqlite:///hpo.db").plot("pictures")

>>> import hpo
>>> hpo.StudyDefinition(name="mine", grid=hpo.Values((1e-4, 1e-3))).batch_size
100
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time each is found by its place
    from hpo import errors as errors
    from hpo import testing as testing
    from hpo.commands.backup import backup as backup
    from hpo.commands.mending import cancel as cancel
    from hpo.commands.mending import delete as delete
    from hpo.commands.mending import examine as examine
    from hpo.commands.mending import retry as retry
    from hpo.commands.predicting import predict as predict
    from hpo.commands.reporting import report as report
    from hpo.commands.request import Request as Request
    from hpo.commands.results import Cell as Cell
    from hpo.commands.results import Status as Status
    from hpo.commands.results import Study as Study
    from hpo.commands.studies import load as load
    from hpo.commands.studies import run as run
    from hpo.commands.studies import studies as studies
    from hpo.commands.studies import submit as submit
    from hpo.commands.studies import work as work
    from hpo.definition.grids import AroundBest as AroundBest
    from hpo.definition.grids import Best as Best
    from hpo.definition.grids import Linear as Linear
    from hpo.definition.grids import Logarithmic as Logarithmic
    from hpo.definition.grids import Values as Values
    from hpo.definition.ranges import Real as Real
    from hpo.definition.ranges import Whole as Whole
    from hpo.definition.ranges import WholeEpochs as WholeEpochs
    from hpo.definition.spaces import Space as Space
    from hpo.definition.study import Epochs as Epochs
    from hpo.definition.study import StudyDefinition as StudyDefinition
    from hpo.errors import HpoError as HpoError
    from hpo.experiment.records import Outcome as Outcome
    from hpo.experiment.records import Point as Point
    from hpo.experiment.records import Result as Result
    from hpo.experiment.records import State as State
    from hpo.health.finding import Finding as Finding
    from hpo.held_out.verdict import Verdict as Verdict
    from hpo.judging.judgement import Judgement as Judgement
    from hpo.training.progress import Progress as Progress
    from hpo.workers.grid_sampler import GridSampler as GridSampler

    __version__: str

_PLACES = {
    "AroundBest": "hpo.definition.grids",
    "Best": "hpo.definition.grids",
    "Cell": "hpo.commands.results",
    "Epochs": "hpo.definition.study",
    "Finding": "hpo.health.finding",
    "GridSampler": "hpo.workers.grid_sampler",
    "HpoError": "hpo.errors",
    "Judgement": "hpo.judging.judgement",
    "Linear": "hpo.definition.grids",
    "Logarithmic": "hpo.definition.grids",
    "Outcome": "hpo.experiment.records",
    "Point": "hpo.experiment.records",
    "Progress": "hpo.training.progress",
    "Real": "hpo.definition.ranges",
    "Request": "hpo.commands.request",
    "Result": "hpo.experiment.records",
    "Space": "hpo.definition.spaces",
    "State": "hpo.experiment.records",
    "Status": "hpo.commands.results",
    "Study": "hpo.commands.results",
    "StudyDefinition": "hpo.definition.study",
    "Values": "hpo.definition.grids",
    "Verdict": "hpo.held_out.verdict",
    "Whole": "hpo.definition.ranges",
    "WholeEpochs": "hpo.definition.ranges",
    "backup": "hpo.commands.backup",
    "cancel": "hpo.commands.mending",
    "delete": "hpo.commands.mending",
    "examine": "hpo.commands.mending",
    "load": "hpo.commands.studies",
    "predict": "hpo.commands.predicting",
    "report": "hpo.commands.reporting",
    "retry": "hpo.commands.mending",
    "run": "hpo.commands.studies",
    "studies": "hpo.commands.studies",
    "submit": "hpo.commands.studies",
    "work": "hpo.commands.studies",
}
_MODULES = ("errors", "testing")  #: attributes too, so that one import is enough
__all__ = [*_PLACES, "__version__"]  # strings all


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from hpo.machine.version import version

        return version()
    if name not in _PLACES and name not in _MODULES:
        raise AttributeError(f"module 'hpo' has no attribute {name!r}")
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"hpo.{name}")
    from hpo.machine.search_path import refuse_strangers

    refuse_strangers()
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
