"""Both protocols' randomness: pinned streams, independence, and the notebook's replay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.order import NotebookRandomness, StandardRandomness

NOTEBOOK_SEED = 65465168
SHAPE = (5, 4, 3)  # d, m, k


def replayed(
    seed: int, shape: tuple[int, int, int], n: int, runs: list[int]
) -> list[NDArray[np.intp]]:
    """What the notebook does in ``runs`` of so many epochs; the orders of the last run's epochs."""
    d, m, k = shape
    images = np.arange(n)
    orders: list[NDArray[np.intp]] = []
    for n_epochs in runs:
        random = np.random.RandomState(seed)
        random.normal(0, 1 / np.sqrt(d), size=(m, d))
        random.normal(0, 1 / np.sqrt(m), size=(k, m))
        orders = []
        for _ in range(n_epochs):
            images = images[random.permutation(n)]
            orders.append(images)
    return orders


def test_the_first_values_of_every_stream_of_seed_0_are_these() -> None:
    randomness = StandardRandomness(0, (4, 3, 2))
    network = randomness.network()

    np.testing.assert_allclose(network.w1[0], [0.39295338, -0.45997648, 0.73578947], atol=1e-8)
    np.testing.assert_allclose(network.w2[0], [-0.17412042, 0.40986801], atol=1e-8)
    assert randomness.order(0, 8).tolist() == [0, 6, 4, 2, 1, 7, 5, 3]
    assert randomness.order(3, 8).tolist() == [3, 4, 6, 7, 1, 2, 5, 0]
    assert randomness.flips(0, 12, 0.5).astype(int).tolist() == [1, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1]


def test_the_first_values_of_every_stream_of_replicate_2_of_seed_7_are_these() -> None:
    randomness = StandardRandomness(7, (4, 3, 2), replicate=2)
    network = randomness.network()

    np.testing.assert_allclose(network.w1[0], [0.24503605, -0.01782152, 0.42789144], atol=1e-8)
    np.testing.assert_allclose(network.w2[0], [-0.38838435, 0.38887336], atol=1e-8)
    assert randomness.order(0, 8).tolist() == [4, 5, 6, 0, 7, 2, 3, 1]
    assert randomness.order(3, 8).tolist() == [3, 0, 6, 1, 7, 5, 2, 4]
    assert randomness.flips(0, 12, 0.5).astype(int).tolist() == [0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 0]


def test_equal_seeds_give_equal_randomness() -> None:
    one, other = StandardRandomness(3, SHAPE, 1), StandardRandomness(3, SHAPE, 1)

    assert one.network().w1.tobytes() == other.network().w1.tobytes()
    assert one.order(6, 100).tolist() == other.order(6, 100).tolist()
    assert one.flips(6, 100, 0.3).tolist() == other.flips(6, 100, 0.3).tolist()


@pytest.mark.parametrize(
    ("other", "epoch"),
    [
        (StandardRandomness(0, SHAPE, 1), 0),  # another replicate
        (StandardRandomness(1, SHAPE, 0), 0),  # another seed
        (StandardRandomness(0, SHAPE, 0), 1),  # another epoch
    ],
)
def test_replicates_seeds_and_epochs_differ_in_order_and_flips(
    other: StandardRandomness, epoch: int
) -> None:
    seed_0 = StandardRandomness(0, SHAPE, 0)

    assert seed_0.order(0, 100).tolist() != other.order(epoch, 100).tolist()
    assert seed_0.flips(0, 100, 0.5).tolist() != other.flips(epoch, 100, 0.5).tolist()


@pytest.mark.parametrize(
    "other",
    [
        StandardRandomness(0, SHAPE, 1),  # another replicate
        StandardRandomness(1, SHAPE, 0),  # another seed, so 0 is a seed and not "no seed"
    ],
)
def test_replicates_and_seeds_differ_in_weights(other: StandardRandomness) -> None:
    seed_0 = StandardRandomness(0, (5, 4, 3), 0).network()

    assert not np.array_equal(seed_0.w1, other.network().w1)
    assert not np.array_equal(seed_0.w2, other.network().w2)


