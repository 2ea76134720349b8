"""Who proposes the cells of a space: the next generation as a pure function of seed and results.

The samplers of Optuna work on a study in memory that is made anew from the results, so what they
propose depends on nothing that a process remembers. No cell comes twice.
"""

import importlib
import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo.definition.ranges import Dimension, Real, Value
from hpo.definition.spaces import Space
from hpo.errors import MissingPackage
from hpo.experiment.experiment import Experiment

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

Parameters = dict[str, Value]
Dimensions = Mapping[str, Dimension]
History = Sequence[tuple[Parameters, float]]
Asks = Callable[[], Parameters]
NEEDED = {"gp": "torch", "cmaes": "cmaes"}  #: libraries of samplers; their extras have their names
TRIES = 4  #: times the width of a generation: how often a sampler is asked, if cells come twice
FIRST_STEP = 0.25  #: of CMA-ES, as a share of every range


def propose(experiment: Experiment, values: Sequence[float | None]) -> list[Parameters]:
    """Return the next generation; fewer or no cells when the space has no others left.

    Args:
        values: Of every cell that there is, in their order; None if it diverged, which is taken
            to be worth as much as guessing.

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
        return list(islice(_grid(dimensions, _rng(seed)), n_before, n_before + space.width))
    results = _results(experiment, dimensions, values)
    warm = _warm(experiment, dimensions)
    if space.sampler == "cmaes":
        return _cmaes(dimensions, space.width, seed, results, warm)
    rng = _rng(seed, n_before // space.width)
    if space.sampler == "random":
        asks = _random(dimensions, rng)
    elif space.sampler == "qmc" or n_before < space.width:  # all of `warm` may lie in one slice
        asks = _sobol(dimensions, _rng(seed), n_before)
    else:
        asks = _optunas(dimensions, space.sampler, rng, [*warm, *results])
    return _new(asks, dimensions, [cell for cell, _ in results], space.width, rng)


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


def _rng(seed: int, *generation: int) -> np.random.Generator:
    """Return the source of randomness of a generation, or without one of the whole search."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=generation))


def _new(
    asks: Asks,
    dimensions: Dimensions,
    known: Sequence[Parameters],
    width: int,
    rng: np.random.Generator,
) -> list[Parameters]:
    """Return as many cells as wanted that are not known: what is asked for, then any others."""
    seen = {_key(cell) for cell in known}
    found: list[Parameters] = []
    asked = (asks() for _ in range(TRIES * width))
    for cell in chain(asked, _others(dimensions, width, rng)):
        if _key(cell) not in seen:
            seen.add(_key(cell))
            found.append(cell)
        if len(found) == width:
            break
    return found


def _key(cell: Parameters) -> tuple[Value, ...]:
    return tuple(cell.values())


def _others(dimensions: Dimensions, width: int, rng: np.random.Generator) -> Iterator[Parameters]:
    """Return every cell if they can be counted, else some; at random."""
    if any(isinstance(d, Real) and d.low < d.high for d in dimensions.values()):
        drawn = _random(dimensions, rng)
        return (drawn() for _ in range(TRIES * width))
    return _grid(dimensions, rng)


def _at(dimensions: Dimensions, places: Sequence[float]) -> Parameters:
    return {name: d.at(place) for (name, d), place in zip(dimensions.items(), places, strict=True)}


def _places(dimensions: Dimensions, cell: Mapping[str, Value]) -> list[float]:
    return [dimension.place(cell[name]) for name, dimension in dimensions.items()]


def _random(dimensions: Dimensions, rng: np.random.Generator) -> Asks:
    return lambda: _at(dimensions, rng.random(len(dimensions)).tolist())


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
            return _at(dimensions, sequence.random(1)[0].tolist())

    return asks


