"""Who proposes the cells of a space: the next generation as a pure function of seed and results.

The samplers of Optuna work on a study in memory that is made anew from the results, so what they
propose depends on nothing that a process remembers. No cell comes twice.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.definition.spaces import Space
from hpo.errors import MissingPackage
from hpo.experiment.experiment import Experiment
from hpo.search import candidates, curves
from hpo.search.candidates import Asks, Dimensions, Parameters
from hpo.search.evolution import cmaes_generation

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

History = Sequence[tuple[Parameters, float]]
NEEDED = {"gp": "torch", "cmaes": "cmaes"}  #: libraries of samplers; their extras have their names


def propose(
    experiment: Experiment,
    values: Sequence[float | None],
    cut: Mapping[int, int] | None = None,
    seen: Sequence[curves.Value] | None = None,
) -> list[Parameters]:
    """Return the next generation; fewer or no cells when the space has no others left.

    Args:
        values: Of every cell that there is, in their order; None if it diverged, which is taken
            to be worth as much as guessing.
        cut: Cells that were cut, with the cycle at whose end they had their value; for ``tpe``.

    Raises:
        MissingPackage: The library of the sampler is not installed.
    """
    space = experiment.definition.space
    if space is None:
        raise ValueError(f"{experiment.definition.name} searches no space")
    check_installed(space)
    dimensions = space.dimensions(experiment.per_epoch)
    seed, n_before = experiment.definition.seed, len(experiment.cells)
    if space.sampler == "grid":
        return list(
            islice(
                candidates.grid(dimensions, candidates.source(seed)),
                n_before,
                n_before + space.width,
            )
        )
    results = _results(experiment, dimensions, values)
    warm = _warm(experiment, dimensions)
    if space.sampler == "cmaes":
        return cmaes_generation(dimensions, space.width, seed, results, warm)
    rng = candidates.source(seed, n_before // space.width)
    if space.sampler == "random":
        asks = candidates.at_random(dimensions, rng)
    elif space.sampler == "qmc" or n_before < space.width:  # all of `warm` may lie in one slice
        asks = _sobol(dimensions, candidates.source(seed), n_before)
    elif space.sampler == "curves":
        if seen is None:
            seen = [curves.Value(cell, 0, value) for cell, (_, value) in enumerate(results)]
        n = len(results)
        seen = [*seen, *(curves.Value(n + k, 0, value) for k, (_, value) in enumerate(warm))]
        known = [cell for cell, _ in [*results, *warm]]
        asks = curves.asks(dimensions, known, seen, rng)
    else:
        shown = {len(warm) + cell: cycle for cell, cycle in (cut or {}).items()}
        asks = _optunas(dimensions, space.sampler, rng, [*warm, *results], shown)
    return candidates.new(asks, dimensions, [cell for cell, _ in results], space.width, rng)


def check_installed(space: Space) -> None:
    """Refuse a sampler whose library is missing.

    Raises:
        MissingPackage: It is not installed.
    """
    package = NEEDED.get(space.sampler)
    if package is not None and importlib.util.find_spec(package) is None:
        raise MissingPackage(f"The sampler {space.sampler}", package)


def _results(
    experiment: Experiment, dimensions: Dimensions, values: Sequence[float | None]
) -> History:
    """Return every cell with what it is worth."""
    chance = 1 / experiment.data.n_classes
    return [
        ({name: cell[name] for name in dimensions}, chance if value is None else value)
        for cell, value in zip(experiment.cells, values, strict=True)
    ]


def _warm(experiment: Experiment, dimensions: Dimensions) -> History:
    """Return what earlier studies found inside the space."""
    known = experiment.search.warm if experiment.search else ()
    return [
        ({name: parameters[name] for name in dimensions}, value)
        for parameters, value in known
        if all(name in parameters and d.has(parameters[name]) for name, d in dimensions.items())
    ]


def _sobol(dimensions: Dimensions, rng: np.random.Generator, n_before: int) -> Asks:
    """Return the points of a scrambled Sobol sequence, from the first that was not used on.

    Reference: A. B. Owen, "Scrambling Sobol' and Niederreiter-Xing Points" (1998), Journal of
    Complexity 14.
    """
    from scipy.stats.qmc import Sobol

    sequence = Sobol(len(dimensions), scramble=True, rng=rng)
    if n_before:  # SciPy takes a step too many back from 0
        sequence.fast_forward(n_before)

    def asks() -> Parameters:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the first of them is balanced alone
            return candidates.at(dimensions, sequence.random(1)[0].tolist())

    return asks


def _optunas(
    dimensions: Dimensions,
    name: str,
    rng: np.random.Generator,
    history: History,
    cut: Mapping[int, int],
) -> Asks:
    """Return what one of Optuna's samplers asks for, knowing all before and what it asked already.

    Args:
        cut: Which of the history was pruned, and after which cycle.
    """
    import optuna
    from optuna.trial import FrozenTrial, TrialState, create_trial

    told = {key: dimension.for_optuna() for key, dimension in dimensions.items()}
    distributions = {
        key: getattr(optuna.distributions, kind)(**given) for key, (kind, given) in told.items()
    }
    with undisturbed(name):
        sampler = _optuna_sampler(name, int(rng.integers(2**32)))
        study = optuna.create_study(direction="maximize", sampler=sampler)

        def trial(place: int, parameters: Parameters, value: float) -> FrozenTrial:
            if place not in cut:
                return create_trial(params=parameters, distributions=distributions, value=value)
            return create_trial(
                state=TrialState.PRUNED,
                params=parameters,
                distributions=distributions,
                intermediate_values={cut[place]: value},
            )

        study.add_trials([trial(place, *known) for place, known in enumerate(history)])

    def asks() -> Parameters:
        with undisturbed(name):
            params: dict[str, Any] = study.ask(distributions).params
        return candidates.at(dimensions, candidates.places(dimensions, params))

    return asks


def _optuna_sampler(name: str, seed: int) -> "BaseSampler":
    from optuna.samplers import GPSampler, TPESampler

    if name == "tpe":
        return TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=1)
    return GPSampler(seed=seed, n_startup_trials=1)


@contextmanager
def undisturbed(name: str) -> Iterator[None]:
    """Let Optuna say nothing, and PyTorch add in one order, whatever threads the process has."""
    import optuna

    torch = importlib.import_module("torch") if name == "gp" else None
    verbosity, n_threads = optuna.logging.get_verbosity(), torch.get_num_threads() if torch else 0
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
        if torch:
            torch.set_num_threads(n_threads)
