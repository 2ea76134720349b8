"""How good is the winner? The best cell's recipe, trained on nearly all images, then tested once."""

from hpo import Best, StudyDefinition

STUDY = StudyDefinition(
    name="final",
    parent="fine",
    grid=Best(),
    n_validation=1000,
    inherits_recipe=True,
    n_s=500,  # and five cycles: of the notebook protocol, which inherits nothing
    n_cycles=5,
    replicates=3,
    evaluates_test=True,
)
