"""Whether the intervals of `hpo.judging.statistics` keep what they promise, on searches of known truth.

    OPENBLAS_NUM_THREADS=1 python tests/benchmarks/coverage.py [SIMULATIONS]

Prints the tables of docs/statistics.md (3 minutes on one core for 2,000 simulations). With
``fit DATABASE STUDY`` it prints the correlations in `latent.py` from the stored bits of a study.
"""

import sys
from collections import defaultdict
from collections.abc import Callable

import latent
import numpy as np
from latent import ACCURACIES, Search
from numpy.typing import NDArray

from hpo.judging import chances as winner
from hpo.judging import statistics
from hpo.judging.statistics import Layout

CLOSE = 0.512 + np.array((-0.004, -0.002, -0.001, 0.0, 0.001, 0.002, -0.001, -0.003))
EQUAL = np.full(8, 0.512)
FIRST, SECOND = np.triu_indices(8, 1)
N_BOOTSTRAPS = 500  #: resamples of a bootstrap interval
Half = tuple[NDArray[np.float64], NDArray[np.float64]]  #: differences, half widths; shape (pairs,)

FEW, MANY = 0.001, 0.003  #: luck of a seed with one cell: what five real ones show, and allow
UNEVEN = np.array((FEW, FEW, FEW, FEW, 0.006, FEW, FEW, FEW))


def ours(layout: Layout) -> Half:
    """The interval of `statistics.difference`, for all pairs at once."""
    parts = layout.of_differences(FIRST, SECOND)
    half = statistics.quantile(parts.freedom()) * np.sqrt(parts.variance())
    return layout.means[FIRST] - layout.means[SECOND], half


