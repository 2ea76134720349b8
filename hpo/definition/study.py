"""What a file in ``studies/`` may say: a question, what is searched, and a training recipe.

A `StudyDefinition` is written by people; quantities may be relative there (n_s in epochs, a grid
around the parent's best cell). An `hpo.experiment.experiment.Experiment` is what
`hpo.experiment.resolution.resolve` makes of it for one data set.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from hpo.definition.grids import AroundBest, Best, Grid
from hpo.definition.numbers import came, is_number, plain, shown, whole, whole_or_share, within
from hpo.definition.pruning import HALVING, NONE, UNSAID, parse
from hpo.definition.spaces import LONGEST_HALF_CYCLE, Space
from hpo.errors import InvalidDefinition

NOTEBOOK_SEED = 65465168
PROTOCOLS = ("standard", "notebook")
TRAIN_METRICS = ("running", "full")
CHOICES = {
    "loss": ("cross-entropy", "binary-cross-entropy"),
    "normalisation": ("image", "feature", "none"),
    "dtype": ("float32", "float64"),
    "train_metrics": TRAIN_METRICS,
    "protocol": PROTOCOLS,
}
#: Whole numbers from 1, with the largest that makes sense on any machine.
COUNTS = {
    "n_cycles": 10_000,
    "batch_size": 1_000_000,
    "hidden": 100_000,
    "replicates": 10_000,
}
MOST_HELD_OUT = 100_000_000  #: images
MOST_SLOTS = 100_000  #: cells times replicates of a study
MOST_UPDATES = 10**9  #: of one network
HIGHEST_RATE = 1e15
SEEDS = 2**32
LONGEST_NAME = 200  #: characters; the database has room for 512, with suffixes
TRUTHS = ("inherits_recipe", "continues_order", "evaluates_test")


@dataclass(frozen=True)
class Epochs:
    """A number of updates given in epochs; an epoch has as many updates as whole mini-batches.

    >>> import hpo
    >>> hpo.StudyDefinition(name="mine", grid=hpo.Values((1e-3,)), n_s=hpo.Epochs(0.5)).n_s
    Epochs(epochs=0.5, at_least=0)
    """

    epochs: float
    #: Updates that there are in any case: an epoch of a small data set has few.
    at_least: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", plain(self.epochs))
        object.__setattr__(self, "at_least", plain(self.at_least))

    def updates(self, per_epoch: int, stored: int | None = None) -> int:
        """Return the number of updates.

        Args:
            per_epoch: Updates in an epoch.
            stored: What a study has that exists; it may be older than ``at_least``.
        """
        least = max(1, math.floor(self.epochs * per_epoch))
        return least if stored == least else max(least, self.at_least)


@dataclass(frozen=True, kw_only=True)
class StudyDefinition:
    """One question, one grid or space, one recipe; equal definitions give equal results.

    >>> import hpo
    >>> mine = hpo.StudyDefinition(name="mine", grid=hpo.Logarithmic(-5, -1, 5), replicates=3)
    >>> mine.n_cycles, mine.replicates
    (2, 3)
    """

    #: Name of the study, before suffixes for data and protocol.
    name: str
    #: The lambdas of a search that is planned whole, or
    grid: Grid | None = None
    #: what is searched generation by generation.
    space: Space | None = None
    #: Definition of the finished study that the grid is derived from.
    parent: str | None = None
    #: Images held out for validation, at most a tenth of all, or below 1 their share of all; digits
    #: have their own number.
    n_validation: int | float = 5000
    batch_size: int = 100
    #: Width of the hidden layer.
    hidden: int = 50
    loss: str = "cross-entropy"
    eta_min: float = 1e-5
    eta_max: float = 1e-1
    #: Updates in half a cycle, or epochs.
    n_s: int | Epochs = Epochs(2, at_least=240)
    n_cycles: int = 2
    #: Whether n_s, cycles, eta_max, normalisation and flips are those of the parent's cell: it is
    #: for just this length that its lambda was found to be good.
    inherits_recipe: bool = False
    normalisation: str = "image"
    #: Probability that an image is mirrored when it is trained on.
    flip_probability: float = 0.0
    dtype: str = "float32"
    #: ``running``: means over the mini-batches; ``full``: the whole training set at each log point.
    train_metrics: str = "running"
    protocol: str = "standard"
    seed: int = 0
    #: Seeds per cell, the same in every cell; may grow later.
    replicates: int = 1
    #: Who is cut at the end of a cycle: a name of `hpo.definition.pruning`, parameters after a colon.
    #: What is not said is halving in a space whose cells have two cycles or more, and none in a grid.
    pruner: str = UNSAID
    #: Notebook protocol: the training set is the parent's, in the order its runs left behind.
    continues_order: bool = False
    #: Whether the trained network is shown the test images, once, at the end.
    evaluates_test: bool = False

    def __post_init__(self) -> None:
        _settle(self)
        if isinstance(self.pruner, str) and self.pruner == UNSAID:
            searched = self.space.n_cycles if isinstance(self.space, Space) else None
            most = searched.high if searched else self.n_cycles
            cuts = self.space is not None and self.protocol == "standard" and most != 1
            object.__setattr__(self, "pruner", HALVING if cuts else NONE)
        _check(self)

    def in_protocol(self, protocol: str) -> "StudyDefinition":
        """Return this definition in ``protocol``; the notebook's settles what it did."""
        if protocol == "standard" or self.protocol == protocol:
            return replace(self, protocol=protocol)
        return replace(
            self,
            protocol=protocol,
            dtype="float64",
            train_metrics="full",
            normalisation="image",
            flip_probability=0.0,
            pruner="none",
            inherits_recipe=False,
            seed=NOTEBOOK_SEED,
            replicates=1,
        )

    def changed(self, protocol: str | None = None, **given: Any) -> "StudyDefinition":
        """Return this definition with other values; None changes nothing.

        Args:
            given: Fields of the definition, and ``sampler`` and ``budget`` of its space.

        Raises:
            InvalidDefinition: A value is none, or a grid was given what is for a space.
        """
        protocol = protocol or self.protocol
        if protocol not in PROTOCOLS:
            raise InvalidDefinition(
                f"The protocol must be standard or notebook, got {shown(protocol)}."
            )
        changes = {key: value for key, value in given.items() if value is not None}
        of_space: dict[str, Any] = {
            key: changes.pop(key) for key in ("sampler", "budget") if key in changes
        }
        if of_space:
            if self.space is None:
                raise InvalidDefinition(
                    f"A {next(iter(of_space))} is for a study that searches a space, as joint does; "
                    f"{self.name!r} has a grid."
                )
            if "budget" in of_space:
                of_space["budget_epochs"] = None
            changes["space"] = replace(self.space, **of_space)
        return replace(self.in_protocol(protocol), **changes)


