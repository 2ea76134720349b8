"""Which recipe? Lambda, eta_max, n_s, normalisation and mirrored images together, within a budget."""

from hpo import Real, Space, StudyDefinition, WholeEpochs

STUDY = StudyDefinition(
    name="joint",
    space=Space(
        lambda_=Real(3e-4, 1e-2, logarithmic=True),
        eta_max=Real(0.03, 0.2, logarithmic=True),
        n_s=WholeEpochs(2, 8),
        normalisation=("image", "feature"),
        flip_probability=(0.0, 0.5),
        budget_epochs=2000 / 3,  # 266,666 updates on CIFAR-10
        warm_start=("coarse", "fine"),
    ),
    n_validation=0.2,  # more cells are told apart than by a tenth
    n_cycles=3,
)
