"""A space to search: which values each parameter may have, who proposes, and what it may cost."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from hpo.definition.numbers import came, is_number, several
from hpo.definition.ranges import Choice, Dimension, Real, Value, Whole, WholeEpochs, settle
from hpo.errors import InvalidDefinition

if TYPE_CHECKING:
    pass

SAMPLERS = ("tpe", "random", "qmc", "grid", "gp", "cmaes")
NORMALISATIONS = ("image", "feature", "none")
MOST_VALUES = 1000  #: of one number in a grid
MOST_BUDGET = 10**12  #: updates
MOST_FINAL = 1000  #: replicates of a finalist
RACED_FROM = 600_000  #: updates from which a race finds better recipes than more cells do
RACERS = 4
EDITION = 1  #: of the rules of a search that begins now
LONGEST_HALF_CYCLE = 10_000_000  #: updates, and more than enough epochs


@dataclass(frozen=True, kw_only=True)
class Space:
    """What is searched together, by whom, and for how many updates.

    What is left out has the value of the definition in every cell.

    >>> import hpo
    >>> space = hpo.Space(lambda_=hpo.Real(1e-4, 1e-2), normalisation=("image", "feature"))
    >>> space.sampler, space.budget
    ('tpe', 300000)
    """

    lambda_: Real
    eta_max: Real | None = None
    #: Half a cycle.
    n_s: WholeEpochs | None = None
    normalisation: tuple[str, ...] = ()
    #: Probabilities that an image is mirrored.
    flip_probability: tuple[float, ...] = ()
    #: Who proposes: one of `SAMPLERS`.
    sampler: str = "tpe"
    #: Updates of all networks together; the search never makes more.
    budget: int = 300_000
    #: Proposals in a generation, all made before the first of them is trained.
    width: int = 8
    #: The best cells, which in the end get as many more replicates as the rest of the budget pays.
    #: None: four where the budget is `RACED_FROM` or more, and none below, where more cells gain more.
    finalists: int | None = None
    #: Share of the budget that is kept for them.
    final_share: float = 0.3
    #: Definitions whose finished studies tell the sampler where to begin.
    warm_start: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settle(self)
        for name in ("normalisation", "flip_probability", "warm_start"):
            given = getattr(self, name)
            if not isinstance(given, str) and given is not None:
                object.__setattr__(self, name, several(f"{name} of a space", given, MOST_VALUES))
        _check(self)

    @property
    def for_search(self) -> float:
        """Updates that proposals may cost; the rest is for the finalists, if there are two or more."""
        return self.budget * (1 - self.final_share if self.n_finalists > 1 else 1)

    @property
    def n_finalists(self) -> int:
        """How many cells race in the end."""
        if self.finalists is not None:
            return self.finalists
        return RACERS if self.budget >= RACED_FROM else 0

    def dimensions(self, per_epoch: int) -> dict[str, Dimension]:
        """Return what is searched, under the names that Optuna shows, with n_s in updates."""
        n_s = self.n_s
        found: dict[str, Dimension | None] = {
            "lambda": self.lambda_,
            "eta_max": self.eta_max,
            "n_s": Whole(n_s.low * per_epoch, n_s.high * per_epoch, per_epoch) if n_s else None,
            "normalisation": Choice(self.normalisation) if self.normalisation else None,
            "flip_probability": Choice(self.flip_probability) if self.flip_probability else None,
        }
        return {name: dimension for name, dimension in found.items() if dimension is not None}

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and strings."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Space":
        """Build a space back."""
        given: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        for name, kind in (("lambda_", Real), ("eta_max", Real), ("n_s", WholeEpochs)):
            if given.get(name) is not None:
                given[name] = kind(**given[name])
        return cls(**given)


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
    #: Cells in each generation, where cells are cut: what that frees pays for more of them.
    sizes: tuple[int, ...] = ()
    #: Of the rules that it goes by, which are those of the day that it began.
    edition: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and strings."""
        told = vars(self) | {
            "finalists": list(self.finalists),
            "warm": list(map(list, self.warm)),
            "sizes": list(self.sizes),
        }
        for name in ("sizes", "edition"):  # which older searches do not have
            if not told[name]:
                del told[name]
        return told

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "SearchState":
        """Build a state back."""
        warm = tuple((dict(parameters), value) for parameters, value in stored["warm"])
        of_cells = {key: tuple(stored[key]) for key in ("finalists", "sizes") if key in stored}
        return cls(**{**stored, **of_cells, "warm": warm})


