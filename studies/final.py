"""How good is the winner? The best fine lambda, trained on nearly all images, then tested once."""

from hpo.definition import StudyDefinition
from hpo.grids import Best

STUDY = StudyDefinition(
    name="final",
    parent="fine",
    grid=Best(),
    n_validation=1000,
    n_s=500,
    n_cycles=5,
    replicates=3,
    evaluates_test=True,
)
