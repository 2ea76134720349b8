"""Whether what `hpo best` and `hpo run final` print keeps what it promises, where the truth is known.

    OPENBLAS_NUM_THREADS=1 python tests/benchmarks/coverage.py [SIMULATIONS]

Prints the tables of docs/statistics.md: from subsamples of really trained networks' right answers
(`real_bits.py`), and from a generator fitted to all of them (`latent.py`).
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import halving
import numpy as np
import pairs
from latent import Floats, Population, Search, alike
from numpy.typing import NDArray
from real_bits import Subsamples, kept, part

from hpo.judging import comparisons, statistics, winner
from hpo.judging.statistics import layout_of

FEW, MANY = (
    0.001,
    0.003,
)  #: luck of a seed with one cell, and with all: what real ones show, and allow
Make = Callable[[np.random.Generator], Population]
Drawn = tuple[NDArray[np.bool_], Floats, Callable[[Floats], Floats]]
Draw = Callable[[np.random.Generator], Drawn]


@dataclass(frozen=True)
class Setting:
    """Searches of one kind, as the tables name them."""

    bits: str
    n_cells: int
    n_images: int
    n_replicates: int
    luck: str
    accuracies: str
    draw: Draw  #: right answers, the truth, and what is done to means

    def named(self) -> str:
        """Return the first columns of a row."""
        return (
            f"{self.bits} | {self.n_cells} | {self.n_images:,} | {self.n_replicates} | {self.luck} | "
            f"{self.accuracies}"
        )


def real(n_replicates: int, n_images: int, cells: slice, name: str) -> Setting:
    """Return searches that are parts of the bits that were kept."""
    samples = Subsamples(n_replicates, n_images, cells)

    def draw(
        rng: np.random.Generator,
    ) -> Drawn:
        return samples.hits(rng), samples.accuracies, samples.stretched

    n_cells = len(samples.accuracies)
    return Setting("real", n_cells, n_images, n_replicates, "as it is", name, draw)


def made(
    make: Make,
    name: str,
    n_replicates: int,
    luck: float = FEW,
    n_images: int = 5000,
) -> Setting:
    """Return searches of populations that are drawn."""
    if n_replicates == 1:
        luck = 0.0

    def draw(
        rng: np.random.Generator,
    ) -> Drawn:
        search = Search(make(rng), n_replicates, luck, luck, n_images)
        return search.hits(rng), search.accuracies, lambda means: means

    n_cells = len(make(np.random.default_rng(0)).accuracies)
    return Setting("fitted", n_cells, n_images, n_replicates, f"{100 * luck:g}", name, draw)


def drawn(n_cells: int, deviation: float, mean: float = 0.43) -> Make:
    """Return cells whose accuracies are normal numbers, as correlated as small lambdas are."""
    found = kept().at_the_end
    near = part(found, np.arange(5))
    same = float(near.same_seed[~np.eye(5, dtype=np.bool_)].mean())
    other = float(near.other_seed.mean())

    def make(rng: np.random.Generator) -> Population:
        accuracies = mean + deviation * rng.standard_normal(n_cells)
        return alike(np.clip(accuracies, 0.01, 0.995), same, other)

    return make


def of_settings() -> list[Setting]:
    """Return what the first table is about."""
    grid, all_, small = kept().at_the_end, slice(0, 8), slice(0, 5)
    close = part(grid, np.arange(5))
    found = [
        *(real(r, 500, all_, "8 lambdas") for r in (1, 2, 3)),
        *(real(r, 500, small, "5 small lambdas") for r in (1, 3)),
        *(made(lambda _: grid, "8 lambdas", r, n_images=500) for r in (1, 3)),
        *(made(lambda _: grid, "8 lambdas", r) for r in (1, 3, 10)),
        *(made(lambda _: close, "5 small lambdas", r) for r in (1, 3, 10)),
        made(lambda _: close, "5 small lambdas", 3, MANY),
    ]
    for n_cells in (2, 8, 50):
        found += [made(drawn(n_cells, 0.003), "drawn, deviation 0.3", r) for r in (1, 3)]
        found += [made(drawn(n_cells, 0.01), "drawn, deviation 1", r) for r in (1, 3)]
        found += [made(drawn(n_cells, 0.0), "equal", r) for r in (1, 3)]
    found.append(made(drawn(2, 0.003), "drawn, deviation 0.3", 2, MANY))
    found += [made(drawn(k, 0.01, 0.95), "drawn about 95 %", 1, n_images=300) for k in (8, 50)]
    return found


def judged(setting: Setting, n: int, seed: int) -> str:
    """Return a row: what is printed of the winner and of the contenders, and how true it is."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        hits, truth, stretched = setting.draw(rng)
        layout = layout_of(hits)
        layout = replace(layout, means=stretched(layout.means))
        best = layout.best
        close = comparisons.contenders(layout)
        luck = winner.luck(layout, close, rng=rng, n_draws=1000)
        moved = float(layout.means[best] - hits[best].mean())
        plain, own = (statistics.mean_accuracy(hits[best], x) for x in (0.0, luck))
        behind = comparisons.behind_best(layout, close)
        bounds = [truth.max() - truth[c] <= b.most for c, b in zip(close, behind, strict=True)]
        found.append(
            (
                100 * (layout.means[best] - truth[best]),
                100 * (layout.means[best] - luck - truth[best]),
                plain.low <= truth[best] - moved <= plain.high,
                own.low <= truth[best] - moved <= own.high,
                int(truth.argmax()) in close,
                all(bounds),
                len(close),
                100 * np.median([b.most for b in behind]),
            )
        )
    above, left, before, own_, inside, bounded, size, most = np.mean(found, axis=0)
    return (
        f"| {setting.named()} | {above:+.2f} | {left:+.2f} | {before:.1%} | {own_:.1%} | {inside:.1%} | "
        f"{bounded:.1%} | {size:.1f} | {most:.2f} |"
    )


