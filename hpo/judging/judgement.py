"""What the stored results of a study are worth: who wins, by how much, and how sure that is.

Only cells take part that are complete in every replicate; `hpo.judging.statistics` and
`hpo.judging.winner` do the sums. Curves are not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Result, Slot, StoredStudy
from hpo.judging import comparisons, many, winner
from hpo.judging.comparisons import Behind
from hpo.judging.cuts import AtRungs, Cut, cuts
from hpo.judging.ranking import compared
from hpo.judging.statistics import Interval, mean_accuracy

WORTH = 0.005  #: the difference that it should be possible to see: half a point
N_DRAWS = 4000  #: repetitions of the study; they leave its luck uncertain by a fiftieth
SHOWN = 10  #: contenders that are listed at most


@dataclass(frozen=True)
class Judgement:
    """The cells of a study that could be compared, and what came of it.

    >>> import hpo, tempfile
    >>> quick = hpo.StudyDefinition(name="quick", grid=hpo.Values((1e-3, 1e-2)), n_s=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     url = f"sqlite:///{folder}/hpo.db"
    ...     judgement = hpo.run(quick, data="digits", storage=url).judgement()
    >>> judgement.n_compared, judgement.n_images, judgement.best in judgement.contenders
    (2, 300, True)
    """

    n_replicates: int
    n_images: int
    n_compared: int  #: cells
    best: int  #: the cell with the highest mean
    measured: float  #: accuracy of the best cell, too high because the cell was chosen for it
    accuracy: Interval  #: the same without the advantage of having been chosen
    contenders: dict[int, Behind]  #: the cells that may be the best, and how far each is behind
    parsimonious: int  #: the cell of the largest lambda within one standard error
    separation: winner.Separation | None  #: None with one replicate or without another contender
    are_finalists: bool = False  #: whether those that were compared had been chosen from more
    cuts: tuple[Cut, ...] = ()  #: what was cut after each cycle, and what of it may be the best


def judge(
    study: StoredStudy,
    results: list[Result],
    hits_of: dict[Slot, NDArray[np.bool_]],
    at_rungs: AtRungs,
) -> Judgement | None:
    """Compare the complete cells of a study; None if there is none, or no bits to compare.

    Args:
        hits_of: Which validation images each network got right, as `hpo.database.hits` reads them.
        at_rungs: The same after cycles that cells were cut at.
    """
    experiment = study.experiment
    lambdas = experiment.lambdas
    chosen, n_replicates = compared(results, experiment)
    cells = [c for c in chosen if all(Slot(c, r) in hits_of for r in range(n_replicates))]
    if not cells or study.experiment.data.n_validation < 2:
        return None
    hits = np.array([[hits_of[Slot(cell, r)] for r in range(n_replicates)] for cell in cells])
    layout = many.of_hits(hits)
    close = comparisons.contenders(layout)
    rng = np.random.default_rng(0)
    if isinstance(layout, many.ManyCells):
        luck = many.luck(layout, close, rng=rng, n_draws=N_DRAWS // 4)
        behind = many.behind_best(layout, close)
    else:
        luck = winner.luck(layout, close, rng=rng, n_draws=N_DRAWS)
        behind = comparisons.behind_best(layout, close)
    separable = n_replicates > 1 and len(close) > 1
    return Judgement(
        n_replicates=n_replicates,
        n_images=layout.n_images,
        n_compared=len(cells),
        best=cells[layout.best],
        measured=float(layout.means[layout.best]),
        accuracy=mean_accuracy(hits[layout.best], luck),
        contenders={cells[c]: how_far for c, how_far in zip(close, behind, strict=True)},
        parsimonious=cells[comparisons.parsimonious(layout, [lambdas[c] for c in cells])],
        separation=winner.separation(layout, close, WORTH) if separable else None,
        are_finalists=n_replicates > experiment.definition.replicates,
        cuts=cuts(results, at_rungs, experiment.replicates_at_rungs),
    )


def in_words(judgement: Judgement, experiment: Experiment, *, with_table: bool = True) -> list[str]:
    """Return what there is to say of the best cell, in lines, and of what was cut.

    Args:
        with_table: Whether the contenders are listed, a line each.
    """
    return _of_the_best(judgement, experiment, with_table) + [
        _of_a_cut(cut, experiment) for cut in judgement.cuts
    ]


def _of_the_best(judgement: Judgement, experiment: Experiment, with_table: bool) -> list[str]:
    accuracy = judgement.accuracy
    scope = (
        "other images and other seeds"
        if accuracy.covers_seeds
        else "other images only: one replicate says nothing of other seeds"
    )
    interval = f"95 % interval {accuracy.low:.4f} to {accuracy.high:.4f}, for {scope}"
    if judgement.n_compared == 1:
        return [interval]
    lambdas = experiment.lambdas
    is_grid = experiment.search is None
    others = [cell for cell in judgement.contenders if cell != judgement.best]
    what, beside = "cells", ""
    if judgement.are_finalists:
        what = f"finalists of {len(lambdas)} cells"
        beside = " (not for the choice of the finalists)"
    lines = [
        f"corrected for having been chosen from {judgement.n_compared} {what}{beside}: "
        f"{accuracy.value:.4f}",
        interval,
    ]
    if not others:
        other = "finalist" if judgement.are_finalists else "cell"
        return [*lines, f"it can be told from every other {other} at 95 %"]
    names = _named(others, experiment)
    lines.append(f"{names} cannot be told from it at 95 %; {_remedy(judgement)}")
    lines += _table(judgement, lambdas) if with_table else []
    if not is_grid:  # the largest lambda is the simplest network only if all else is equal
        return lines
    simple = judgement.parsimonious
    same = ", which is the best cell" if simple == judgement.best else ""
    lines.append(
        f"largest lambda within one standard error of the best: {lambdas[simple]:.4g} "
        f"(cell {simple}){same}"
    )
    return lines


def _of_a_cut(cut: Cut, experiment: Experiment) -> str:
    """Return what a cut may have cost."""
    n = len(cut.cells)
    what = (
        f"{n} of {cut.n_compared} cells {'was' if n == 1 else 'were'} cut after cycle {cut.cycle}"
    )
    if cut.unsure is None:
        return f"{what}; whether the best was among them is not known, as no bits of them were kept"
    if not cut.unsure:
        return f"{what}; the best there, at 95 %, was not among them"
    names = _named(cut.unsure, experiment)
    return f"{what}; {names} could not be told from the best there at 95 %, and may have been it"


def _named(cells: Sequence[int], experiment: Experiment) -> str:
    """Return ``lambda 0.01 and 0.1`` of a grid, ``cells 3 and 4`` of a search."""
    if experiment.search is None:
        return f"lambda {_listed([f'{experiment.lambdas[cell]:.4g}' for cell in cells])}"
    return f"{'cell' if len(cells) == 1 else 'cells'} {_listed(list(map(str, cells)))}"


def _remedy(judgement: Judgement) -> str:
    """Return what it takes to tell the contenders apart."""
    found = judgement.separation
    points = f"a cell that is {100 * WORTH:g} points behind"
    if found is None:
        return f"a second replicate would tell how many more separate {points}"
    how_surely = "in 3 of 4 searches or more"
    if found.n_more is None and found.images_alone < WORTH:
        return f"more than {winner.MOST} more replicates would separate {points} {how_surely}"
    if found.n_more is None:
        return (
            f"no number of replicates separates {points} {how_surely}, because {judgement.n_images} "
            f"images alone leave {100 * found.images_alone:.2f} open: more images are needed"
        )
    if found.n_more == 0:
        return f"{points} would be separated {how_surely}"
    more = "1 more replicate" if found.n_more == 1 else f"{found.n_more} more replicates"
    return f"{more} would separate {points} {how_surely}"


def _table(judgement: Judgement, lambdas: Sequence[float]) -> list[str]:
    """Return a line a contender, the nearest first."""
    behind = judgement.contenders
    order = sorted(behind, key=lambda cell: (behind[cell].value, cell != judgement.best, cell))
    lines = [
        f"{'cell':>4}  {'lambda':<10}  points behind it  behind the truly best at most (95 %, all at once)"
    ]
    for cell in order[:SHOWN]:
        value, most = f"{100 * behind[cell].value:.2f}", f"{100 * behind[cell].most:.2f}"
        lines.append(f"{cell:>4}  {lambdas[cell]:<10.4g}  {value:>16}  {most:>29}")
    rest = order[SHOWN:]
    if rest:
        furthest = 100 * max(behind[cell].most for cell in rest)
        lines.append(f"and {len(rest)} more, behind the truly best by {furthest:.2f} at most")
    return lines


def _listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them, the first ten of many."""
    if len(names) > SHOWN:
        return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
