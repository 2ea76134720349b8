"""SMAC3's multi-fidelity facade on the table by ask and tell; what goes on pays for the rest alone."""

import logging
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

from smac import MultiFidelityFacade, Scenario
from smac.runhistory import StatusType, TrialValue

from tests.benchmarks.regret.dehbs import _plain, space
from tests.benchmarks.regret.trainings import Answer, Purse, Search, Trainings
from tests.benchmarks.table.surface import N_CYCLES


def search(trainings: Trainings, budget: int) -> Answer:
    """Return what came of it."""
    warnings.simplefilter("ignore")
    purse = Purse(trainings, budget)
    done: dict[str, int] = {}
    refused = 0
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space(trainings.repetition),
            deterministic=True,
            min_budget=1,
            max_budget=N_CYCLES,
            n_trials=10_000,
            seed=trainings.repetition,
            output_directory=Path(folder),
        )
        intensifier = MultiFidelityFacade.get_intensifier(scenario)
        optimizer = MultiFidelityFacade(
            scenario, _never, intensifier=intensifier, overwrite=True, logging_level=logging.ERROR
        )
        while True:
            job = optimizer.ask()
            recipe = {name: _plain(value) for name, value in dict(job.config).items()}
            key, cycles = repr(sorted(recipe.items())), round(job.budget or N_CYCLES)
            before = min(done.get(key, 0), cycles)
            if not purse.pays(recipe, cycles, before):
                refused += 1
                if refused == purse.patience:
                    return purse.answer()
                optimizer.tell(job, TrialValue(cost=1.0, status=StatusType.CRASHED), save=False)
                continue
            refused = 0
            for cycle in range(before + 1, cycles + 1):
                purse.train(recipe, cycle, cycle - 1)
            value = float(trainings.curve(recipe)[cycles - 1])
            done[key] = max(done.get(key, 0), cycles)
            optimizer.tell(job, TrialValue(cost=1 - value, time=float(cycles)), save=False)


def _never(config: object, seed: int = 0, budget: float = 1) -> float:
    raise RuntimeError("It is asked and told.")


METHODS: Mapping[str, Search] = {"SMAC3 multi-fidelity": search}
