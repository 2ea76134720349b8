"""A space to search: which values each parameter may have, who proposes, and what it may cost."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from hpo.definition.numbers import came, is_number, several
from hpo.definition.ranges import Choice, Dimension, Real, Whole, WholeEpochs, settle
from hpo.errors import InvalidDefinition

SAMPLERS = ("curves", "tpe", "random", "qmc", "grid", "gp", "cmaes")
#: Whole numbers that may be searched, with the largest that makes sense on any machine.
WHOLE = {"hidden": 100_000, "batch_size": 1_000_000, "n_cycles": 10_000}
LATER = (*WHOLE, "eta_min", "budget_epochs")  #: what spaces of before do not have
MAY_BE_LISTS = ("flip_probability", "hidden", "batch_size")
NORMALISATIONS = ("image", "feature", "none")
MOST_VALUES = 1000  #: of one number in a grid
MOST_IN_GRID = 10_000_000  #: cells
MOST_BUDGET = 10**12  #: updates
MOST_EPOCHS = 10**9  #: in a budget
MOST_FINAL = 1000  #: replicates of a finalist
RACED_FROM = 600_000  #: updates from which a race finds better recipes than more cells do
RACERS = 4
LONGEST_HALF_CYCLE = 10_000_000  #: updates, and more than enough epochs


@dataclass(frozen=True, kw_only=True)
class Space:
    """What is searched together, by whom, and for how many updates.

    What is left out has the value of the definition in every cell.

    >>> import hpo
    >>> space = hpo.Space(lambda_=hpo.Real(1e-4, 1e-2), normalisation=("image", "feature"))
    >>> space.sampler, space.budget
    ('curves', 300000)
    """

    lambda_: Real
    eta_max: Real | None = None
    #: Half a cycle.
    n_s: WholeEpochs | None = None
    normalisation: tuple[str, ...] = ()
    #: Probabilities that an image is mirrored. In a range each cell has its own, and so its own
    #: mini-batches: networks that are trained together are faster.
    flip_probability: tuple[float, ...] | Real = ()
    #: Who proposes: one of `SAMPLERS`.
    sampler: str = "curves"
    #: Updates of all networks together; the search never makes more.
    budget: int = 300_000
    #: The same in epochs of the data, which then says what ``budget`` is.
    budget_epochs: float | None = None
    #: Proposals in a generation, all made before the first of them is trained.
    width: int = 8
    #: The best cells, which in the end get as many more replicates as the rest of the budget pays.
    #: None: four where the budget is `RACED_FROM` or more, and none below, where more cells gain more.
    finalists: int | None = None
    #: Share of the budget that is kept for them.
    final_share: float = 0.3
    #: Definitions whose finished studies tell the sampler where to begin.
    warm_start: tuple[str, ...] = ()
    #: Hidden units; networks of one width are trained together.
    hidden: Whole | tuple[int, ...] = ()
    #: Images in a mini-batch; n_s is then searched in epochs, which have other lengths.
    batch_size: Whole | tuple[int, ...] = ()
    n_cycles: Whole | None = None
    #: As a share of eta_max.
    eta_min: Real | None = None

    def __post_init__(self) -> None:
        settle(self)
        for name in ("normalisation", "warm_start", *MAY_BE_LISTS):
            given = getattr(self, name)
            if not isinstance(given, str | Real | Whole) and given is not None:
                object.__setattr__(self, name, several(f"{name} of a space", given, MOST_VALUES))
        _check(self)

    def settled(self, per_epoch: int) -> "Space":
        """Return the space with its budget in updates.

        Args:
            per_epoch: Updates in an epoch.
        """
        if self.budget_epochs is None:
            return self
        budget = max(1, math.floor(self.budget_epochs * per_epoch))
        return replace(self, budget=budget, budget_epochs=None)

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
        """Return what is searched, under the names that Optuna shows.

        Args:
            per_epoch: Updates in an epoch, in which n_s is told; where batch sizes differ, it is
                told in epochs.
        """
        n_s, unit = self.n_s, 1 if self.batch_size else per_epoch
        length: Whole | tuple[int, ...] = ()
        if n_s is not None:
            length = Whole(n_s.low * unit, n_s.high * unit, unit, n=max(MOST_VALUES, n_s.high))
        found: dict[str, Dimension | tuple[Any, ...] | None] = {
            "lambda": self.lambda_,
            "eta_max": self.eta_max,
            "n_s_epochs" if self.batch_size else "n_s": length,
            "normalisation": self.normalisation,
            "flip_probability": self.flip_probability,
            "hidden": self.hidden,
            "batch_size": self.batch_size,
            "n_cycles": self.n_cycles,
            "eta_min_share": self.eta_min,
        }
        named = {k: Choice(d) if isinstance(d, tuple) else d for k, d in found.items() if d}
        return {name: dimension for name, dimension in named.items() if dimension is not None}

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and strings.

        What older spaces do not have is left out where it says nothing.
        """
        told = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {key: value for key, value in told.items() if value or key not in LATER}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Space":
        """Build a space back."""
        given: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        for name, value in given.items():
            if isinstance(value, Mapping):
                whole = Whole if name in WHOLE else Real
                given[name] = (WholeEpochs if name == "n_s" else whole)(**value)
        return cls(**given)


