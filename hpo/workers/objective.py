"""Objectives of the user's own under Optuna: how each ended, and how ``optimize`` is ended."""

import contextlib
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState

from hpo.database import rows
from hpo.experiment.records import Attempt, Outcome
from hpo.workers.membership import Membership


@dataclass(frozen=True)
class Held:
    """A cell that is being evaluated."""

    attempt: Attempt
    token: str


@dataclass(frozen=True)
class Ending:
    """How an evaluation ended: counted with an outcome, failed with a reason, or given back."""

    outcome: str = ""
    value: float | None = None
    reason: str = ""


def ending_of(state: TrialState, values: Sequence[float] | None) -> Ending:
    """Return how an evaluation ended, of which Optuna tells a sampler the state and the values.

    It tells neither the error nor what is no number: those are read where Optuna has them.
    """
    value = float(values[0]) if values else None
    if state is TrialState.PRUNED:
        return Ending(Outcome.PRUNED, rows.number(value))
    if state is TrialState.COMPLETE:
        is_finite = value is not None and math.isfinite(value)
        return Ending(Outcome.COMPLETE, value) if is_finite else Ending(Outcome.DIVERGED)
    returned, error = (
        _seen("_tell_with_warning", "value_or_values"),
        _seen("_run_trial", "func_err"),
    )
    if isinstance(error, KeyboardInterrupt):
        return Ending()
    if error is not None:
        return Ending(reason=f"{type(error).__name__}: {error}")
    with contextlib.suppress(TypeError, ValueError):
        if math.isnan(float(returned[0] if isinstance(returned, list | tuple) else returned)):
            return Ending(Outcome.DIVERGED)
    return Ending(reason=f"the objective returned {returned!r}, which is no number")


def _seen(function: str, name: str) -> Any:
    """Return a variable of the function of this name that called us; None if there is none."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != function:
        frame = frame.f_back
    return frame.f_locals.get(name) if frame is not None else None


def stop(study: Study) -> None:
    """End ``optimize``; whoever asks and tells by himself knows when to end."""
    with contextlib.suppress(RuntimeError):
        study.stop()


def leave(member: Membership) -> None:
    """Let a worker go whose sampler is no more."""
    with contextlib.suppress(Exception):  # the database may be gone by now
        member.__exit__(None, None, None)