def final(n_replicates: int, luck: float, n: int, seed: int) -> str:
    """Return a row: coverage of the interval over 10,000 test images."""
    cell = part(kept().at_the_end, np.array([4]))
    search = Search(cell, n_replicates, luck, 0.0, 10_000)
    rng = np.random.default_rng(seed)
    found = [statistics.mean_accuracy(search.hits(rng)[0]) for _ in range(n)]
    truth = search.accuracies[0]
    covered = np.mean([f.low <= truth <= f.high for f in found])
    width = 100 * np.median([f.high - f.low for f in found]) / 2
    return f"| {n_replicates} | {100 * luck:g} | {covered:.1%} | {width:.2f} |"


def separated(n_cells: int, n_replicates: int, n: int, seed: int) -> str:
    """Return a row: how often a cell 0.5 points behind leaves the list after what was announced."""
    rng = np.random.default_rng(seed)
    population = drawn(n_cells, 0.0)(rng)
    population.accuracies[1] -= 0.005
    announced, gone = [], []
    for _ in range(n):
        layout = layout_of(Search(population, n_replicates).hits(rng))
        cells = comparisons.contenders(layout)
        if len(cells) > 1:
            more = winner.separation(layout, cells, 0.005).n_more
            announced.append(np.inf if more is None else more)
    more = int(np.median(announced))
    for _ in range(max(1, n // 4)):
        layout = layout_of(Search(population, n_replicates + more).hits(rng))
        gone.append(1 not in comparisons.contenders(layout))
    return f"| {n_cells} | {n_replicates} | {more} | {np.mean(gone):.0%} |"


def main(n: int) -> None:
    """Print the tables."""
    head = "bits | cells | images | R | luck of seeds | accuracies | mean above truth | corrected"
    more = "interval as measured | interval printed | best in the set | all bounds at once"
    _head(f"{head} | {more} | cells in the set | bound, points")
    for place, setting in enumerate(of_settings()):
        few = n if setting.n_cells < 50 else n // 4
        print(judged(setting, few, seed=place), flush=True)
    _head("R | luck of seeds | coverage of the test interval | half width, points")
    for n_replicates in (1, 2, 3, 5):
        for luck in (0.0,) if n_replicates == 1 else (0.0, FEW, MANY, 0.007, 0.01):
            print(final(n_replicates, luck, n, seed=n_replicates), flush=True)
    _head("cells | R | more replicates announced | leaves the list")
    for n_cells in (2, 8, 20):
        for n_replicates in (3, 5):
            print(separated(n_cells, n_replicates, n // 5, seed=n_cells), flush=True)
    _head("R | luck of seeds | method | coverage | by pair | half width, points")
    for n_replicates, luck in ((2, MANY), (3, FEW), (3, MANY), (3, 0.01), (10, FEW)):
        search = Search(kept().at_the_end, n_replicates, FEW, luck)
        rows = pairs.rows(search, n, seed=n_replicates)
        rows["two-way bootstrap"] = pairs.bootstrap(search, n // 5, seed=n_replicates)
        for method, row in rows.items():
            print(f"| {n_replicates} | {100 * luck:g} | {method} | {row} |", flush=True)
    halving.print_tables(n)


def _head(columns: str) -> None:
    print(f"\n| {columns} |", "|" + "---|" * (columns.count("|") + 1), sep="\n", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
