"""The fast path: a network has the same bits in whatever company it is trained.

Asked of float32, through whole runs of `train`: weights, curves and hits of a network in a stack
against the same network trained alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import pytest

from model.data import Dataset, digits, split
from model.losses import Loss
from model.network import Network
from model.normalisation import Inputs, Normalisation
from model.order import StandardRandomness
from model.schedule import Cyclic
from model.training import Batches, Examination, TrainingConfig, build_stack, train

MakeDataset = Callable[..., Dataset]
BOTH = pytest.mark.parametrize("loss", list(Loss))


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
        pytest.param(1, marks=pytest.mark.long),
        pytest.param(2, marks=pytest.mark.long),
        pytest.param(3, marks=pytest.mark.long),
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


@pytest.mark.parametrize(
    "batch_size", [100, *(pytest.param(n, marks=pytest.mark.long) for n in (20, 300))]
)
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
        pytest.param({0: 20}, marks=pytest.mark.long),  # the first
        pytest.param({4: 20}, marks=pytest.mark.long),  # the last
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
