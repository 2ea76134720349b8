"""Which lambda exactly? Ten evenly spaced values between the neighbours of the coarse best."""

from hpo import AroundBest, Epochs, StudyDefinition

STUDY = StudyDefinition(
    name="fine",
    parent="coarse",
    grid=AroundBest(n=10),
    n_validation=5000,
    n_s=Epochs(2, at_least=240),
    n_cycles=3,
    pruner="halving",
    continues_order=True,
)
