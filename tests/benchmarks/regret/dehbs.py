"""DEHB on the table by ask and tell, with its defaults; a configuration that goes on pays for the rest."""

import tempfile
from collections.abc import Mapping

from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from dehb import DEHB

from tests.benchmarks.regret.trainings import Answer, Purse, Search, Trainings
from tests.benchmarks.table.surface import (
    EPOCHS,
    ETA_MAX,
    FLIPS,
    LAMBDA,
    N_CYCLES,
    NORMALISATIONS,
)


def space(seed: int) -> ConfigurationSpace:
    """Return the space as ConfigSpace writes it."""
    made = ConfigurationSpace(seed=seed)
    made.add(
        Float("lambda", LAMBDA, log=True),
        Float("eta_max", ETA_MAX, log=True),
        Integer("epochs", EPOCHS),
        Categorical("normalisation", list(NORMALISATIONS)),
        Categorical("flip_probability", list(FLIPS)),
    )
    return made


def search(trainings: Trainings, budget: int) -> Answer:
    """Return what came of it."""
    purse = Purse(trainings, budget)
    done: dict[str, int] = {}
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        cs = space(trainings.repetition)
        optimizer = DEHB(
            cs=cs,
            f=None,
            dimensions=len(cs),
            min_fidelity=1,
            max_fidelity=N_CYCLES,
            n_workers=1,
            seed=trainings.repetition,
            output_path=folder,
            log_level="ERROR",
        )
        while True:
            job = optimizer.ask()
            recipe = {name: _plain(value) for name, value in dict(job["config"]).items()}
            key, cycles = repr(recipe), round(job["fidelity"])
            before = min(done.get(key, 0), cycles)
            if not purse.pays(recipe, cycles, before):
                refused += 1
                if refused == purse.patience:
                    return purse.answer()
                optimizer.tell(job, {"fitness": 1.0, "cost": 0.0})
                continue
            refused = 0
            for cycle in range(before + 1, cycles + 1):
                purse.train(recipe, cycle, cycle - 1)
            value = float(trainings.curve(recipe)[cycles - 1])
            done[key] = max(done.get(key, 0), cycles)
            optimizer.tell(job, {"fitness": -value, "cost": float(cycles)})


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") else value


METHODS: Mapping[str, Search] = {"DEHB": search}
