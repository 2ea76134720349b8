"""What the studies say, as text: the table of cells, the best one, the state of every study."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hpo.database import looks, outcomes
from hpo.database.connections import Connection
from hpo.definition.grids import ParentCell
from hpo.definition.pruning import NONE
from hpo.errors import NoResult
from hpo.experiment import budgets
from hpo.experiment.command import command
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Outcome, Result, StoredStudy, describe, parameters, short
from hpo.judging.ranking import cell_means, compared, winner
from hpo.machine.printable import printable
from hpo.search.generations import spent
from hpo.views import search_table

if TYPE_CHECKING:  # their imports, Optuna and NumPy, cost a reader more than its query
    from hpo.judging.judgement import Judgement
    from hpo.planning.plan import Plan


@dataclass(frozen=True)
class StudyReport:
    """A study and its counted results."""

    study: StoredStudy
    results: tuple[Result, ...]
    test_accuracy: float | None
    n_test_looks: int

    @cached_property
    def best(self) -> Result | None:
        """The best result of the cell with the highest mean over its replicates."""
        return winner(list(self.results), self.study.experiment)

    @cached_property
    def means(self) -> dict[int, float]:
        """Mean value of every cell that is complete in all its replicates."""
        return cell_means(list(self.results), self.study.experiment)

    @property
    def n_slots(self) -> int:
        """Results that the finished study has."""
        return self.study.experiment.n_slots


def read(connection: Connection, study: StoredStudy) -> StudyReport:
    """Return what is known of ``study``."""
    taken = looks.looks_of(connection, study.uuid)
    results = tuple(outcomes.results_of(connection, study.uuid))
    return StudyReport(study, results, looks.accuracy(taken), len(taken))


def table(report: StudyReport) -> str:
    """Return a line a cell, and the best one; for a grid as the notebook printed them."""
    if report.study.experiment.search is not None:
        cell = report.best.slot.cell if report.best else None
        search = search_table.Search(report.study, report.results, report.means, cell)
        lines = [f"{report.study.name}: {_heading(report)}", *search_table.lines(search)]
        return "\n".join(map(printable, lines))
    experiment = report.study.experiment
    several = experiment.definition.replicates > 1
    by_slot = {(r.slot.cell, r.slot.replicate): r for r in report.results}
    best, means = report.best, report.means
    counts = "mean" if several else "0"
    lines = [f"{report.study.name}: {_heading(report)}"]
    header = f"{'cell':>4}  {'lambda':<10}"
    lines.append(header + ("  replicate" if several else "") + "  validation accuracy")
    for cell, value in enumerate(experiment.lambdas):
        shown = {
            str(replicate): search_table.value_of(by_slot.get((cell, replicate)))
            for replicate in range(experiment.definition.replicates)
        }
        if several:
            shown["mean"] = f"{means[cell]:.4f}" if cell in means else "-"
        for row, text in shown.items():
            middle = f"  {row:>9}" if several else ""
            is_best = best is not None and best.slot.cell == cell and row == counts
            mark = "  best" if is_best else ""
            lines.append(f"{cell:>4}  {short(value):<10}{middle}  {text}{mark}")
    if best is not None:
        lines.append(f"Best lambda: {short(experiment.lambdas[best.slot.cell])}")
        lines += search_table.tie(means, best.slot.cell)
    if experiment.definition.inherits_recipe and experiment.parent is not None:
        lines.append(_inherited(experiment, experiment.parent))
    if report.test_accuracy is not None:
        lines.append(f"Test accuracy: {report.test_accuracy:.4f}")
    return "\n".join(map(printable, lines))


def _inherited(experiment: Experiment, parent: ParentCell) -> str:
    """Return the recipe of a study with a single one, and where it comes from."""
    recipe = experiment.recipe(0)
    return (
        f"Recipe of cell {parent.cell} of {parent.study}: {recipe.n_cycles} cycles of n_s {recipe.n_s}, "
        f"eta_max {short(recipe.eta_max)}, normalisation {recipe.normalisation}, flip probability "
        f"{short(recipe.flip_probability)}"
    )


def judged(
    connection: Connection, study: StoredStudy, results: Sequence[Result] | None = None
) -> "Judgement | None":
    """Return what the stored results of a study are worth; None where there is nothing to compare.

    Args:
        results: Those of the study, where they have been read already.
    """
    from hpo.database import hits
    from hpo.judging.judgement import judge

    return judge(
        study,
        outcomes.results_of(connection, study.uuid) if results is None else list(results),
        hits.hits_of(connection, study),
        hits.at_rungs(connection, study),
    )


def best(report: StudyReport, judgement: "Judgement | None" = None) -> str:
    """Return the best cell in words, with what its lead is worth where that is known.

    Raises:
        NoResult: No cell is complete.
    """
    return "\n".join(best_in_lines(report, judgement))


def best_in_lines(
    report: StudyReport, judgement: "Judgement | None" = None, *, with_table: bool = True
) -> list[str]:
    """Return the same in lines, without the table of cells that may be as good if so asked.

    Raises:
        NoResult: No cell is complete.
    """
    found = report.best
    if found is None:
        raise NoResult(
            f"{report.study.name!r} has no complete cell yet ({len(report.results)} of "
            f"{report.n_slots} have a result). Run `{command(report.study)}`."
        )
    experiment = report.study.experiment
    cell = found.slot.cell
    _, replicates = compared(list(report.results), experiment)
    mean = f", the mean of {replicates} replicates" if replicates > 1 else ""
    missing = report.n_slots - len(report.results)
    what = "cells" if report.n_slots == len(experiment.cells) else "results"
    so_far = f" so far; {missing} of {report.n_slots} {what} are missing" if missing else ""
    if experiment.search is not None and not experiment.search.is_over:
        so_far = f" so far; {length(experiment, report.results)}"
    lines = [
        f"{report.study.name}: {_named(experiment, cell)} "
        f"with validation accuracy {report.means[cell]:.4f}{mean}{so_far}"
    ]
    lines += [*search_table.tie(report.means, cell), *filter(None, [budgets.in_words(experiment)])]
    if judgement is not None and judgement.best == cell:
        from hpo.judging.judgement import in_words

        lines += in_words(judgement, experiment, with_table=with_table)
        lines += filter(None, [_more_seeds(report, judgement)])
    out = {r.slot.cell: r.outcome for r in report.results if r.outcome != Outcome.COMPLETE}
    if out:
        names = [f"{c} ({outcome})" for c, outcome in sorted(out.items())]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        cells = "cell" if len(names) == 1 else "cells"
        lines.append(f"not compared, and never the winner: {cells} {', '.join(names[:10])}{more}")
    if report.test_accuracy is not None:
        looks = "one look" if report.n_test_looks == 1 else f"{report.n_test_looks} looks"
        lines.append(f"test accuracy {report.test_accuracy:.4f} ({looks} at the test images)")
    return list(map(printable, lines))


def _more_seeds(report: StudyReport, judgement: "Judgement") -> str:
    """Return the command that gives a search the seeds that would tell more, and what it costs."""
    from hpo.planning import seeds

    experiment, found = report.study.experiment, judgement.separation
    n_more = 1 if found is None else found.n_more
    is_over = experiment.search is not None and experiment.search.is_over
    if not is_over or not n_more or len(judgement.contenders) < 2:
        return ""
    wanted = judgement.n_replicates + n_more
    grown = seeds.seeded(report.study.name, experiment, report.results, wanted)
    cells = grown.search.finalists if grown.search else ()
    return (
        f"`{command(report.study, wanted)}` trains cells {', '.join(map(str, cells))} with more seeds, "
        f"{seeds.price(experiment, grown):,} updates"
    )


def failures(experiment: Experiment, plan: "Plan") -> list[str]:
    """Return a line for every slot that failed too often."""
    return [f"{describe(experiment, slot)}: {reason}" for slot, reason in plan.failed.items()]


def _named(experiment: Experiment, cell: int) -> str:
    """Return a cell with its parameters: of a grid its lambda in full."""
    if experiment.search is None:
        return f"lambda {short(experiment.lambdas[cell])} (cell {cell})"
    return f"cell {cell} ({parameters(experiment, cell)})"


def in_short(experiment: Experiment, cell: int) -> str:
    """Return a cell in as few words as can be: of a grid its lambda."""
    is_grid = experiment.search is None
    return f"lambda {short(experiment.lambdas[cell])}" if is_grid else f"cell {cell}"


def so_far(experiment: Experiment) -> str:
    """Return that a search may find better, if it is not over."""
    is_over = experiment.search is None or experiment.search.is_over
    return "" if is_over else ", so far"


def length(experiment: Experiment, results: Sequence[Result] | None = None) -> str:
    """Return in words how long the cells are trained.

    Args:
        results: Of a search whose cells are cut they say what that saved.
    """
    space, search = experiment.definition.space, experiment.search
    if space is None or search is None:
        return f"{experiment.n_updates} updates each"
    if results is None and experiment.definition.pruner != NONE:
        return f"a budget of {space.budget:,} updates for {space.sampler}"
    used = spent(experiment, results or ())
    if not search.is_over:
        return f"{used:,} of {space.budget:,} updates planned by {space.sampler} so far"
    within = f" of {space.budget:,}" if used <= space.budget else ""  # replicates grew
    return f"{used:,}{within} updates by {space.sampler}"


def _heading(report: StudyReport) -> str:
    experiment = report.study.experiment
    return (
        f"{len(report.results)} of {report.n_slots} done, {length(experiment, report.results)}, "
        f"{experiment.data.n_training} training and {experiment.data.n_validation} validation images"
    )
