"""Which order of magnitude of lambda? Eight values from 1e-5 to 1e-1, evenly spaced in log10."""

from hpo import Epochs, StudyDefinition, Values

STUDY = StudyDefinition(
    name="coarse",
    # The digits that the notebook printed; recomputed elsewhere, last bits may differ.
    grid=Values(
        (
            9.999999999999999e-06,
            3.727593720314938e-05,
            0.00013894954943731373,
            0.0005179474679231212,
            0.0019306977288832496,
            0.007196856730011514,
            0.026826957952797246,
            0.09999999999999999,
        )
    ),
    n_validation=5000,
    n_s=Epochs(2, at_least=240),
    n_cycles=2,
    pruner="halving",
)
