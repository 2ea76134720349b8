"""The fast path: it agrees with the reference, and a network's bits know nothing of its company.

Agreement is measured in float64, network by network. Bit identity is asked of float32, through
whole runs of `train`: weights, curves and hits of a network in a stack against the same network
trained alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import pytest
from numpy.typing import NDArray

from model.data import Dataset, digits, split
from model.losses import Loss
from model.network import Network, accuracy, cost, gradients, step
from model.normalisation import Inputs, Normalisation
from model.order import StandardRandomness
from model.schedule import Cyclic
from model.stack import SMALLEST_SCALE, Member, Stack
from model.training import Batches, Examination, TrainingConfig, build_stack, train

MakeDataset = Callable[..., Dataset]
BOTH = pytest.mark.parametrize("loss", list(Loss))


def parameters(network: Network) -> list[NDArray[np.floating]]:
    return [getattr(network, f.name) for f in fields(Network)]


def assert_close(actual: Network, expected: Network, tolerance: float) -> None:
    """Every array differs by less than ``tolerance`` times its largest value."""
    for a, b in zip(parameters(actual), parameters(expected), strict=True):
        assert np.isfinite(a).all()
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


# --- agreement with the reference -------------------------------------------------------------


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
        (np.float64, 1e-10),  # only the order of summation differs
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


# --- bit identity -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What a stack trains on."""

    training: Dataset
    validation: Dataset
    batch_size: int
    m: int = 50
    loss: Loss = Loss.CROSS_ENTROPY


#: A network's history: (update, one name of a curve, its bytes), and the weights at the end.
History = list[tuple[int, str, bytes]]


def histories(
    task: Task, configs: dict[int, TrainingConfig], dropped_at: dict[int, int] | None = None
) -> dict[int, History]:
    """Train the networks of ``configs`` together and return what each of them did."""
    randomness = StandardRandomness(3, (task.training.d, task.m, 10))
    start = randomness.network().astype(np.float32)
    stack = build_stack(configs, dict.fromkeys(configs, start), task.batch_size, task.loss)
    batches = Batches(
        Inputs(task.training, Normalisation.IMAGE, np.float32), randomness, task.batch_size
    )
    examination = Examination(Inputs(task.validation, Normalisation.IMAGE, np.float32))
    result: dict[int, History] = {key: [] for key in configs}
    for evaluation in train(stack, configs, batches, examination):
        for row, key in enumerate(evaluation.keys):
            for part in ("training", "validation"):
                metrics = getattr(evaluation, part)
                for name in ("loss", "accuracy", "cost"):
                    value = getattr(metrics, name)[row].tobytes()
                    result[key].append((evaluation.update, f"{part} {name}", value))
            result[key].append((evaluation.update, "hits", evaluation.hits[row].tobytes()))
            if evaluation.update == configs[key].n_updates:
                for f in fields(Network):
                    weights = getattr(stack.network(key), f.name).tobytes()
                    result[key].append((evaluation.update, f.name, weights))
        gone = [key for key, update in (dropped_at or {}).items() if update == evaluation.update]
        stack.drop(gone)
    return result


def differences(actual: History, alone: History) -> set[str]:
    """Names of the curves and weights in which a network differs from itself alone."""
    assert [entry[:2] for entry in actual] == [entry[:2] for entry in alone]
    return {a[1] for a, b in zip(actual, alone, strict=True) if a[2] != b[2]}


def equal_schedules(n: int, n_updates: int) -> dict[int, TrainingConfig]:
    """``n`` cells of a search for lambda."""
    return {
        key: TrainingConfig(
            lambda_=10 ** (-5 + 4 * key / 15), schedule=Cyclic(n_s=20), n_updates=n_updates
        )
        for key in range(n)
    }


def other_schedules() -> dict[int, TrainingConfig]:
    """Five networks that log and end at different updates."""
    table = [
        (1e-4, 0.1, 20, 60),
        (1e-2, 0.2, 10, 40),  # ends before the others
        (0.0, 0.05, 20, 60),
        (0.1, 0.1, 15, 45),  # log points that are not evenly spread
        (2.0, 0.2, 7, 50),  # every update a log point; shrinks to a fifth at the top
    ]
    return {
        key: TrainingConfig(
            lambda_=lambda_, schedule=Cyclic(eta_max=eta_max, n_s=n_s), n_updates=n_updates
        )
        for key, (lambda_, eta_max, n_s, n_updates) in enumerate(table)
    }


@pytest.fixture(scope="module")
def cifar_shaped(make_dataset: MakeDataset) -> Task:
    """CIFAR-10's shape; the last evaluation chunk of 1,003 images has three."""
    return Task(make_dataset(1250, 3072), make_dataset(1003, 3072, seed=1), 100)


def digits_task(batch_size: int, m: int = 50, loss: Loss = Loss.CROSS_ENTROPY) -> Task:
    parts = split(digits(), 300)
    return Task(parts.training, parts.validation, batch_size, m, loss)


@pytest.fixture(scope="module")
def alone_on_cifar_shapes(cifar_shaped: Task) -> dict[int, History]:
    configs = equal_schedules(16, n_updates=60)
    return {key: histories(cifar_shaped, {key: configs[key]})[key] for key in configs}


