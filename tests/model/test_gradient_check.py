"""The gradient check itself: right where the gradient is right, and loud where it is wrong."""

from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import model.gradient_check
from model.data import digits
from model.gradient_check import centred_differences, check_gradients, relative_error
from model.losses import Loss
from model.network import Network, cost, gradients, hidden, initialise
from model.normalisation import Inputs, Normalisation

BOTH = pytest.mark.parametrize("loss", list(Loss))


@pytest.fixture
def tiny() -> tuple[Network, NDArray[np.float64], NDArray[np.intp]]:
    rng = np.random.default_rng(2)
    network = initialise(rng, 6, 4, 3)
    biased = replace(network, b1=rng.normal(0, 0.1, 4), b2=rng.normal(0, 0.1, 3))
    return biased, rng.normal(size=(5, 6)), rng.integers(0, 3, 5)


@BOTH
@pytest.mark.parametrize("name", ["w1", "b1", "w2", "b2"])
def test_the_differences_equal_a_loop_that_moves_one_parameter_at_a_time(
    tiny: tuple[Network, NDArray[np.float64], NDArray[np.intp]], name: str, loss: Loss
) -> None:
    network, images, labels = tiny
    h = 1e-4
    parameters = getattr(network, name)
    naive = np.empty_like(parameters)
    for place in np.ndindex(parameters.shape):
        up, down = parameters.copy(), parameters.copy()
        up[place] += h
        down[place] -= h
        naive[place] = (
            cost(replace(network, **{name: up}), images, labels, 0.3, loss)
            - cost(replace(network, **{name: down}), images, labels, 0.3, loss)
        ) / (2 * h)

    differences = centred_differences(network, images, labels, 0.3, loss, h)

    np.testing.assert_allclose(getattr(differences, name), naive, rtol=1e-9, atol=1e-11)


@BOTH
@pytest.mark.parametrize("lambda_", [0.0, 0.3])
def test_every_parameter_of_a_network_for_digits_passes(loss: Loss, lambda_: float) -> None:
    inputs = Inputs(digits(), Normalisation.IMAGE, np.float64)
    network = initialise(np.random.default_rng(0), 64, 50, 10)

    errors = check_gradients(network, inputs.all()[:20], inputs.labels[:20], lambda_, loss)

    assert max(astuple(errors)) < 1e-7


def without_penalty(network: Network, *args: Any) -> Network:
    images, labels, _, loss = args
    return gradients(network, images, labels, 0.0, loss)


def of_the_summed_loss(network: Network, *args: Any) -> Network:
    right = gradients(network, *args)
    return replace(right, w1=5 * right.w1)


def with_dead_units_alive(network: Network, *args: Any) -> Network:
    images = args[0]
    right = gradients(network, *args)
    dead = (hidden(network, images) == 0).any(axis=0)
    return replace(right, b1=right.b1 + 0.01 * dead)


def with_one_weight_off(network: Network, *args: Any) -> Network:
    right = gradients(network, *args)
    w2 = right.w2.copy()
    w2[1, 2] += 1e-3
    return replace(right, w2=w2)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (without_penalty, "w1"),  # 2 lambda w forgotten
        (of_the_summed_loss, "w1"),  # not divided by the five images
        (with_dead_units_alive, "b1"),  # the rectifier's mask forgotten
        (with_one_weight_off, "w2"),  # one entry of an array
    ],
)
def test_a_wrong_gradient_gives_a_large_error_in_its_array(
    tiny: tuple[Network, NDArray[np.float64], NDArray[np.intp]],
    monkeypatch: pytest.MonkeyPatch,
    wrong: object,
    name: str,
) -> None:
    network, images, labels = tiny
    assert getattr(check_gradients(network, images, labels, 0.3), name) < 1e-7

    monkeypatch.setattr(model.gradient_check, "gradients", wrong)

    assert getattr(check_gradients(network, images, labels, 0.3), name) > 1e-4


@pytest.mark.parametrize(
    ("analytic", "numeric", "error"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0),  # equal
        ([3.0, 4.0], [-3.0, -4.0], 1),  # opposite: 10 / (5 + 5)
        ([3.0, 0.0], [0.0, 4.0], 5 / 7),  # at right angles
        ([1e-9], [0.0], 1e-3),  # too small to be relative: 1e-9 / 1e-6
    ],
)
def test_relative_error_is_the_notebooks(
    analytic: list[float], numeric: list[float], error: float
) -> None:
    assert relative_error(np.array(analytic), np.array(numeric)) == pytest.approx(error)
