"""How far the search of a space is, as it is stored with the study."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hpo.definition.ranges import Value

EDITION = 1  #: of the rules of a search that begins now


@dataclass(frozen=True)
class SearchState:
    """How far a search is; what stands here is settled for good."""

    #: Whether no proposal fits into the budget any more.
    is_full: bool = False
    #: Whether the finalists, if there are any, have been chosen.
    is_over: bool = False
    finalists: tuple[int, ...] = ()
    #: Replicates of each finalist.
    replicates: int = 0
    #: Parameters and values of earlier studies.
    warm: tuple[tuple[dict[str, Value], float], ...] = ()
    #: Cells in each generation, where cells are cut, as what that frees pays for more of them, or
    #: where the budget grew, as the last generation within a budget may be a small one.
    sizes: tuple[int, ...] = ()
    #: Budgets that are used, before the present one.
    budgets: tuple[int, ...] = ()
    #: Budgets that were asked for and are not begun.
    later: tuple[int, ...] = ()
    #: The minutes that the largest budget was reckoned from; 0 if it was given otherwise.
    minutes: float = 0
    #: Finalists within earlier budgets, and their replicates: what was trained stays counted.
    raced: tuple[tuple[tuple[int, ...], int], ...] = ()
    #: Of the rules that it goes by, which are those of the day that it began.
    edition: int = 0

    def replicates_of(self, cell: int) -> int:
        """Return how many replicates a cell was given by races, the last one and those before."""
        races = (*self.raced, (self.finalists, self.replicates))
        return max((n for finalists, n in races if cell in finalists), default=0)

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and strings.

        What older searches do not have is left out where it says nothing.
        """
        told = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        for name in ("sizes", "budgets", "later", "minutes", "raced", "edition"):
            if not told[name]:
                del told[name]
        return told

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "SearchState":
        """Build a state back."""
        found: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        found["warm"] = tuple((dict(parameters), value) for parameters, value in stored["warm"])
        found["raced"] = tuple((tuple(cells), n) for cells, n in stored.get("raced", ()))
        return cls(**found)


def _plain(value: Any) -> Any:
    return list(map(_plain, value)) if isinstance(value, tuple) else value