def study_name(definition: StudyDefinition, data_name: str) -> str:
    """Return ``<definition>[-<data>][-notebook]``."""
    return suffixed(definition.name, data_name, definition.protocol)


def suffixed(name: str, data_name: str, protocol: str) -> str:
    """Add the suffixes for data other than CIFAR-10 and for the notebook protocol."""
    data = "" if data_name == "cifar10" else f"-{data_name}"
    return name + data + ("-notebook" if protocol == "notebook" else "")


def _settle(definition: StudyDefinition) -> None:
    """Make plain numbers and texts of NumPy's, where the definition is built."""
    for field in fields(definition):
        given = getattr(definition, field.name)
        value = plain(given)
        if value is not given:
            object.__setattr__(definition, field.name, value)


def _check(definition: StudyDefinition) -> None:
    """Refuse a definition that describes no study.

    Raises:
        InvalidDefinition: With the field, what it must be, and what it is.
    """
    check_name(definition.name)
    if (definition.grid is None) == (definition.space is None):
        raise InvalidDefinition(f"{definition.name!r} needs a grid or a space, and not both.")
    if definition.space is None:
        _check_grid(definition)
    else:
        _check_space(definition)
    for field, most in COUNTS.items():
        whole(field, getattr(definition, field), 1, most)
    whole_or_share("n_validation", definition.n_validation, MOST_HELD_OUT)
    _check_n_s(definition.n_s)
    for field, known in CHOICES.items():
        value = getattr(definition, field)
        if not isinstance(value, str) or value not in known:
            raise InvalidDefinition(
                f"{field} must be one of {', '.join(known)}; got {shown(value)}."
            )
    for field in TRUTHS:
        value = getattr(definition, field)
        if not isinstance(value, bool):
            raise InvalidDefinition(f"{field} must be True or False, {came(field, value)}")
    if definition.parent is not None:
        check_name(definition.parent, "The parent of a study is a name, which")
    _check_rates(definition.eta_min, definition.eta_max)
    probability = definition.flip_probability
    if not is_number(probability) or not 0 <= probability <= 1:
        told = came("flip_probability", probability)
        raise InvalidDefinition(f"The flip probability must be 0 to 1, {told}")
    seed = definition.seed
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < SEEDS:
        raise InvalidDefinition(f"The seed must be 0 to {SEEDS - 1}, {came('seed', seed)}")
    if parse(definition.pruner).name != NONE and definition.protocol == "notebook":
        raise InvalidDefinition("The notebook protocol prunes nothing; its pruner is none.")
    if definition.protocol == "notebook" and (probability or definition.replicates > 1):
        raise InvalidDefinition(
            "The notebook protocol has no flips and one replicate; use the standard one."
        )