@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 50), n=st.integers(1, 60))
def test_an_order_holds_every_image_once(seed: int, epoch: int, n: int) -> None:
    assert sorted(StandardRandomness(seed, SHAPE).order(epoch, n)) == list(range(n))


@pytest.mark.parametrize(
    ("probability", "leeway"),
    [
        (0.0, 0),  # never
        (0.25, 130),  # three deviations of 43
        (1.0, 0),  # always
    ],
)
def test_flips_happen_with_their_probability(probability: float, leeway: int) -> None:
    flips = StandardRandomness(0, SHAPE).flips(0, 10_000, probability)

    assert abs(np.count_nonzero(flips) - 10_000 * probability) <= leeway


def test_initial_weights_have_the_deviation_of_their_number_of_inputs_and_no_biases() -> None:
    network = StandardRandomness(0, (400, 100, 50)).network()

    assert network.w1.std() == pytest.approx(1 / 20, rel=0.02)
    assert network.w2.std() == pytest.approx(1 / 10, rel=0.03)
    assert not network.b1.any()
    assert not network.b2.any()


def test_the_notebooks_network_is_its_first_draws_transposed() -> None:
    random = np.random.RandomState(NOTEBOOK_SEED)
    w1 = random.normal(0, 1 / np.sqrt(12), size=(5, 12))
    w2 = random.normal(0, 1 / np.sqrt(5), size=(3, 5))

    network = NotebookRandomness(NOTEBOOK_SEED, (12, 5, 3)).network()

    assert np.array_equal(network.w1, w1.T)
    assert np.array_equal(network.w2, w2.T)
    assert not network.b1.any()
    assert not network.b2.any()


@pytest.mark.parametrize(
    ("earlier_runs", "n_epochs"),
    [
        ((), 10),  # the first run of a loaded set: coarse cell 0, final
        ((8,), 8),  # coarse cell 1
        ((8, 8), 8),  # coarse cell 2
        ((10,), 48),  # the three cycles after the one
        ((8,) * 8 + (12, 12), 12),  # fine cell 2
        ((12, 3), 5),  # an earlier run that was longer
    ],
)
def test_the_notebooks_orders_are_its_permutations_of_the_order_left_behind(
    earlier_runs: tuple[int, ...], n_epochs: int
) -> None:
    randomness = NotebookRandomness(NOTEBOOK_SEED, (12, 5, 3), earlier_runs)

    orders = [randomness.order(epoch, 40).tolist() for epoch in range(n_epochs)]

    expected = replayed(NOTEBOOK_SEED, (12, 5, 3), 40, [*earlier_runs, n_epochs])
    assert orders == [order.tolist() for order in expected]


@given(epochs=st.permutations(range(9)), earlier_runs=st.sampled_from([(), (8, 8), (2, 20)]))
def test_epochs_of_the_notebook_may_be_asked_for_in_any_order(
    epochs: list[int], earlier_runs: tuple[int, ...]
) -> None:
    randomness = NotebookRandomness(NOTEBOOK_SEED, (12, 5, 3), earlier_runs)
    expected = replayed(NOTEBOOK_SEED, (12, 5, 3), 10, [*earlier_runs, 9])

    for epoch in epochs:
        assert randomness.order(epoch, 10).tolist() == expected[epoch].tolist()


def test_notebook_runs_with_other_seeds_differ() -> None:
    one, other = NotebookRandomness(0, SHAPE), NotebookRandomness(1, SHAPE)

    assert not np.array_equal(one.network().w1, other.network().w1)
    assert one.order(0, 40).tolist() != other.order(0, 40).tolist()


def test_the_notebook_never_flips() -> None:
    assert not NotebookRandomness(NOTEBOOK_SEED, SHAPE).flips(0, 100, 0.9).any()
