"""Hyperparameter optimisation of the two-layer classifier: Optuna studies over the shared model."""