def check_name(name: Any, what: str = "A study's name") -> None:
    """Refuse a study name that is awkward to type, or longer than the database has room for."""
    if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum():
        raise InvalidDefinition(f"{what} has letters, digits, - and _, got {shown(name)}.")
    if len(name) > LONGEST_NAME:
        raise InvalidDefinition(
            f"{what} has at most {LONGEST_NAME} characters, got {len(name)}. Choose a shorter one."
        )


def _check_grid(definition: StudyDefinition) -> None:
    if not isinstance(definition.grid, Grid):
        raise InvalidDefinition(
            f"The grid of {definition.name!r} must be one of hpo's, for example "
            f"hpo.Values((0.001, 0.01)); got {shown(definition.grid)}."
        )
    if isinstance(definition.grid, AroundBest | Best) and definition.parent is None:
        raise InvalidDefinition(
            f"The grid of {definition.name!r} needs a parent study, but none is named. Set parent=..."
        )


def _check_space(definition: StudyDefinition) -> None:
    name, space = definition.name, definition.space
    if not isinstance(space, Space):
        raise InvalidDefinition(f"The space of {name!r} must be a hpo.Space; got {shown(space)}.")
    if definition.protocol == "notebook":
        raise InvalidDefinition(f"{name!r} searches a space, which the notebook did not do.")
    if definition.evaluates_test:
        raise InvalidDefinition(
            f"{name!r} searches a space, so it cannot look at the test images; derive a study with a grid "
            "of its Best() from it, as final is."
        )
    if space.eta_max is not None and is_number(definition.eta_min):
        _check_rates(0 if space.eta_min else definition.eta_min, space.eta_max.low)


def _check_n_s(n_s: Any) -> None:
    if not isinstance(n_s, Epochs):
        whole("n_s", n_s, 1, LONGEST_HALF_CYCLE)
        return
    epochs = n_s.epochs
    if not is_number(epochs) or epochs <= 0:
        told = came("epochs", epochs)
        raise InvalidDefinition(f"n_s must be at least 1 update, more than 0 epochs, {told}")
    within("n_s in epochs", epochs, 0, LONGEST_HALF_CYCLE)
    whole("at_least of n_s", n_s.at_least, 0, LONGEST_HALF_CYCLE)


def _check_rates(eta_min: Any, eta_max: Any) -> None:
    numbers = is_number(eta_min) and is_number(eta_max)
    if not numbers or not 0 <= eta_min <= eta_max or not 0 < eta_max <= HIGHEST_RATE:
        raise InvalidDefinition(
            f"The learning rates must satisfy 0 <= eta_min <= eta_max <= {HIGHEST_RATE:g} with eta_max "
            f"above 0, got eta_min={shown(eta_min)}, eta_max={shown(eta_max)}."
        )
