"""The reference network: one step by hand, and gradients along random directions."""

from dataclasses import fields

import numpy as np
import pytest

from model.losses import Loss
from model.network import (
    Network,
    accuracy,
    cost,
    forward,
    gradients,
    hidden,
    initialise,
    penalty,
    step,
)


@pytest.fixture
def tiny() -> Network:
    """Two inputs, two hidden units, two classes; unit 1 is dead for the image (1, 2)."""
    return Network(
        w1=np.array([[1.0, -1.0], [0.5, -1.0]]),
        b1=np.array([0.0, 0.0]),
        w2=np.array([[1.0, 0.0], [3.0, 4.0]]),
        b2=np.array([0.0, 2.0]),
    )


IMAGE, LABEL = np.array([[1.0, 2.0]]), np.array([0])


def test_one_step_worked_by_hand(tiny: Network) -> None:
    # inputs of the units: 1 + 2 * 0.5 = 2 and -1 - 2 = -3, so h = (2, 0)
    # scores: 2 * 1 + 0 = 2 and 2 * 0 + 2 = 2, so p = (1/2, 1/2), slope = (-1/2, 1/2)
    # back: unit 0 gets -1/2 * 1 + 1/2 * 0 = -1/2, unit 1 is dead; 2 lambda = 1/2
    gradient = gradients(tiny, IMAGE, LABEL, lambda_=0.25)
    after = step(tiny, gradient, eta=0.5)

    assert hidden(tiny, IMAGE).tolist() == [[2, 0]]
    assert forward(tiny, IMAGE).tolist() == [[2, 2]]
    assert gradient.w1.tolist() == [[-0.5 + 0.5, -0.5], [-1 + 0.25, -0.5]]
    assert gradient.b1.tolist() == [-0.5, 0]
    assert gradient.w2.tolist() == [[-1 + 0.5, 1], [1.5, 2]]
    assert gradient.b2.tolist() == [-0.5, 0.5]
    assert after.w1.tolist() == [[1, -0.75], [0.875, -0.75]]
    assert after.b1.tolist() == [0.25, 0]
    assert after.w2.tolist() == [[1.25, -0.5], [2.25, 3]]
    assert after.b2.tolist() == [0.25, 1.75]


def test_the_cost_is_the_mean_loss_plus_lambda_times_the_squared_weights(tiny: Network) -> None:
    # 1 + 1 + 0.25 + 1 in the first layer, 1 + 0 + 9 + 16 in the second
    assert penalty(tiny, 0.25) == 0.25 * 29.25
    assert cost(tiny, IMAGE, LABEL, 0.25) == pytest.approx(np.log(2) + 0.25 * 29.25)


def test_biases_are_not_penalised(tiny: Network) -> None:
    heavy = Network(tiny.w1, tiny.b1 + 100, tiny.w2, tiny.b2 - 100)

    assert penalty(heavy, 0.25) == penalty(tiny, 0.25)


def test_accuracy_is_the_share_of_images_with_the_highest_score_at_their_label() -> None:
    copies_its_input = Network(np.eye(3), np.zeros(3), np.eye(3), np.zeros(3))
    images = np.array([[1.0, 0, 0], [0, 2.0, 1], [0, 0, 3.0], [1, 5, 0]])

    assert accuracy(copies_its_input, images, np.array([0, 1, 2, 0])) == 0.75


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("lambda_", [0.0, 0.1])
def test_gradients_equal_centred_differences_along_random_directions(
    loss: Loss, lambda_: float
) -> None:
    rng = np.random.default_rng(0)
    network = initialise(rng, 12, 7, 4)
    images, labels = rng.normal(size=(9, 12)), rng.integers(0, 4, 9)
    gradient = gradients(network, images, labels, lambda_, loss)
    h = 1e-6

    for _ in range(5):
        direction = Network(
            *(rng.normal(size=getattr(network, f.name).shape) for f in fields(Network))
        )
        slope = sum(
            float(np.sum(getattr(gradient, f.name) * getattr(direction, f.name)))
            for f in fields(Network)
        )
        ahead = cost(step(network, direction, -h), images, labels, lambda_, loss)
        behind = cost(step(network, direction, h), images, labels, lambda_, loss)
        assert slope == pytest.approx((ahead - behind) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("loss", list(Loss))
def test_the_mean_over_a_batch_is_what_counts(loss: Loss) -> None:
    rng = np.random.default_rng(0)
    network = initialise(rng, 12, 7, 4)
    images, labels = rng.normal(size=(9, 12)), rng.integers(0, 4, 9)
    twice = np.concatenate([images, images]), np.concatenate([labels, labels])

    once_gradient = gradients(network, images, labels, 0.1, loss)
    twice_gradient = gradients(network, *twice, 0.1, loss)

    assert cost(network, *twice, 0.1, loss) == pytest.approx(
        cost(network, images, labels, 0.1, loss)
    )
    np.testing.assert_allclose(twice_gradient.w1, once_gradient.w1, atol=1e-14)


def test_a_step_leaves_the_network_it_starts_from_alone(tiny: Network) -> None:
    before = tiny.w1.tobytes() + tiny.w2.tobytes()

    step(tiny, gradients(tiny, IMAGE, LABEL, 0.25), 0.5)

    assert tiny.w1.tobytes() + tiny.w2.tobytes() == before


def test_another_precision_is_a_copy(tiny: Network) -> None:
    single = tiny.astype(np.float32)
    single.w1[0, 0] = 9

    assert {getattr(single, f.name).dtype for f in fields(Network)} == {np.dtype(np.float32)}
    assert tiny.w1[0, 0] == 1