@pytest.mark.parametrize(
    "width",
    [
        1,
        pytest.param(2, marks=pytest.mark.long),
        3,
        pytest.param(5, marks=pytest.mark.long),
        pytest.param(8, marks=pytest.mark.long),
        16,
    ],
)
def test_on_cifar_shapes_a_network_has_the_same_bits_in_every_stack(
    width: int, cifar_shaped: Task, alone_on_cifar_shapes: dict[int, History]
) -> None:
    together = histories(cifar_shaped, equal_schedules(width, n_updates=60))

    for key in range(width):
        assert differences(together[key], alone_on_cifar_shapes[key]) == set()


def test_a_network_has_the_same_bits_at_every_place_of_a_stack(
    cifar_shaped: Task, alone_on_cifar_shapes: dict[int, History]
) -> None:
    configs = equal_schedules(16, n_updates=60)

    together = histories(cifar_shaped, {key: configs[key] for key in (11, 0, 15, 4)})

    for key in (11, 0, 15, 4):
        assert differences(together[key], alone_on_cifar_shapes[key]) == set()


@pytest.mark.parametrize("batch_size", [20, 100, 300])
@BOTH
def test_on_digits_a_network_has_the_same_bits_in_every_stack(batch_size: int, loss: Loss) -> None:
    task = digits_task(batch_size, loss=loss)
    configs = equal_schedules(16, n_updates=60)
    alone = {key: histories(task, {key: configs[key]})[key] for key in configs}

    for width in (1, 2, 3, 5, 8, 16):
        together = histories(task, equal_schedules(width, n_updates=60))
        for key in range(width):
            assert differences(together[key], alone[key]) == set()


@pytest.mark.parametrize("m", [1, 7, 64])
@BOTH
def test_hidden_layers_of_other_widths_have_the_same_bits_in_every_stack(
    m: int, loss: Loss, make_dataset: MakeDataset
) -> None:
    task = Task(make_dataset(250, 3072), make_dataset(507, 3072, seed=1), 100, m, loss)
    configs = equal_schedules(3, n_updates=10)
    together = histories(task, configs)

    for key in configs:
        alone = histories(task, {key: configs[key]})
        assert differences(together[key], alone[key]) == set()


@pytest.mark.parametrize(
    ("d", "n_validation"),
    [
        (3072, 1),  # a vector
        (3072, 13),  # with 50 units just below FUSED_FROM
        (3072, 14),  # just above it
        (3072, 500),  # one full chunk
        (3072, 501),  # one image more
        (3072, 514),  # two chunks, both fused
        (6000, 7),  # few images, but above FUSED_FROM
        (6000, 8),  # one more
    ],
)
def test_an_evaluation_chunk_of_any_size_gives_the_same_bits_in_every_stack(
    d: int, n_validation: int, make_dataset: MakeDataset
) -> None:
    task = Task(make_dataset(250, d), make_dataset(n_validation, d, seed=1), 100)
    configs = equal_schedules(3, n_updates=4)
    together = histories(task, configs)

    for key in configs:
        alone = histories(task, {key: configs[key]})
        assert differences(together[key], alone[key]) == set()


def test_on_cifar_shapes_networks_that_log_and_end_at_other_updates_have_the_same_bits(
    make_dataset: MakeDataset,
) -> None:
    task = Task(make_dataset(1250, 3072), make_dataset(203, 3072, seed=1), 100)
    configs = other_schedules()
    together = histories(task, configs)

    for key, config in configs.items():
        assert differences(together[key], histories(task, {key: config})[key]) == set()


@pytest.mark.parametrize("batch_size", [20, 100, 300])
def test_on_digits_networks_that_log_and_end_at_other_updates_have_the_same_bits(
    batch_size: int,
) -> None:
    task = digits_task(batch_size)
    configs = other_schedules()
    together = histories(task, configs)

    for key, config in configs.items():
        assert differences(together[key], histories(task, {key: config})[key]) == set()


@pytest.mark.parametrize(
    "dropped_at",
    [
        {0: 20},  # the first
        {4: 20},  # the last
        {1: 10, 3: 30},  # two from the middle, at different updates
        {0: 20, 1: 20, 3: 20, 4: 20},  # all but one
    ],
)
def test_dropped_networks_leave_the_others_bits_as_they_were(
    dropped_at: dict[int, int], make_dataset: MakeDataset
) -> None:
    task = Task(make_dataset(1250, 3072), make_dataset(203, 3072, seed=1), 100)
    configs = equal_schedules(5, n_updates=40)
    untouched = histories(task, configs)

    together = histories(task, configs, dropped_at)

    for key in configs:
        until = dropped_at.get(key, 40)
        expected = [entry for entry in untouched[key] if entry[0] <= until]
        assert differences(together[key], expected) == set()


def test_dropped_networks_leave_the_others_bits_as_they_were_on_digits() -> None:
    configs = equal_schedules(5, n_updates=40)
    untouched = histories(digits_task(100), configs)

    together = histories(digits_task(100), configs, {1: 10, 3: 30})

    for key in (0, 2, 4):
        assert differences(together[key], untouched[key]) == set()


def test_dropping_every_network_ends_the_training() -> None:
    configs = equal_schedules(3, n_updates=40)

    together = histories(digits_task(100), configs, dict.fromkeys(configs, 10))

    assert {history[-1][0] for history in together.values()} == {10}
