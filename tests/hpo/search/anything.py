"""A space in which everything of a recipe is searched."""

from dataclasses import replace

from hpo.definition.ranges import Real, Whole, WholeEpochs
from hpo.definition.spaces import Space
from hpo.definition.study import StudyDefinition

ANYTHING = StudyDefinition(
    name="mine",
    space=Space(
        lambda_=Real(1e-4, 1e-1, logarithmic=True),
        eta_max=Real(0.05, 0.3),
        n_s=WholeEpochs(1, 2),
        normalisation=("image", "feature"),
        flip_probability=(0.0, 0.5),
        hidden=(8, 20),
        batch_size=Whole(50, 150, 50),
        n_cycles=Whole(1, 3),
        eta_min=Real(1e-3, 1.0, logarithmic=True),
        budget=4000,
        width=8,
    ),
    batch_size=100,
)
#: Numbers alone, each cell in a stack of its own.
NUMBERS = replace(
    ANYTHING,
    space=replace(
        ANYTHING.space,
        sampler="random",
        normalisation=(),
        flip_probability=Real(0.0, 0.5),
        hidden=Whole(4, 64, logarithmic=True),
        budget=3000,
    ),
)
