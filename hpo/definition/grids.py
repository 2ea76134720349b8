"""Grids over lambda, as a definition may name them; their values are computed once and stored."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpo.definition.numbers import came, is_number, plain, several, shown
from hpo.errors import InvalidDefinition

Notify = Callable[[str], None]
MOST_CELLS = 10_000  #: of a grid


@dataclass(frozen=True)
class ParentCell:
    """The cell of a finished study that another one was derived from; it never moves later."""

    study: str  #: name of the study
    uuid: str
    cell: int
    value: float  #: its lambda
    #: What a study derived from it may take over, see `hpo.experiment.resolution.inheritance`.
    recipe: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain types, without a recipe if there is none, as in older studies."""
        return {key: value for key, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Values:
    """The lambdas themselves, in a tuple, a list or an array.

    >>> import hpo
    >>> hpo.Values([1e-4, 1e-3]).values
    (0.0001, 0.001)
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        values = several("The values of a grid", self.values, MOST_CELLS)
        if not values:
            raise InvalidDefinition("A grid needs at least one lambda.")
        for value in values:  # what no lambda can be is told with the learning rate
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise InvalidDefinition(f"A lambda of a grid must be a number, {came('it', value)}")
        try:
            object.__setattr__(self, "values", tuple(map(float, values)))
        except OverflowError:
            raise InvalidDefinition("A lambda of a grid is too large for a number.") from None

    def lambdas(
        self, parent: ParentCell | None, parent_lambdas: tuple[float, ...], notify: Notify
    ) -> tuple[float, ...]:
        """Return the values."""
        del parent, parent_lambdas, notify
        return self.values


@dataclass(frozen=True)
class Logarithmic:
    """``n`` powers of ten whose exponents are spaced evenly.

    >>> import hpo
    >>> hpo.Logarithmic(-3, -1, 3).lambdas(None, (), print)
    (0.001, 0.01, 0.1)
    """

    lowest_exponent: float
    highest_exponent: float
    n: int

    def __post_init__(self) -> None:
        _settle(self, "lowest_exponent", "highest_exponent")

    def lambdas(
        self, parent: ParentCell | None, parent_lambdas: tuple[float, ...], notify: Notify
    ) -> tuple[float, ...]:
        """Return the powers, smallest first."""
        del parent, parent_lambdas, notify
        exponents = _evenly(self.lowest_exponent, self.highest_exponent, self.n)
        try:
            return tuple(math.pow(10, exponent) for exponent in exponents)
        except OverflowError:
            raise InvalidDefinition(
                f"10 to the power of {self.highest_exponent} is too large for a lambda."
            ) from None


@dataclass(frozen=True)
class Linear:
    """``n`` evenly spaced values.

    >>> import hpo
    >>> hpo.Linear(0.25, 0.75, 3).lambdas(None, (), print)
    (0.25, 0.5, 0.75)
    """

    lowest: float
    highest: float
    n: int

    def __post_init__(self) -> None:
        _settle(self, "lowest", "highest")

    def lambdas(
        self, parent: ParentCell | None, parent_lambdas: tuple[float, ...], notify: Notify
    ) -> tuple[float, ...]:
        """Return the values, smallest first."""
        del parent, parent_lambdas, notify
        return _evenly(self.lowest, self.highest, self.n)


@dataclass(frozen=True)
class AroundBest:
    """``n`` evenly spaced values between the neighbours of the parent's best cell.

    >>> import hpo
    >>> hpo.StudyDefinition(name="fine", grid=hpo.AroundBest(10), parent="coarse").grid
    AroundBest(n=10)
    """

    n: int

    def __post_init__(self) -> None:
        _settle(self)

    def lambdas(
        self, parent: ParentCell | None, parent_lambdas: tuple[float, ...], notify: Notify
    ) -> tuple[float, ...]:
        """Return the values; at the edge of the parent's grid the interval is one-sided."""
        if parent is None:
            raise InvalidDefinition("This grid lies around a parent's best cell; there is none.")
        if len(set(parent_lambdas)) < 2:
            raise InvalidDefinition(
                f"{parent.study!r} has a single cell, so its best one has no neighbours to search "
                "between. Derive this study from a grid with --from."
            )
        ordered = sorted(set(parent_lambdas))  # a search may have one twice
        place = ordered.index(parent.value)
        low, high = ordered[max(place - 1, 0)], ordered[min(place + 1, len(ordered) - 1)]
        if place in (0, len(ordered) - 1):
            edge = "smallest" if place == 0 else "largest"
            notify(
                f"The best cell of {parent.study} is the {edge} of its grid, so the search goes "
                f"one-sided from {low:g} to {high:g}; a wider grid there may be worth a look."
            )
        return _evenly(low, high, self.n)


@dataclass(frozen=True)
class Best:
    """The lambda of the parent's best cell alone.

    >>> import hpo
    >>> hpo.StudyDefinition(name="last", grid=hpo.Best(), parent="fine").parent
    'fine'
    """

    def lambdas(
        self, parent: ParentCell | None, parent_lambdas: tuple[float, ...], notify: Notify
    ) -> tuple[float, ...]:
        """Return that one value."""
        del parent_lambdas, notify
        if parent is None:
            raise InvalidDefinition("This grid is a parent's best cell; there is no parent.")
        return (parent.value,)


Grid = Values | Logarithmic | Linear | AroundBest | Best
_KINDS: dict[str, type[Grid]] = {
    "values": Values,
    "logarithmic": Logarithmic,
    "linear": Linear,
    "around-best": AroundBest,
    "best": Best,
}


def grid_to_json(grid: Grid) -> dict[str, Any]:
    """Return the grid with its kind, in plain types."""
    kind = next(name for name, known in _KINDS.items() if type(grid) is known)
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in vars(grid).items()}
    return {"kind": kind} | plain


def grid_from_json(stored: dict[str, Any]) -> Grid:
    """Build a grid back from `grid_to_json`."""
    rest: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    return _KINDS[rest.pop("kind")](**rest)


def _settle(grid: Any, *ends: str) -> None:
    """Make plain numbers of what a grid was given, and refuse what is none."""
    for name in (*ends, "n"):
        object.__setattr__(grid, name, plain(getattr(grid, name)))
    kind, n = type(grid).__name__, grid.n
    if not isinstance(n, int) or isinstance(n, bool):
        raise InvalidDefinition(f"n of {kind} must be a whole number, {came('n', n)}")
    if n < 1:
        raise InvalidDefinition(f"A grid needs at least one cell, got n={shown(n)}.")
    if n > MOST_CELLS:
        raise InvalidDefinition(f"A grid has at most {MOST_CELLS:,} cells, got n={shown(n)}.")
    for name in ends:
        value = getattr(grid, name)
        if not is_number(value):
            raise InvalidDefinition(f"{name} of {kind} must be a number, {came(name, value)}")


def _evenly(low: float, high: float, n: int) -> tuple[float, ...]:
    """Return what ``numpy.linspace`` does: low + i step, and the end exactly."""
    if n == 1:
        return (low,)
    step = (high - low) / (n - 1)
    return (*(low + i * step for i in range(n - 1)), high)
