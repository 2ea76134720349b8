"""What was measured, and whether it meets its goal."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


class MeasureFailed(Exception):
    """Something could not be measured: a command failed or did not say what it should."""


@dataclass(frozen=True)
class Goal:
    """A limit that a measure must keep."""

    limit: float
    unit: str
    at_least: bool  #: else the measure must be at most the limit

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {_number(self.limit)}{self.unit}"

    def missed_by(self, value: float) -> float:
        """Return by which share of the limit a value misses it; 0 if it does not."""
        return max(0.0, (self.limit - value if self.at_least else value - self.limit) / self.limit)


@dataclass(frozen=True)
class Row:
    """One measure: its values, one for each repetition, and what they must come to."""

    measure: str
    #: None for what is shown for information.
    goal: Goal | None
    values: Sequence[float] = ()
    unit: str = ""
    #: What one must know to read it: ``scaled``, for example.
    note: str = ""
    #: A further condition that the measure failed, in words.
    broken: str = ""
    #: Why there are no values.
    missing: str = ""
    #: Whether the missing values are a failure, and not left out on purpose.
    failed: bool = field(default=False, kw_only=True)

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)

    @property
    def measured(self) -> str:
        """Median and spread, in words."""
        if self.missing:
            return self.missing
        shown = f"{_number(self.median)}{self.unit}"
        if len(self.values) > 1:
            low, high = min(self.values), max(self.values)
            shown += f" ({_number(low)} to {_number(high)}, n = {len(self.values)})"
        return shown

    @property
    def verdict(self) -> str:
        """Return met, or missed and by how much; a dash where there is no goal."""
        if self.missing:
            return "NOT MADE" if self.failed else "-"
        if self.goal is None:
            return "-"
        missed = self.goal.missed_by(self.median)
        faults = [f"by {missed:.1%}"] if missed else []
        faults += [self.broken] if self.broken else []
        return f"MISSED {', '.join(faults)}" if faults else "met"


def at_least(limit: float, unit: str = "") -> Goal:
    """Return the goal of a measure that should be large."""
    return Goal(limit, unit, at_least=True)


def at_most(limit: float, unit: str = "") -> Goal:
    """Return the goal of a measure that should be small."""
    return Goal(limit, unit, at_least=False)


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Return how many times faster ours was, for each repetition."""
    return [a / b for a, b in zip(theirs, ours, strict=True)]


def _number(value: float) -> str:
    """Return three digits that count, without an exponent."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}"
