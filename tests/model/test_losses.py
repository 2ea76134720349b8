"""The losses: known values, stability, invariances, and gradients against differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.losses import Loss, losses, losses_and_gradient, sigmoid, softmax

BOTH = pytest.mark.parametrize("loss", list(Loss))


def scores_and_labels(
    n: int = 6, k: int = 5, spread: float = 3.0
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    rng = np.random.default_rng(0)
    return rng.normal(0, spread, (n, k)), rng.integers(0, k, n)


@pytest.mark.parametrize(
    ("loss", "scores", "label", "value"),
    [
        (Loss.CROSS_ENTROPY, [0, 0], 0, np.log(2)),  # undecided between two
        (Loss.CROSS_ENTROPY, [0] * 10, 7, np.log(10)),  # undecided between ten
        (Loss.CROSS_ENTROPY, [np.log(3), 0], 0, np.log(4 / 3)),  # three to one, and right
        (Loss.CROSS_ENTROPY, [np.log(3), 0], 1, np.log(4)),  # three to one, and wrong
        (Loss.BINARY_CROSS_ENTROPY, [0] * 10, 7, np.log(2)),  # each class undecided
        # p = 3/4 for the right class, 1/2 for the other: mean of ln 4/3 and ln 2
        (Loss.BINARY_CROSS_ENTROPY, [np.log(3), 0], 0, (np.log(4 / 3) + np.log(2)) / 2),
        # p = 3/4 for the wrong class, 1/2 for the right one: mean of ln 4 and ln 2
        (Loss.BINARY_CROSS_ENTROPY, [np.log(3), 0], 1, (np.log(4) + np.log(2)) / 2),
    ],
)
def test_losses_of_simple_scores_are_known(
    loss: Loss, scores: list[float], label: int, value: float
) -> None:
    assert losses(loss, np.array([scores], dtype=float), np.array([label])) == pytest.approx(value)


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_of_ten_thousand_overflow_nothing(loss: Loss, dtype: type) -> None:
    scores = np.array([[1e4, -1e4], [1e4, -1e4], [-1e4, -1e4], [1e4, 1e4]], dtype)
    labels = np.array([0, 1, 0, 1])

    with np.errstate(over="raise", invalid="raise", divide="raise"):
        values, gradient = losses_and_gradient(loss, scores, labels)

    expected, slope = {
        Loss.CROSS_ENTROPY: (
            [0, 2e4, np.log(2), np.log(2)],
            [[0, 0], [1, -1], [-0.5, 0.5], [0.5, -0.5]],
        ),
        Loss.BINARY_CROSS_ENTROPY: (
            [0, 1e4, 5e3, 5e3],
            [[0, 0], [0.5, -0.5], [-0.5, 0], [0.5, 0]],
        ),
    }[loss]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, slope, atol=1e-6)
    assert values.dtype == gradient.dtype == dtype


def test_probabilities_stay_probabilities_at_extreme_scores() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert softmax(np.array([1e4, -1e4, 1e4])).tolist() == [0.5, 0, 0.5]
        assert sigmoid(np.array([-1e4, 0, 1e4])).tolist() == [0, 0.5, 1]


@given(
    st.lists(st.floats(-50, 50), min_size=2, max_size=8),
    st.floats(-1e4, 1e4),
)
def test_softmax_does_not_change_when_all_scores_shift(scores: list[float], shift: float) -> None:
    probabilities = softmax(np.array(scores))

    np.testing.assert_allclose(softmax(np.array(scores) + shift), probabilities, atol=1e-10)
    assert probabilities.sum() == pytest.approx(1)


@given(st.floats(-700, 700))
def test_sigmoids_of_opposite_scores_add_up_to_1(score: float) -> None:
    assert sigmoid(np.array(score)) + sigmoid(np.array(-score)) == pytest.approx(1)


def test_binary_cross_entropy_equals_the_naive_formula_at_moderate_scores() -> None:
    scores, labels = scores_and_labels()
    y = np.eye(5)[labels]
    p = 1 / (1 + np.exp(-scores))
    naive = (-y * np.log(p) - (1 - y) * np.log(1 - p)).mean(axis=1)

    np.testing.assert_allclose(losses(Loss.BINARY_CROSS_ENTROPY, scores, labels), naive)


def test_cross_entropy_equals_the_naive_formula_at_moderate_scores() -> None:
    scores, labels = scores_and_labels()
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    naive = -np.log(p[np.arange(6), labels])

    np.testing.assert_allclose(losses(Loss.CROSS_ENTROPY, scores, labels), naive)


@BOTH
def test_the_gradient_equals_centred_differences(loss: Loss) -> None:
    scores, labels = scores_and_labels()
    h = 1e-5
    numeric = np.empty_like(scores)
    for place in np.ndindex(scores.shape):
        move = np.zeros_like(scores)
        move[place] = h
        up, down = losses(loss, scores + move, labels), losses(loss, scores - move, labels)
        numeric[place] = (up.sum() - down.sum()) / (2 * h)

    _, gradient = losses_and_gradient(loss, scores, labels)

    np.testing.assert_allclose(gradient, numeric, atol=1e-9)


@BOTH
def test_values_are_the_same_with_and_without_the_gradient(loss: Loss) -> None:
    scores, labels = scores_and_labels()

    assert np.array_equal(
        losses(loss, scores, labels), losses_and_gradient(loss, scores, labels)[0]
    )


@BOTH
def test_a_stack_of_scores_gives_what_each_network_gives_alone(loss: Loss) -> None:
    rng = np.random.default_rng(1)
    stacked = rng.normal(size=(3, 6, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 6)

    values, gradient = losses_and_gradient(loss, stacked, labels)

    for t, scores in enumerate(stacked):
        alone, slope = losses_and_gradient(loss, scores, labels)
        assert np.array_equal(values[t], alone)
        assert np.array_equal(gradient[t], slope)


@BOTH
def test_scores_are_left_as_they_were(loss: Loss) -> None:
    scores, labels = scores_and_labels()
    before = scores.tobytes()

    losses(loss, scores, labels)
    losses_and_gradient(loss, scores, labels)

    assert scores.tobytes() == before
