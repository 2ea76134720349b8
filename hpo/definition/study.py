"""What a file in ``studies/`` may say: a question, what is searched, and a training recipe.

A `StudyDefinition` is written by people; quantities may be relative there (n_s in epochs, a grid
around the parent's best cell). An `hpo.experiment.experiment.Experiment` is what
`hpo.experiment.resolution.resolve` makes of it for one data set.
"""

from dataclasses import dataclass, replace

from hpo.definition.checks import PROTOCOLS, TRAIN_METRICS, check, settle
from hpo.definition.grids import Grid
from hpo.definition.numbers import plain
from hpo.definition.spaces import Space

NOTEBOOK_SEED = 65465168
__all__ = ["NOTEBOOK_SEED", "PROTOCOLS", "TRAIN_METRICS", "Epochs", "StudyDefinition"]


@dataclass(frozen=True)
class Epochs:
    """A number of updates given in epochs; an epoch has as many updates as whole mini-batches."""

    epochs: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", plain(self.epochs))


@dataclass(frozen=True, kw_only=True)
class StudyDefinition:
    """One question, one grid or space, one recipe; equal definitions give equal results."""

    #: Name of the study, before suffixes for data and protocol.
    name: str
    #: The lambdas of a search that is planned whole, or
    grid: Grid | None = None
    #: what is searched generation by generation.
    space: Space | None = None
    #: Definition of the finished study that the grid is derived from.
    parent: str | None = None
    #: Images held out for validation; digits and small sets have their own number.
    n_validation: int = 5000
    batch_size: int = 100
    #: Width of the hidden layer.
    hidden: int = 50
    loss: str = "cross-entropy"
    eta_min: float = 1e-5
    eta_max: float = 1e-1
    #: Updates in half a cycle, or epochs.
    n_s: int | Epochs = Epochs(2)
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
    pruner: str = "none"
    #: Notebook protocol: the training set is the parent's, in the order its runs left behind.
    continues_order: bool = False
    #: Whether the trained network is shown the test images, once, at the end.
    evaluates_test: bool = False

    def __post_init__(self) -> None:
        settle(self)
        check(self)

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


def study_name(definition: StudyDefinition, data_name: str) -> str:
    """Return ``<definition>[-<data>][-notebook]``."""
    return suffixed(definition.name, data_name, definition.protocol)


def suffixed(name: str, data_name: str, protocol: str) -> str:
    """Add the suffixes for data other than CIFAR-10 and for the notebook protocol."""
    data = "" if data_name == "cifar10" else f"-{data_name}"
    return name + data + ("-notebook" if protocol == "notebook" else "")
