"""What a study asks, and its answer in one sentence."""

from hpo.definition.pruning import NONE
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import parameters, short
from hpo.held_out.verdict import Verdict
from hpo.judging.ranking import compared
from hpo.views.report import StudyReport, in_short


def question(experiment: Experiment) -> str:
    """Return what the study asks, and how it is answered."""
    data, n = experiment.data, experiment.definition.replicates
    seeds = "one seed" if n == 1 else f"{n} seeds"
    trained = (
        f"Networks of {experiment.definition.hidden} hidden units are trained on {data.n_training:,} "
        f"images of {data.name} and compared by their accuracy on {data.n_validation:,} others, "
        f"with {seeds} a cell."
    )
    return f"{asked(experiment)} {trained}{_shortened(experiment)}"


def asked(experiment: Experiment) -> str:
    """Return the question alone."""
    definition, lambdas, parent = experiment.definition, experiment.lambdas, experiment.parent
    if definition.space is not None:
        named = "; ".join(
            f"{name} {kind.in_words()}"
            for name, kind in definition.space.dimensions(experiment.per_epoch).items()
        )
        return (
            f"Which recipe gives the best network within {definition.space.budget:,} updates? "
            f"Searched by {definition.space.sampler}: {named}."
        )
    origin = f" (cell {parent.cell} of {parent.study})" if parent else ""
    if definition.evaluates_test:
        return f"How good is lambda {short(lambdas[0])}{origin} on images never used to choose?"
    if len(lambdas) == 1:
        return f"How good is lambda {short(lambdas[0])}{origin}?"
    low, high = short(min(lambdas)), short(max(lambdas))
    around = f", around lambda {short(parent.value)}{origin}" if parent else ""
    return f"Which of {len(lambdas)} values of lambda, from {low} to {high}{around}, is the best?"


def _shortened(experiment: Experiment) -> str:
    if experiment.definition.pruner == NONE:
        return ""
    return f" Cells may be cut at the end of a cycle ({experiment.definition.pruner})."


def answer(report: StudyReport, verdict: Verdict | None) -> str:
    """Return the answer in one sentence, or that there is none yet."""
    experiment, best = report.study.experiment, report.best
    done = f"{len(report.results)} of {report.n_slots} trainings have a result"
    if best is None:
        return f"Not answered yet: {done}, and no cell is complete."
    cell = best.slot.cell
    _, n = compared(list(report.results), experiment)
    mean = f", the mean of {n} seeds" if n > 1 else ""
    named = in_short(experiment, cell)
    if experiment.search is not None:
        named = f"{named} ({parameters(experiment, cell)})"
    is_over = experiment.search is None or experiment.search.is_over
    so_far = "" if is_over and len(report.results) >= report.n_slots else f" So far: {done}."
    told = f"{named}, with validation accuracy {report.means[cell]:.4f}{mean}."
    if verdict is not None:
        told += f" Test accuracy {verdict.accuracy:.4f}."
    return told[0].upper() + told[1:] + so_far
