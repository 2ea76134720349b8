"""Hyperparameter optimisation of the two-layer classifier: Optuna studies over the shared model.

What a study is made of is here by name, and loaded when it is asked for:

>>> import hpo
>>> hpo.StudyDefinition(name="mine", grid=hpo.Values((1e-4, 1e-3))).batch_size
100
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time each is found by its place
    from hpo.definition.grids import AroundBest as AroundBest
    from hpo.definition.grids import Best as Best
    from hpo.definition.grids import Linear as Linear
    from hpo.definition.grids import Logarithmic as Logarithmic
    from hpo.definition.grids import Values as Values
    from hpo.definition.spaces import Real as Real
    from hpo.definition.spaces import Space as Space
    from hpo.definition.spaces import WholeEpochs as WholeEpochs
    from hpo.definition.study import Epochs as Epochs
    from hpo.definition.study import StudyDefinition as StudyDefinition
    from hpo.errors import HpoError as HpoError
    from hpo.workers.grid_sampler import GridSampler as GridSampler

    __version__: str

_PLACES = {
    "AroundBest": "hpo.definition.grids",
    "Best": "hpo.definition.grids",
    "Epochs": "hpo.definition.study",
    "GridSampler": "hpo.workers.grid_sampler",
    "HpoError": "hpo.errors",
    "Linear": "hpo.definition.grids",
    "Logarithmic": "hpo.definition.grids",
    "Real": "hpo.definition.spaces",
    "Space": "hpo.definition.spaces",
    "StudyDefinition": "hpo.definition.study",
    "Values": "hpo.definition.grids",
    "WholeEpochs": "hpo.definition.spaces",
}
__all__ = [*_PLACES, "__version__"]  # strings all


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("hpo")
    if name not in _PLACES:
        raise AttributeError(f"module 'hpo' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