def alone(layout: Layout) -> Half:
    """The same from two cells, the others unseen."""

    def contrast(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        own = sums[FIRST, FIRST] + sums[SECOND, SECOND]
        return np.asarray(own - 2 * sums[FIRST, SECOND])

    seeds, images, residual = layout.freedoms
    n = layout.n_replicates * layout.n_images
    left = contrast(layout.residual) / residual / n**2
    parts = statistics.Parts(
        np.maximum(contrast(layout.seeds) / seeds / n**2, statistics.LEAST * left),
        contrast(layout.images) / images / n**2,
        left,
        (seeds, images, residual),
    )
    half = statistics.quantile(parts.freedom()) * np.sqrt(parts.variance())
    return layout.means[FIRST] - layout.means[SECOND], half


def images_only(layout: Layout) -> Half:
    """The means over seeds compared as if there were no others."""
    n = layout.n_replicates * layout.n_images
    sums = layout.images
    of_images = sums[FIRST, FIRST] + sums[SECOND, SECOND] - 2 * sums[FIRST, SECOND]
    variance = of_images / (layout.n_images - 1) / n**2
    return layout.means[FIRST] - layout.means[SECOND], 1.96 * np.sqrt(variance)


METHODS: dict[str, Callable[[Layout], Half]] = {
    "ours": ours,
    "two cells alone": alone,
    "images only": images_only,
}
OURS = {"ours": ours}


def pairs(
    search: Search, methods: dict[str, Callable[[Layout], Half]], n: int, seed: int
) -> dict[str, str]:
    """Return a row by method: coverage of all pairs and of each, width; for ours also the set."""
    truth = search.accuracies[FIRST] - search.accuracies[SECOND]
    best = int(search.accuracies.argmax())
    rng = np.random.default_rng(seed)
    covered, width = defaultdict(list), defaultdict(list)
    inside, size, single = [], [], []
    for _ in range(n):
        hits = search.hits(rng)
        layout = statistics.layout_of(hits)
        for name, method in methods.items():
            difference, half = method(layout)
            covered[name].append(np.abs(difference - truth) <= half)
            width[name].append(half[0])
        found = statistics.contenders(layout)
        inside.append(best in found)
        size.append(len(found))
        accuracy = statistics.mean_accuracy(hits[best])
        single.append(accuracy.low <= search.accuracies[best] <= accuracy.high)
    rows = {name: _row(covered[name], width[name]) for name in methods}
    rows["ours"] += f" | {np.mean(single):.1%} | {np.mean(inside):.1%} | {np.mean(size):.1f}"
    return rows


def bootstrap(search: Search, n: int, seed: int) -> str:
    """Return a row: coverage of the percentiles of a two-way bootstrap, for neighbouring cells."""
    rng = np.random.default_rng(seed)
    n_replicates, n_images = search.n_replicates, search.n_images
    seeds = rng.multinomial(n_replicates, np.full(n_replicates, 1 / n_replicates), N_BOOTSTRAPS)
    images = rng.multinomial(n_images, np.full(n_images, 1 / n_images), N_BOOTSTRAPS)
    truth = -np.diff(search.accuracies)
    covered, width = [], []
    for _ in range(n):
        hits = search.hits(rng).astype(np.float32)
        differences = hits[:-1] - hits[1:]  # (pairs, replicates, images)
        by_seed = differences @ (images.T / n_images).astype(np.float32)
        means = np.einsum("prb,br->pb", by_seed, seeds / n_replicates)
        low, high = np.quantile(means, (0.025, 0.975), axis=1)
        covered.append((low <= truth) & (truth <= high))
        width.append((high - low)[0] / 2)
    return _row(covered, width)


def _row(covered: list[NDArray[np.bool_]], width: list[float]) -> str:
    by_pair = np.mean(covered, axis=0)
    return (
        f"{by_pair.mean():.1%} | {by_pair.min():.1%} to {by_pair.max():.1%} | "
        f"{100 * np.median(width):.2f}"
    )


def winners(
    make: Callable[[np.random.Generator], NDArray[np.float64]], n_replicates: int, n: int
) -> str:
    """Return a row: how optimistic the winner's mean is, and how true the chances are."""
    rng = np.random.default_rng(3)
    own = FEW if n_replicates > 1 else 0.0
    optimism, left, promised, kept, lost, lost_simply = [], [], [], [], [], []
    for _ in range(n):
        truth = make(rng)
        layout = statistics.layout_of(Search(truth, n_replicates, own, own).hits(rng))
        best = layout.best
        found = statistics.contenders(layout)
        chances = winner.chances(layout, found, rng=rng, n_draws=1000)
        optimism.append(layout.means[best] - truth[best])
        left.append(optimism[-1] - chances.optimism)
        promised.append(chances.of_cells[found.index(best)])
        kept.append(truth[best] == truth.max())
        simple = statistics.parsimonious(layout, range(8))
        lost.append(truth.max() - truth[best])
        lost_simply.append(truth.max() - truth[simple])
    return (
        f"{100 * np.mean(optimism):+.2f} | {100 * np.mean(left):+.2f} | {np.mean(promised):.0%} | "
        f"{np.mean(kept):.0%} | {100 * np.mean(lost):.2f} | {100 * np.mean(lost_simply):.2f}"
    )


def main(n: int) -> None:
    """Print the tables."""
    settings = [
        (1, "none", 0.0, "coarse", ACCURACIES),
        (1, "none", 0.0, "close", CLOSE),
        *((r, "0.1", FEW, "coarse", ACCURACIES) for r in (3, 5, 10)),
        *((r, "0.3", MANY, "coarse", ACCURACIES) for r in (3, 5, 10)),
        *((r, "0.3", MANY, "close", CLOSE) for r in (3, 5, 10)),
        *((r, "0.3", MANY, "equal", EQUAL) for r in (3, 5, 10)),
        (2, "0.3", MANY, "coarse", ACCURACIES),
        (3, "1", 0.01, "coarse", ACCURACIES),
        (3, "uneven", UNEVEN, "coarse", ACCURACIES),
    ]
    first, second = [], []
    for place, (n_replicates, luck, own, name, accuracies) in enumerate(settings):
        common = FEW if n_replicates > 1 else 0.0
        search = Search(accuracies, n_replicates, common, own)
        compared = METHODS if name == "coarse" and n_replicates > 1 else OURS
        rows = pairs(search, compared, n, seed=place)
        first.append(f"| {n_replicates} | {luck} | {name} | {rows.pop('ours')} |")
        if rows:
            few = max(1, n // 5)
            rows[f"two-way bootstrap ({few})"] = bootstrap(search, few, seed=place)
        second += [f"| {n_replicates} | {luck} | {method} | {rows[method]} |" for method in rows]
    head = "coverage | by pair | half width, points"
    more = "one cell's accuracy | best in the set | cells in the set"
    print(f"| R | luck of seeds | accuracies | {head} | {more} |", "|" + "---|" * 9, sep="\n")
    print("\n".join(first))
    print(f"\n| R | luck of seeds | method | {head} |", "|" + "---|" * 6, sep="\n")
    print("\n".join(second))
    print("\n| R | accuracies | winner's mean above its truth | after correction ", end="")
    print("| chance promised | kept | lost by the winner | by the parsimonious |\n|" + "---|" * 8)
    drawn: dict[str, Callable[[np.random.Generator], NDArray[np.float64]]] = {
        "coarse": lambda _: ACCURACIES,
        "equal": lambda _: EQUAL,
        "drawn, deviation 0.3": lambda rng: 0.512 + 0.003 * rng.standard_normal(8),
        "drawn, deviation 1": lambda rng: 0.512 + 0.01 * rng.standard_normal(8),
    }
    for n_replicates in (1, 3, 10):
        for name, make in drawn.items():
            print(
                f"| {n_replicates} | {name} | {winners(make, n_replicates, n // 2)} |", flush=True
            )


def show_fit(url: str, study: str) -> None:
    """Print what `latent.py` holds, from a study with several replicates."""
    from hpo.database.hits import hits_of
    from hpo.database.reader import read_once
    from hpo.mirror.study import stored

    found = read_once(url, lambda connection: hits_of(connection, stored(connection, study)))
    n_cells = 1 + max(slot.cell for slot in found)
    rows = [[bits for slot, bits in found.items() if slot.cell == c] for c in range(n_cells)]
    with np.printoptions(precision=4, suppress=True, linewidth=120):
        for array in latent.fit(np.array(rows)):
            print(array)


if __name__ == "__main__":
    if sys.argv[1:2] == ["fit"]:
        show_fit(*sys.argv[2:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
