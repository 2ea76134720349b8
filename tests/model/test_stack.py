"""The fast path: its steps and evaluations agree with the reference, in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import pytest
from numpy.typing import NDArray

from model.data import Dataset, digits
from model.losses import Loss
from model.network import Network, accuracy, cost, gradients, step
from model.normalisation import Inputs, Normalisation
from model.order import StandardRandomness
from model.schedule import Cyclic
from model.stack import SMALLEST_SCALE, Member, Stack
from model.training import Batches

MakeDataset = Callable[..., Dataset]
BOTH = pytest.mark.parametrize("loss", list(Loss))


def parameters(network: Network) -> list[NDArray[np.floating]]:
    return [getattr(network, f.name) for f in fields(Network)]


def assert_close(actual: Network, expected: Network, tolerance: float) -> None:
    """Every array differs by less than ``tolerance`` times its largest value."""
    for a, b in zip(parameters(actual), parameters(expected), strict=True):
        assert np.isfinite(a).all()
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@dataclass
class Race:
    """The same updates made by a stack and by the reference, one network at a time."""

    lambdas: Sequence[float]
    schedules: Sequence[Cyclic]
    loss: Loss = Loss.CROSS_ENTROPY
    dtype: type = np.float64
    seed: int = 0
    references: list[Network] = field(default_factory=list)

    def run(self, dataset: Dataset, m: int, batch_size: int, n_updates: int) -> Stack:
        """Train both; the references stay in float64."""
        randomness = StandardRandomness(self.seed, (dataset.d, m, dataset.n_classes))
        first = randomness.network()
        self.references = [first] * len(self.lambdas)
        members = [Member(key, lambda_) for key, lambda_ in enumerate(self.lambdas)]
        starts = [first.astype(self.dtype)] * len(members)
        stack = Stack(members, starts, batch_size, self.loss)
        exact = Batches(Inputs(dataset, Normalisation.IMAGE, np.float64), randomness, batch_size)
        batches = Batches(Inputs(dataset, Normalisation.IMAGE, self.dtype), randomness, batch_size)
        for t in range(n_updates):
            etas = np.array([schedule.rate(t) for schedule in self.schedules])
            stack.step(*batches.get(t), etas)
            images, labels = exact.get(t)
            self.references = [
                step(network, gradients(network, images, labels, lambda_, self.loss), eta)
                for network, lambda_, eta in zip(self.references, self.lambdas, etas, strict=True)
            ]
        return stack


LAMBDAS = (0.0, 1e-4, 0.01, 0.1)
SCHEDULES = tuple(
    Cyclic(eta_max=eta_max, n_s=n_s)
    for eta_max, n_s in [(0.1, 100), (0.05, 30), (0.2, 50), (0.01, 7)]
)


@BOTH
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        pytest.param(
            np.float64, 1e-10, marks=pytest.mark.long
        ),  # only the order of summation differs
        (np.float32, 2e-4),  # 200 updates of a few units in the last place each
    ],
)
def test_networks_for_digits_agree_with_the_reference_over_200_updates(
    loss: Loss, dtype: type, tolerance: float
) -> None:
    race = Race(LAMBDAS, SCHEDULES, loss, dtype)

    stack = race.run(digits(), 50, 100, 200)

    for key, reference in enumerate(race.references):
        assert_close(stack.network(key), reference, tolerance)


@BOTH
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (np.float64, 1e-10),  # only the order of summation differs
        (np.float32, 2e-3),  # larger products, fused; random images keep the gradients large
    ],
)
def test_networks_for_cifar_shapes_agree_with_the_reference_over_200_updates(
    loss: Loss, dtype: type, tolerance: float, make_dataset: MakeDataset
) -> None:
    race = Race(LAMBDAS[1:], SCHEDULES[1:], loss, dtype)

    stack = race.run(make_dataset(200, 3072), 50, 20, 200)

    for key, reference in enumerate(race.references):
        assert_close(stack.network(key), reference, tolerance)


@pytest.mark.parametrize("m", [1, 7, 64])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(np.float64, 1e-10), (np.float32, 1e-2)],  # 0.4 % with kernels that round twice a step
)
def test_hidden_layers_of_other_widths_agree_with_the_reference(
    m: int, dtype: type, tolerance: float, make_dataset: MakeDataset
) -> None:
    race = Race(LAMBDAS[1:], SCHEDULES[1:], dtype=dtype)

    stack = race.run(make_dataset(200, 700, k=4), m, 50, 60)

    for key, reference in enumerate(race.references):
        assert_close(stack.network(key), reference, tolerance)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(np.float64, 1e-10), (np.float32, 1e-4)],
)
def test_weights_that_shrink_to_a_fifth_at_every_update_do_not_overflow(
    dtype: type, tolerance: float
) -> None:
    constant = Cyclic(eta_min=0.1, eta_max=0.1, n_s=10)
    race = Race((4.0, 0.0, 4.999), (constant,) * 3, dtype=dtype)  # 0.2, 1 and 0.0002 an update

    with np.errstate(over="raise", invalid="raise", divide="raise"):
        stack = race.run(digits(), 50, 100, 200)

    assert SMALLEST_SCALE > 0.2**200
    for key, reference in enumerate(race.references):
        assert_close(stack.network(key), reference, tolerance)


@BOTH
def test_a_step_returns_loss_and_hits_before_the_update(loss: Loss) -> None:
    inputs = Inputs(digits(), Normalisation.IMAGE, np.float64)
    images, labels = inputs.all()[:100], inputs.labels[:100]
    networks = [StandardRandomness(seed, (64, 50, 10)).network() for seed in range(3)]
    stack = Stack([Member(key, 0.1) for key in range(3)], networks, 100, loss)

    losses, hits = stack.step(images, labels, np.full(3, 0.1))

    for t, network in enumerate(networks):
        assert losses[t] == pytest.approx(cost(network, images, labels, 0.0, loss), rel=1e-12)
        assert hits[t] == round(100 * accuracy(network, images, labels))


@BOTH
@pytest.mark.parametrize("places", [slice(0, 3), slice(1, 2), slice(1, 3)])
def test_evaluation_agrees_with_the_reference(loss: Loss, places: slice) -> None:
    inputs = Inputs(digits(), Normalisation.IMAGE, np.float64)
    images, labels = inputs.all(), inputs.labels
    networks = [StandardRandomness(seed, (64, 50, 10)).network() for seed in range(3)]
    stack = Stack([Member(key, 0.1) for key in range(3)], networks, 100, loss)

    sums, hits = stack.evaluate(images, labels, places)

    for row, network in enumerate(networks[places]):
        expected = 1500 * cost(network, images, labels, 0.0, loss)
        assert sums[row] == pytest.approx(expected, rel=1e-12)
        assert hits[row].mean() == accuracy(network, images, labels)


def test_penalties_are_lambda_times_the_squared_weights_of_the_asked_networks() -> None:
    networks = [StandardRandomness(seed, (64, 50, 10)).network() for seed in range(3)]
    stack = Stack([Member(key, 0.1 * key) for key in range(3)], networks, 100, Loss.CROSS_ENTROPY)

    squares = [float(np.sum(n.w1**2) + np.sum(n.w2**2)) for n in networks]

    assert stack.penalties([2, 0]) == pytest.approx([0.2 * squares[2], 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_network_comes_out_as_it_went_in_and_as_a_copy(dtype: type) -> None:
    networks = [StandardRandomness(seed, (64, 50, 10)).network().astype(dtype) for seed in range(3)]
    stack = Stack([Member(key, 0.1) for key in (5, 9, 2)], networks, 700, Loss.CROSS_ENTROPY)

    taken = stack.network(9)
    for array in parameters(taken):
        array += 1

    for key, network in zip((5, 9, 2), networks, strict=True):
        for a, b in zip(parameters(stack.network(key)), parameters(network), strict=True):
            assert np.array_equal(a, b)
            assert a.dtype == dtype


def test_a_network_that_is_not_in_the_stack_cannot_be_taken() -> None:
    network = StandardRandomness(0, (64, 50, 10)).network()
    stack = Stack([Member(key, 0.1) for key in (5, 9)], [network] * 2, 100, Loss.CROSS_ENTROPY)
    stack.drop([5])

    assert stack.keys == [9]
    assert len(stack) == 1
    with pytest.raises(ValueError, match="5 is not in list"):
        stack.network(5)
