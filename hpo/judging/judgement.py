"""What the stored results of a study are worth: who wins, by how much, and how sure that is.

Only cells take part that are complete in every replicate; `hpo.judging.statistics` and
`hpo.judging.chances` do the sums. Curves are not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.experiment.experiment import Experiment
from hpo.experiment.records import Result, Slot, StoredStudy
from hpo.judging import chances as winner
from hpo.judging import statistics
from hpo.judging.ranking import compared
from hpo.judging.statistics import Interval, mean_accuracy

WORTH = 0.005  #: the difference that it should be possible to see: half a point
N_DRAWS = 10_000  #: repetitions of the study; they leave a chance uncertain by half a per cent
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
    accuracy: Interval  #: of the best cell, as measured
    corrected: float  #: the same without the advantage of having been chosen
    contenders: dict[int, Interval]  #: how far each cell that may be the best is behind
    chances: dict[int, float]  #: of each of them to be the best
    parsimonious: int  #: the cell of the largest lambda within one standard error
    separation: winner.Separation | None  #: None with one replicate or without another contender
    #: Mean of the best cell over the replicates that did not choose the finalists; None without.
    unchosen: float | None = None


def judge(
    study: StoredStudy, results: list[Result], hits_of: dict[Slot, NDArray[np.bool_]]
) -> Judgement | None:
    """Compare the complete cells of a study; None if there is none, or no bits to compare.

    Args:
        hits_of: Which validation images each network got right, as `hpo.database.hits` reads them.
    """
    experiment = study.experiment
    lambdas = experiment.lambdas
    n_base = experiment.definition.replicates
    chosen, n_replicates = compared(results, experiment)
    cells = [c for c in chosen if all(Slot(c, r) in hits_of for r in range(n_replicates))]
    if not cells or study.experiment.data.n_validation < 2:
        return None
    hits = np.array([[hits_of[Slot(cell, r)] for r in range(n_replicates)] for cell in cells])
    layout = statistics.layout_of(hits)
    close = statistics.contenders(layout)
    behind = statistics.behind_best(layout)
    chances = winner.chances(layout, close, rng=np.random.default_rng(0), n_draws=N_DRAWS)
    separable = n_replicates > 1 and len(close) > 1
    return Judgement(
        n_replicates=n_replicates,
        n_images=layout.n_images,
        n_compared=len(cells),
        best=cells[layout.best],
        accuracy=mean_accuracy(hits[layout.best]),
        corrected=float(layout.means[layout.best]) - chances.optimism,
        contenders={cells[c]: behind[c] for c in close},
        chances={cells[c]: float(p) for c, p in zip(close, chances.of_cells, strict=True)},
        parsimonious=cells[statistics.parsimonious(layout, [lambdas[c] for c in cells])],
        separation=winner.separation(layout, close, WORTH) if separable else None,
        unchosen=float(hits[layout.best, n_base:].mean()) if n_replicates > n_base else None,
    )


def in_words(judgement: Judgement, experiment: Experiment) -> list[str]:
    """Return what there is to say of the best cell, in lines."""
    accuracy = judgement.accuracy
    scope = (
        "other images and other seeds"
        if accuracy.covers_seeds
        else "other images only: one replicate says nothing of other seeds"
    )
    first = f"95 % interval {accuracy.low:.4f} to {accuracy.high:.4f}, for {scope}"
    if judgement.n_compared == 1:
        return [first]
    lambdas = experiment.lambdas
    is_grid = experiment.search is None
    others = [cell for cell in judgement.contenders if cell != judgement.best]
    what = "cells" if judgement.unchosen is None else f"finalists of {len(lambdas)} cells"
    lines = [
        first,
        f"corrected for having been chosen from {judgement.n_compared} {what}: "
        f"{judgement.corrected:.4f}",
    ]
    if judgement.unchosen is not None:
        n_new = judgement.n_replicates - experiment.definition.replicates
        seeds = "the seed" if n_new == 1 else f"the {n_new} seeds"
        lines.append(
            f"over {seeds} that had no part in choosing finalists: {judgement.unchosen:.4f}"
        )
    if not others:
        other = "cell" if judgement.unchosen is None else "finalist"
        return [*lines, f"it can be told from every other {other} at 95 %"]
    names = _listed([f"{lambdas[cell]:.4g}" if is_grid else str(cell) for cell in others])
    kind = "lambda" if is_grid else "cell" if len(others) == 1 else "cells"
    lines.append(f"{kind} {names} cannot be told from it at 95 %; {_remedy(judgement)}")
    lines += _table(judgement, lambdas)
    if not is_grid:  # the largest lambda is the simplest network only if all else is equal
        return lines
    simple = judgement.parsimonious
    same = ", which is the best cell" if simple == judgement.best else ""
    lines.append(
        f"largest lambda within one standard error of the best: {lambdas[simple]:.4g} "
        f"(cell {simple}){same}"
    )
    return lines


def _remedy(judgement: Judgement) -> str:
    """Return what it takes to tell the contenders apart."""
    found = judgement.separation
    points = f"a difference of {100 * WORTH:g} points"
    if found is None:
        return f"a second replicate would tell how many more separate {points}"
    if found.n_more is None and found.images_alone < WORTH:
        return f"more than {winner.MOST} more replicates would separate {points}"
    if found.n_more is None:
        return (
            f"no number of replicates separates {points}, because {judgement.n_images} images "
            f"alone leave {100 * found.images_alone:.2f} open: more images are needed"
        )
    if found.n_more == 0:
        return f"{points} would show"
    more = "1 more replicate" if found.n_more == 1 else f"{found.n_more} more replicates"
    return f"{more} would separate {points}"


def _table(judgement: Judgement, lambdas: Sequence[float]) -> list[str]:
    """Return a line a contender, the most probable first."""
    chances = judgement.chances
    order = sorted(chances, key=lambda cell: (-chances[cell], cell))
    lines = [
        f"{'cell':>4}  {'lambda':<10}  chance of being the best  points behind (95 % interval, each alone)"
    ]
    for cell in order[:SHOWN]:
        behind = judgement.contenders[cell]
        gap = f"{100 * behind.value:.2f} ({100 * behind.low:.2f} to {100 * behind.high:.2f})"
        shown = "" if cell == judgement.best else gap
        chance = f"{100 * chances[cell]:>22.0f} %"
        lines.append(f"{cell:>4}  {lambdas[cell]:<10.4g}  {chance}  {shown}".rstrip())
    rest = order[SHOWN:]
    if rest:
        together = 100 * sum(chances[cell] for cell in rest)
        lines.append(f"and {len(rest)} more with a chance of {together:.0f} % together")
    return lines


def _listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them, the first ten of many."""
    if len(names) > SHOWN:
        return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
