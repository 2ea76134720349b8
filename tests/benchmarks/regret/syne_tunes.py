"""Syne Tune on the table: ASHA and BOHB with their defaults, one worker, cycles as the resource."""

import datetime
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, loguniform, randint
from syne_tune.optimizer.baselines import ASHA, BOHB
from syne_tune.optimizer.scheduler import SchedulerDecision

from tests.benchmarks.regret.trainings import Answer, Purse, Search, Trainings
from tests.benchmarks.table.surface import (
    EPOCHS,
    ETA_MAX,
    FLIPS,
    LAMBDA,
    N_CYCLES,
    NORMALISATIONS,
)

SPACE = {
    "lambda": loguniform(*LAMBDA),
    "eta_max": loguniform(*ETA_MAX),
    "epochs": randint(*EPOCHS),
    "normalisation": choice(list(NORMALISATIONS)),
    "flip_probability": choice(list(FLIPS)),
}


def search(trainings: Trainings, budget: int, kind: Callable[..., Any]) -> Answer:
    """Return what came of a scheduler."""
    logging.disable(logging.WARNING)
    np.random.seed(trainings.repetition)  # which ASHA uses beside its own seed
    scheduler = kind(
        SPACE,
        metric="accuracy",
        do_minimize=False,
        time_attr="cycle",
        max_t=N_CYCLES,
        random_seed=trainings.repetition,
    )
    purse = Purse(trainings, budget)
    refused = number = 0
    while refused < purse.patience:
        recipe = scheduler.suggest().config
        if not purse.pays(recipe):
            refused += 1
            continue
        refused = 0
        trial = Trial(number, recipe, datetime.datetime.now())
        number += 1
        scheduler.on_trial_add(trial)
        for cycle in range(1, N_CYCLES + 1):
            result = {"accuracy": purse.train(recipe, cycle, cycle - 1), "cycle": cycle}
            if cycle == N_CYCLES:
                scheduler.on_trial_complete(trial, result)
            elif scheduler.on_trial_result(trial, result) == SchedulerDecision.STOP:
                break
    return purse.answer()


METHODS: Mapping[str, Search] = {
    "Syne Tune ASHA": partial(search, kind=ASHA),
    "Syne Tune BOHB": partial(search, kind=BOHB),
}
