"""What `hpo best` promises, on right answers of really trained networks (tests/benchmarks/real_bits.py)."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hpo.judging import comparisons, statistics, winner
from hpo.judging.statistics import layout_of

FILE = Path(__file__).parents[2] / "benchmarks" / "real_bits.npz"
N_IMAGES, N_SEARCHES = 500, 300
Bits = NDArray[np.bool_]


@pytest.fixture(scope="module")
def bits() -> Bits:
    """Networks of the five smallest lambdas after their last cycle, shape (cells, seeds, images)."""
    with np.load(FILE) as file:
        return np.unpackbits(file["bits"][8:13], axis=2, count=4000).astype(np.bool_)


@pytest.fixture(params=[1, 3])
def searches(request: pytest.FixtureRequest, bits: Bits) -> list[Bits]:
    """Searches of so many seeds, none of them with more than an eighth of the images."""
    rng = np.random.default_rng(request.param)
    _, n_seeds, n_images = bits.shape
    return [
        bits[:, rng.choice(n_seeds, request.param, replace=False)][
            :, :, rng.choice(n_images, N_IMAGES, replace=False)
        ]
        for _ in range(N_SEARCHES)
    ]


def test_the_winner_is_where_its_interval_says(bits: Bits, searches: list[Bits]) -> None:
    truth = bits.mean(axis=(1, 2))
    above, left, covered = [], [], []
    for hits in searches:
        layout = layout_of(hits)
        close = comparisons.contenders(layout)
        luck = winner.luck(layout, close, rng=np.random.default_rng(0), n_draws=1000)
        found = statistics.mean_accuracy(hits[layout.best], luck)
        above.append(layout.means[layout.best] - truth[layout.best])
        left.append(found.value - truth[layout.best])
        covered.append(found.low <= truth[layout.best] <= found.high)

    assert np.mean(above) > 0.004  # too high by half a point or more
    assert abs(np.mean(left)) < 0.5 * np.mean(above)
    assert 0.93 < np.mean(covered) < 0.995  # nearer than if images had no end


def test_the_truly_best_is_named_and_no_cell_is_further_behind_than_said(
    bits: Bits, searches: list[Bits]
) -> None:
    truth = bits.mean(axis=(1, 2))
    named, bounded = [], []
    for hits in searches:
        layout = layout_of(hits)
        close = comparisons.contenders(layout)
        behind = comparisons.behind_best(layout, close)
        named.append(int(truth.argmax()) in close)
        bounded.append(
            all(truth.max() - truth[c] <= b.most for c, b in zip(close, behind, strict=True))
        )

    assert np.mean(named) >= 0.95
    assert np.mean(bounded) >= 0.95
