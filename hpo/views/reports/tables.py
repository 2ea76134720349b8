"""The tables of a report: the cells, those that may be as good as the best, and those that were cut."""

from collections.abc import Sequence

from hpo.definition.pruning import HALVING, NONE, parse
from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Result, short
from hpo.judging.judgement import Judgement
from hpo.search import cut
from hpo.views import search_table
from hpo.views.report import StudyReport
from hpo.views.reports.parts import Table

MOST = 40  #: rows; what is beyond is in the export


def of_cells(report: StudyReport) -> list[Table]:
    """Return what every cell came to: of a grid in its order, of a search best first and not all."""
    experiment, best = report.study.experiment, report.best
    if not experiment.cells:
        return []
    cell = best.slot.cell if best else None
    search = search_table.Search(report.study, report.results, report.means, cell)
    is_grid = experiment.search is None
    order = list(range(len(experiment.cells))) if is_grid else search_table.best_first(search)
    several = experiment.replicates > 1
    columns = ["cell", *experiment.parameters, *(["seeds"] if several else [])]
    rows = []
    for number in order[:MOST]:
        mine = [r for r in report.results if r.slot.cell == number]
        n = experiment.replicates_of(number)
        own = [_shown(value) for value in experiment.cells[number].values()]
        told = search_table.of_all_seeds(mine, n)
        mark = ", the best" if number == cell else ""
        rows.append([str(number), *own, *([str(n)] if several else []), told + mark])
    more = len(order) - len(rows)
    left = f"; {more:,} more are in the export" if more else ""
    mean = ", means over the seeds" if several else ""
    title = f"Cells{'' if is_grid else ', best first'}{mean}{left}"
    marked = order.index(cell) if cell in order[:MOST] else None
    tables = [Table(title, [*columns, "validation accuracy"], rows, marked)]
    return tables + ([_of_seeds(report, order)] if several and len(order) <= MOST else [])


def _of_seeds(report: StudyReport, order: Sequence[int]) -> Table:
    """Return the accuracy of every seed of every cell."""
    by_slot = {(r.slot.cell, r.slot.replicate): r for r in report.results}
    n = report.study.experiment.replicates
    rows = [
        [str(cell), *(search_table.value_of(by_slot.get((cell, seed))) for seed in range(n))]
        for cell in order
    ]
    return Table("Every seed", ["cell", *(f"seed {seed}" for seed in range(n))], rows)


def of_contenders(judgement: Judgement | None, experiment: Experiment) -> list[Table]:
    """Return the cells that cannot be told from the best, nearest first; none if there is no other."""
    if judgement is None or len(judgement.contenders) < 2:
        return []
    behind = judgement.contenders
    order = sorted(behind, key=lambda cell: (behind[cell].value, cell != judgement.best, cell))
    rows = [
        [
            str(cell),
            short(experiment.lambdas[cell]),
            f"{100 * behind[cell].value:.2f}",
            f"{100 * behind[cell].most:.2f}",
        ]
        for cell in order[:MOST]
    ]
    more = len(order) - len(rows)
    left = f"; {more:,} more are not shown" if more else ""
    columns = [
        "cell",
        "lambda",
        "points behind it",
        "behind the truly best at most (95 %, all at once)",
    ]
    title = f"Cells that cannot be told from the best, in points of accuracy{left}"
    return [Table(title, columns, rows, order.index(judgement.best))]


def why_cut(experiment: Experiment) -> list[str]:
    """Return by which rule cells are cut; nothing where none is."""
    told = parse(experiment.definition.pruner)
    if told.name == NONE:
        return []
    if told.name != HALVING:
        return [
            f"Cells are cut by Optuna's pruner {experiment.definition.pruner} at the end of a cycle."
        ]
    eta, confidence = told.parameters["eta"], told.parameters["confidence"]
    whom = "of the study" if experiment.search is None else "of a generation"
    ties = "go to the lower cell"
    if experiment.ties_go_on:
        ties = "go on" if experiment.search is None else "go on as long as the budget pays for it"
    lines = [
        f"At the end of a cycle the cells {whom} that are left are compared by their validation accuracy "
        f"there, and one in {eta:g} goes on (successive halving); ties {ties}. A cut cell "
        "was never trained to its end, so it cannot win."
    ]
    if confidence:
        lines.append(
            f"Only cells that are behind by more than chance, at {confidence:.0%}, are cut."
        )
    return lines


def of_cuts(
    experiment: Experiment, results: Sequence[Result], judgement: Judgement | None
) -> Table | None:
    """Return what was cut, when and with what; None if nothing was."""
    losers = cut.cells(experiment, results)
    if not losers:
        return None
    unsure = _unsure(judgement)
    order = sorted(losers, key=lambda cell: (losers[cell].cycle, cell))
    rows = []
    for cell in order[:MOST]:
        value = losers[cell].value
        rows.append(
            [
                str(cell),
                *(_shown(one) for one in experiment.cells[cell].values()),
                str(losers[cell].cycle),
                "none" if value is None else f"{value:.4f}",
                unsure.get(cell, "not known"),
            ]
        )
    more = len(order) - len(rows)
    left = f"; {more:,} more are in the export" if more else ""
    columns = [
        "cell",
        *experiment.parameters,
        "cut after cycle",
        "validation accuracy there",
        "may have been the best there (95 %)",
    ]
    return Table(f"Cells that were cut{left}", columns, rows)


def _unsure(judgement: Judgement | None) -> dict[int, str]:
    found: dict[int, str] = {}
    for one in judgement.cuts if judgement else ():
        if one.unsure is not None:
            found |= {cell: "yes" if cell in one.unsure else "no" for cell in one.cells}
    return found


def _shown(value: float | int | str) -> str:
    return short(value) if isinstance(value, float) else str(value)
