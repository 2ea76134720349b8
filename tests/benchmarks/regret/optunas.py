"""Optuna on the table, driven as its users do: ask, report every cycle, tell; documented defaults."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import Trial, TrialState

from tests.benchmarks.regret.trainings import Answer, Purse, Recipe, Search, Trainings
from tests.benchmarks.table.surface import (
    EPOCHS,
    ETA_MAX,
    FLIPS,
    LAMBDA,
    N_CYCLES,
    NORMALISATIONS,
)

Sampler = Callable[[int], BaseSampler]


def search(
    trainings: Trainings,
    budget: int,
    sampler: Sampler,
    pruner: Callable[[], BasePruner] = NopPruner,
) -> Answer:
    """Return what came of a study with this sampler and pruner."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    study = optuna.create_study(
        direction="maximize", sampler=sampler(trainings.repetition), pruner=pruner()
    )
    purse = Purse(trainings, budget)
    refused = 0
    while refused < purse.patience:
        trial = study.ask()
        recipe = suggested(trial)
        if purse.pays(recipe):
            refused = 0
            _trained(study, trial, recipe, purse)
        else:
            refused += 1
            study.tell(trial, state=TrialState.FAIL)
    return purse.answer()


def _trained(study: optuna.Study, trial: Trial, recipe: Recipe, purse: Purse) -> None:
    for cycle in range(1, N_CYCLES + 1):
        value = purse.train(recipe, cycle, cycle - 1)
        trial.report(value, cycle)
        if cycle < N_CYCLES and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, value)


def suggested(trial: Trial) -> Recipe:
    """Return the recipe that a trial is told."""
    return {
        "lambda": trial.suggest_float("lambda", *LAMBDA, log=True),
        "eta_max": trial.suggest_float("eta_max", *ETA_MAX, log=True),
        "epochs": trial.suggest_int("epochs", *EPOCHS),
        "normalisation": trial.suggest_categorical("normalisation", NORMALISATIONS),
        "flip_probability": trial.suggest_categorical("flip_probability", FLIPS),
    }


def _cmaes(seed: int) -> BaseSampler:
    return CmaEsSampler(seed=seed, warn_independent_sampling=False)


def _sobol(seed: int) -> BaseSampler:
    return QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed)


def _hyperband() -> BasePruner:
    return HyperbandPruner(min_resource=1, max_resource=N_CYCLES)


METHODS: Mapping[str, Search] = {
    "Optuna TPE": partial(search, sampler=_tpe),
    "Optuna TPE, median": partial(search, sampler=_tpe, pruner=MedianPruner),
    "Optuna TPE, successive halving": partial(search, sampler=_tpe, pruner=SuccessiveHalvingPruner),
    "Optuna TPE, Hyperband": partial(search, sampler=_tpe, pruner=_hyperband),
    "Optuna CMA-ES, median": partial(search, sampler=_cmaes, pruner=MedianPruner),
    "Optuna GP": partial(search, sampler=lambda seed: GPSampler(seed=seed)),
    "random": partial(search, sampler=lambda seed: RandomSampler(seed=seed)),
    "Sobol": partial(search, sampler=_sobol),
}
