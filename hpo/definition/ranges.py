"""The values that one parameter of a space may have."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from hpo.definition.numbers import plain

Value = float | int | str


def settle(given: Any) -> None:
    """Make plain numbers and texts of NumPy's in the fields of ``given``."""
    for field in fields(given):
        object.__setattr__(given, field.name, plain(getattr(given, field.name)))


@dataclass(frozen=True)
class Real:
    """A number between two others, on a logarithmic scale if so said.

    >>> import hpo
    >>> hpo.Real(1e-4, 1e-1, logarithmic=True).values()
    [0.0001, 0.001, 0.01, 0.1]
    """

    low: float
    high: float
    logarithmic: bool = False
    #: How many values the sampler ``grid`` takes from it.
    n: int = 4

    def __post_init__(self) -> None:
        settle(self)

    def at(self, place: float) -> float:
        """Return the value at ``place``, from 0 to 1, in 12 digits unless it is a bound.

        >>> Real(1e-4, 1e-2, logarithmic=True).at(0.5)
        0.001
        """
        if not 0 < place < 1:
            return float(self.low if place <= 0 else self.high)
        low, high = self._scaled(self.low), self._scaled(self.high)
        found = low + place * (high - low)
        value = float(f"{math.exp(found) if self.logarithmic else found:.12g}")
        return float(min(max(value, self.low), self.high))

    def place(self, value: Value) -> float:
        """Return where ``value`` is, from 0 to 1."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return 0.5 if high == low else (self._scaled(float(value)) - low) / (high - low)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.logarithmic else float(value)

    def has(self, value: Value) -> bool:
        """Tell whether ``value`` is one of them."""
        return not isinstance(value, str) and self.low <= value <= self.high

    def values(self) -> list[Value]:
        """Return ``n`` values, evenly spaced, or fewer if there are no more."""
        places = [i / (self.n - 1) for i in range(self.n)] if self.n > 1 else [0.5]
        return list(dict.fromkeys(map(self.at, places)))

    def in_words(self) -> str:
        """Return it for people."""
        scale = ", on a logarithmic scale" if self.logarithmic else ""
        return f"{self.low:g} to {self.high:g}{scale}"

    def for_optuna(self) -> tuple[str, dict[str, Any]]:
        """Return the name of Optuna's distribution of it, and what that is made with."""
        return "FloatDistribution", {"low": self.low, "high": self.high, "log": self.logarithmic}


class _Listed:
    """One of some values, each of which has an equal part of the places from 0 to 1."""

    options: Sequence[Value]

    def at(self, place: float) -> Value:
        """Return the value at ``place``, from 0 to 1.

        >>> [Whole(450, 1350, 450).at(place) for place in (0, 0.34, 0.99, 1)]
        [450, 900, 1350, 1350]
        """
        n = len(self.options)
        return self.options[min(max(int(place * n), 0), n - 1)]

    def place(self, value: Value) -> float:
        """Return the middle of the part of ``value``."""
        return (self.options.index(value) + 0.5) / len(self.options)

    def has(self, value: Value) -> bool:
        """Tell whether ``value`` is one of them."""
        return value in self.options

    def values(self) -> list[Value]:
        """Return all of them."""
        return list(self.options)


@dataclass(frozen=True)
class Whole(_Listed):
    """A number from ``low`` to ``high`` in steps of ``step``, which lead from one to the other.

    >>> import hpo
    >>> hpo.Whole(16, 256, logarithmic=True).at(0.5)
    64
    """

    low: int
    high: int
    step: int = 1
    #: Whether small numbers are tried as often as large ones; in steps of 1.
    logarithmic: bool = False
    #: How many values the sampler ``grid`` takes, where there are more.
    n: int = 1000

    def __post_init__(self) -> None:
        settle(self)

    def at(self, place: float) -> Value:
        """Return the value at ``place``, from 0 to 1."""
        if not self.logarithmic:
            return super().at(place)
        scaled = math.log(self.low) + place * math.log(self.high / self.low)
        return min(max(round(math.exp(scaled)), self.low), self.high)

    def place(self, value: Value) -> float:
        """Return where ``value`` is, from 0 to 1."""
        if not self.logarithmic:
            return super().place(value)
        wide = math.log(self.high / self.low)
        return math.log(float(value) / self.low) / wide if wide else 0.5

    def values(self) -> list[Value]:
        """Return all of them, or ``n`` spread evenly."""
        if len(self.options) <= self.n:
            return list(self.options)
        places = [i / (self.n - 1) for i in range(self.n)] if self.n > 1 else [0.5]
        return list(dict.fromkeys(map(self.at, places)))

    @property
    def options(self) -> range:  # type: ignore[override]  # read-only: it follows from the fields
        """All of them."""
        return range(self.low, self.high + 1, self.step)

    def in_words(self) -> str:
        """Return it for people."""
        if self.logarithmic:
            return f"{self.low} to {self.high}, on a logarithmic scale"
        return f"{self.low} to {self.high} in steps of {self.step}"

    def for_optuna(self) -> tuple[str, dict[str, Any]]:
        """Return the name of Optuna's distribution of it, and what that is made with."""
        told: dict[str, Any] = {"low": self.low, "high": self.high, "step": self.step}
        return "IntDistribution", told | ({"log": True} if self.logarithmic else {})


@dataclass(frozen=True)
class Choice(_Listed):
    """One of some values without an order."""

    options: tuple[Value, ...]

    def in_words(self) -> str:
        """Return it for people."""
        return " or ".join(map(str, self.options))

    def for_optuna(self) -> tuple[str, dict[str, Any]]:
        """Return the name of Optuna's distribution of it, and what that is made with."""
        return "CategoricalDistribution", {"choices": self.options}


Dimension = Real | Whole | Choice


@dataclass(frozen=True)
class WholeEpochs:
    """A whole number of epochs, between two others.

    >>> import hpo
    >>> hpo.Space(lambda_=hpo.Real(1e-4, 1e-2), n_s=hpo.WholeEpochs(2, 4)).n_s
    WholeEpochs(low=2, high=4)
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        settle(self)