def _grid(dimensions: Dimensions, rng: np.random.Generator) -> Iterator[Parameters]:
    """Return every combination of some values of each parameter, in an order that is all its own.

    A budget that ends early leaves a fair sample of the grid then, and not one corner of it.
    """
    values = [dimension.values() for dimension in dimensions.values()]
    shape = [len(some) for some in values]
    for number in rng.permutation(math.prod(shape)):
        places = np.unravel_index(number, shape)
        chosen = (some[place] for some, place in zip(values, places, strict=True))
        yield dict(zip(dimensions, chosen, strict=True))


def _optunas(dimensions: Dimensions, name: str, rng: np.random.Generator, history: History) -> Asks:
    """Return what one of Optuna's samplers asks for, knowing all before and what it asked already."""
    import optuna
    from optuna.trial import create_trial

    told = {key: dimension.for_optuna() for key, dimension in dimensions.items()}
    distributions = {
        key: getattr(optuna.distributions, kind)(**given) for key, (kind, given) in told.items()
    }
    with _undisturbed(name):
        sampler = _optuna_sampler(name, int(rng.integers(2**32)))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(
            [
                create_trial(params=parameters, distributions=distributions, value=value)
                for parameters, value in history
            ]
        )

    def asks() -> Parameters:
        with _undisturbed(name):
            params: dict[str, Any] = study.ask(distributions).params
        return _at(dimensions, _places(dimensions, params))

    return asks


def _optuna_sampler(name: str, seed: int) -> "BaseSampler":
    from optuna.samplers import GPSampler, TPESampler

    if name == "tpe":
        return TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=1)
    return GPSampler(seed=seed, n_startup_trials=1)


@contextmanager
def _undisturbed(name: str) -> Iterator[None]:
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


def _cmaes(
    dimensions: Dimensions, width: int, seed: int, results: History, warm: History
) -> list[Parameters]:
    """Return the next generation of CMA-ES, which asks for all before and is told it once more.

    It begins at the best cell of earlier studies, if there is one, else in the middle.
    """
    start = [0.5] * len(dimensions)
    if warm:
        best, _ = max(warm, key=lambda known: known[1])
        start = _places(dimensions, best)
    evolution = _Evolution(dimensions, width, start)
    cells = [cell for cell, _ in results]
    for first in range(0, len(results) - width + 1, width):
        rng = _rng(seed, first // width)
        evolution.generation(cells[:first], rng)
        evolution.tell(results[first : first + width], rng)
    return evolution.generation(cells, _rng(seed, len(results) // width))


class _Evolution:
    """CMA-ES between the places 0 and 1 of every dimension; once it stands still, it begins anew."""

    def __init__(self, dimensions: Dimensions, width: int, start: Sequence[float]) -> None:
        self._dimensions = dimensions
        self._width = width
        self._begin(start)

    def _begin(self, start: Sequence[float]) -> None:
        from cmaes import CMA

        self._optimizer = CMA(
            mean=np.array(start),
            sigma=FIRST_STEP,
            bounds=np.array([[0.0, 1.0]] * len(start)),
            population_size=self._width,
        )

    def generation(self, known: Sequence[Parameters], rng: np.random.Generator) -> list[Parameters]:
        """Return the cells that come after those that are known."""
        self._optimizer.reseed_rng(int(rng.integers(2**32)))
        self._points: dict[tuple[Value, ...], NDArray[np.float64]] = {}
        return _new(self._ask, self._dimensions, known, self._width, rng)

    def _ask(self) -> Parameters:
        point = self._optimizer.ask()
        cell = _at(self._dimensions, point.tolist())
        self._points.setdefault(_key(cell), point)
        return cell

    def tell(self, results: History, rng: np.random.Generator) -> None:
        """Learn what the cells of the generation are worth, by the points that they stand for."""
        told = [
            (self._points.get(_key(cell), np.array(_places(self._dimensions, cell))), -value)
            for cell, value in results
        ]
        with np.errstate(all="ignore"):  # of a distribution that has shrunk to nothing
            self._optimizer.tell(told)
            stands_still = self._optimizer.should_stop()
        if stands_still:
            self._begin(rng.random(len(self._dimensions)).tolist())