def _plain(value: Any) -> Any:
    if isinstance(value, Real | Whole | WholeEpochs):
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
    for name, most in WHOLE.items():
        _check_whole(name, getattr(space, name), most)
    for name in ("eta_min", "flip_probability"):
        real = getattr(space, name)
        if isinstance(real, Real) or (name == "eta_min" and real is not None):
            _check_range(name, real)
            _need(real.high <= 1, name, "1 at most", real)
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
    most_epochs = space.budget_epochs
    if most_epochs is not None:
        fits = is_number(most_epochs) and 0 < most_epochs <= MOST_EPOCHS
        _need(fits, "budget_epochs", f"above 0, {MOST_EPOCHS:,} at most", most_epochs)
    below = _is_share(space.final_share) and space.final_share < 1
    _need(below, "final_share", "0 or more and below 1", space.final_share)
    known = isinstance(space.sampler, str) and space.sampler in SAMPLERS
    _need(known, "sampler", f"one of {', '.join(SAMPLERS)}", space.sampler)
    if space.sampler == "grid":
        counts = [len(d.values()) for d in space.dimensions(1).values()]
        few = math.prod(counts) <= MOST_IN_GRID
        _need(few, "sampler", f"another where a grid has more than {MOST_IN_GRID:,} cells", "grid")
    if space.sampler == "cmaes":
        _need(space.width >= 4, "width", "4 or more for the sampler cmaes", space.width)
        for name in ("normalisation", *MAY_BE_LISTS):
            values = getattr(space, name)
            _need(
                not values or not isinstance(values, tuple),
                name,
                "left out for the sampler cmaes, which is for numbers",
                values,
            )


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
        if isinstance(values, Real) and name in MAY_BE_LISTS:
            continue
        fit = isinstance(values, tuple) and all(map(fits, values))
        differ = fit and len(set(values)) == len(values)
        _need(differ, name, f"a tuple {wanted}, none twice", values)


def _check_whole(name: str, given: Any, most: int) -> None:
    """Refuse what is no range of whole numbers and no choice among some."""
    wanted = (
        f"a range, for example Whole(16, 128), or some whole numbers, 1 to {most:,}, none twice"
    )
    if name == "n_cycles":
        wanted = f"a range of whole numbers, 1 to {most:,}, for example Whole(2, 4)"
    if isinstance(given, tuple) and name != "n_cycles":
        fit = all(_is_a(int, value) and 1 <= value <= most for value in given)
        _need(fit and len(set(given)) == len(given), name, wanted, given)
        return
    if given is None and name == "n_cycles":
        return
    fit = isinstance(given, Whole) and all(
        _is_a(int, value) and value >= 1 for value in (given.low, given.high, given.step, given.n)
    )
    _need(fit and given.low <= given.high <= most and given.n <= MOST_VALUES, name, wanted, given)
    _need((given.high - given.low) % given.step == 0, name, "in steps that lead to its end", given)
    is_plain = given.step == 1 or not given.logarithmic
    _need(is_plain, name, "in steps of 1 on a logarithmic scale", given)


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
