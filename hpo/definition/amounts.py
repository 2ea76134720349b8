"""A budget as people have it: in updates, in epochs or in minutes."""

from dataclasses import dataclass
from typing import Any

from hpo.definition.numbers import is_number, plain, shown
from hpo.definition.spaces import MOST_BUDGET, MOST_EPOCHS
from hpo.definition.study import StudyDefinition
from hpo.errors import InvalidDefinition

MOST_MINUTES = 525_600  #: a year
WAYS = "--budget, --budget-epochs and --budget-minutes"


@dataclass(frozen=True)
class Amount:
    """A budget that is not in updates yet."""

    number: float
    unit: str  #: epochs or minutes

    @property
    def minutes(self) -> float:
        """Minutes, or 0 where it is in epochs."""
        return self.number if self.unit == "minutes" else 0

    def in_words(self) -> str:
        """Return ``2.5 minutes``."""
        unit = self.unit.removesuffix("s") if self.number == 1 else self.unit
        return f"{self.number:,g} {unit}"


def asked(
    definition: StudyDefinition, updates: Any = None, epochs: Any = None, minutes: Any = None
) -> Amount | None:
    """Return a budget in epochs or minutes that is asked for, beside or instead of one in updates.

    Raises:
        InvalidDefinition: It is none, or not the only one, or the study has a grid.
    """
    given = [value for value in (updates, epochs, minutes) if value is not None]
    if not given:
        return None
    if definition.space is None:
        raise InvalidDefinition(
            f"A budget is for a study that searches a space, as joint does; {definition.name!r} "
            "has a grid."
        )
    if len(given) > 1:
        raise InvalidDefinition(f"A study has one budget; give one of {WAYS}, got {len(given)}.")
    if updates is not None:
        updates = plain(updates)
        is_whole = isinstance(updates, int) and not isinstance(updates, bool)
        if not is_whole or not 1 <= updates <= MOST_BUDGET:
            raise _wrong("updates", f"a whole number from 1 to {MOST_BUDGET:,}", updates)
        return None
    unit, number, most = (
        ("epochs", plain(epochs), MOST_EPOCHS)
        if epochs is not None
        else ("minutes", plain(minutes), MOST_MINUTES)
    )
    if not is_number(number) or not 0 < number <= most:
        raise _wrong(unit, f"a number above 0, {most:,} at most", number)
    return Amount(number, unit)


def _wrong(unit: str, wanted: str, got: Any) -> InvalidDefinition:
    return InvalidDefinition(f"A budget in {unit} must be {wanted}; got {shown(got)}.")