def _plain(value: Any) -> Any:
    if isinstance(value, Real | WholeEpochs):
        return vars(value).copy()
    return list(value) if isinstance(value, tuple) else value


def _check(space: Space) -> None:
    """Refuse a space in which there is nothing to search.

    Raises:
        InvalidDefinition: With the field, what it must be, and what it is.
    """
    _check_range("lambda_", space.lambda_)
    if space.eta_max is not None:
        _check_range("eta_max", space.eta_max)
    epochs = "whole epochs, 1 or more, the lower first, for example WholeEpochs(1, 4)"
    _need(space.n_s is None or _are_epochs(space.n_s), "n_s", epochs, space.n_s)
    _check_lists(space)
    for name, least, most in (
        ("budget", 1, MOST_BUDGET),
        ("width", 1, MOST_VALUES),
        ("finalists", 0, MOST_VALUES),
    ):
        count = getattr(space, name)
        if name == "finalists" and count is None:
            continue
        _need(_is_a(int, count) and count >= least, name, f"a whole number, {least} or more", count)
        _need(count <= most, name, f"{most:,} or less", count)
    below = _is_share(space.final_share) and space.final_share < 1
    _need(below, "final_share", "0 or more and below 1", space.final_share)
    known = isinstance(space.sampler, str) and space.sampler in SAMPLERS
    _need(known, "sampler", f"one of {', '.join(SAMPLERS)}", space.sampler)
    if space.sampler == "cmaes":
        _need(space.width >= 4, "width", "4 or more for the sampler cmaes", space.width)
        for name in ("normalisation", "flip_probability"):
            values = getattr(space, name)
            _need(not values, name, "left out for the sampler cmaes, which is for numbers", values)


def _check_lists(space: Space) -> None:
    for name, fits, wanted in (
        (
            "normalisation",
            lambda v: isinstance(v, str) and v in NORMALISATIONS,
            f"of {', '.join(NORMALISATIONS)}",
        ),
        ("flip_probability", _is_share, "of 0 to 1"),
        ("warm_start", lambda value: isinstance(value, str), "of names of definitions"),
    ):
        values = getattr(space, name)
        fit = isinstance(values, tuple) and all(map(fits, values))
        differ = fit and len(set(values)) == len(values)
        _need(differ, name, f"a tuple {wanted}, none twice", values)


def _check_range(name: str, real: Any) -> None:
    _need(isinstance(real, Real), name, "a range, for example Real(0.001, 0.1)", real)
    numbers = _is_a((int, float), real.low) and _is_a((int, float), real.high)
    ordered = numbers and 0 <= real.low <= real.high and is_number(real.high)
    _need(ordered, name, "0 or more, the lower bound first", real)
    _need(real.low > 0 or not real.logarithmic, name, "above 0 on a logarithmic scale", real)
    few = _is_a(int, real.n) and 1 <= real.n <= MOST_VALUES
    _need(few, f"n in {name}", f"a whole number, 1 to {MOST_VALUES}", real.n)


def _need(holds: bool, name: str, wanted: str, got: Any) -> None:
    if not holds:
        raise InvalidDefinition(f"{name} of a space must be {wanted}; {came(name, got)}")


def _are_epochs(value: Any) -> bool:
    known = isinstance(value, WholeEpochs) and _is_a(int, value.low) and _is_a(int, value.high)
    return known and 1 <= value.low <= value.high <= LONGEST_HALF_CYCLE


def _is_a(kind: Any, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return _is_a((int, float), value) and 0 <= value <= 1
