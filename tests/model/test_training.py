"""Training: what is yielded when, what the values are, and that it can be left and resumed."""

import re
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

import model.training
from model.data import Dataset, digits, split
from model.errors import InvalidConfig
from model.losses import Loss
from model.network import Network, accuracy, cost, forward, gradients, penalty, step
from model.normalisation import Inputs, Normalisation
from model.order import StandardRandomness
from model.schedule import Cyclic, Static
from model.stack import Stack
from model.training import (
    EVALUATION_CHUNK,
    Batches,
    Evaluation,
    Examination,
    TrainingConfig,
    build_stack,
    train,
)

MakeDataset = Callable[..., Dataset]
RANDOMNESS = StandardRandomness(5, (64, 50, 10))
PARTS = split(digits(), 300)


def inputs(dataset: Dataset = PARTS.training, dtype: type = np.float32) -> Inputs:
    return Inputs(dataset, Normalisation.IMAGE, dtype)


def cyclic(
    lambda_: float = 1e-3, *, n_s: int = 10, n_updates: int = 40, eta_max: float = 0.1
) -> TrainingConfig:
    schedule = Cyclic(n_s=n_s, eta_max=eta_max)
    return TrainingConfig(lambda_=lambda_, schedule=schedule, n_updates=n_updates)


def fresh_stack(
    configs: dict[int, TrainingConfig], dtype: type = np.float32, loss: Loss = Loss.CROSS_ENTROPY
) -> Stack:
    start = RANDOMNESS.network().astype(dtype)
    return build_stack(configs, dict.fromkeys(configs, start), 100, loss)


def run(
    configs: dict[int, TrainingConfig], *, dtype: type = np.float32, flips: float = 0.0
) -> Generator[Evaluation]:
    """Train on digits from the start with everything at its plainest."""
    batches = Batches(inputs(dtype=dtype), RANDOMNESS, 100, flips)
    examination = Examination(inputs(PARTS.validation, dtype))
    return train(fresh_stack(configs, dtype), configs, batches, examination)


def bits(evaluation: Evaluation, key: int) -> tuple[bytes, ...]:
    """All values that an evaluation has of one network."""
    row = evaluation.keys.index(key)
    metrics = (evaluation.training, evaluation.validation)
    values = [m.cost[row] for m in metrics] + [m.loss[row] for m in metrics]
    values += [m.accuracy[row] for m in metrics]
    return (*(value.tobytes() for value in values), evaluation.hits[row].tobytes())


def weights(network: Network) -> tuple[bytes, ...]:
    return tuple(getattr(network, f.name).tobytes() for f in fields(Network))


# --- what is yielded when ---------------------------------------------------------------------


def test_evaluations_come_at_the_log_points_and_at_the_end() -> None:
    updates = [e.update for e in run({0: cyclic(n_s=20, n_updates=45)})]

    assert updates == [*range(2, 45, 2), 45]


def test_every_network_is_evaluated_at_its_own_log_points_until_its_own_end() -> None:
    configs = {
        7: cyclic(n_s=20, n_updates=12),
        3: cyclic(n_s=40, n_updates=16),
        5: cyclic(n_s=30, n_updates=7),
    }

    seen = [(e.update, e.keys) for e in run(configs)]

    assert seen == [
        (2, (7,)),
        (3, (5,)),
        (4, (7, 3)),
        (6, (7, 5)),
        (7, (5,)),
        (8, (7, 3)),
        (10, (7,)),
        (12, (7, 3)),
        (16, (3,)),
    ]


def test_a_static_rate_is_evaluated_once_a_period() -> None:
    config = TrainingConfig(lambda_=0.0, schedule=Static(eta=0.01, period=12), n_updates=30)

    assert [e.update for e in run({0: config})] == [12, 24, 30]


def test_the_validation_accuracy_rises() -> None:
    *_, last = run({0: cyclic(n_s=120, n_updates=240)})

    assert last.validation.accuracy[0] > 0.9


# --- what the values are ----------------------------------------------------------------------


def batch_of(update: int, batch_size: int = 100) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Inputs and labels of an update, put together by hand; 12 batches in an epoch."""
    rows = PARTS.training.images.astype(np.float64)
    rows = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    epoch, place = divmod(update, 1200 // batch_size)
    chosen = RANDOMNESS.order(epoch, 1200)[place * batch_size : (place + 1) * batch_size]
    return rows[chosen], PARTS.training.labels[chosen]


@pytest.mark.parametrize("loss", list(Loss))
def test_running_values_are_means_over_the_batches_since_the_last_log_point(loss: Loss) -> None:
    configs = {0: cyclic(0.01, n_s=30, n_updates=15), 1: cyclic(0.1, n_s=20, n_updates=15)}
    stack = fresh_stack(configs, np.float64, loss)
    batches = Batches(inputs(dtype=np.float64), RANDOMNESS, 100)
    examination = Examination(inputs(PARTS.validation, np.float64))

    evaluations = list(train(stack, configs, batches, examination))

    for key, config in configs.items():
        network = RANDOMNESS.network()
        own = [e for e in evaluations if key in e.keys]
        begin = 0
        for evaluation in own:
            seen = []
            for t in range(begin, evaluation.update):
                images, labels = batch_of(t)
                before = (
                    cost(network, images, labels, 0.0, loss),
                    accuracy(network, images, labels),
                )
                seen.append(before)
                gradient = gradients(network, images, labels, config.lambda_, loss)
                network = step(network, gradient, config.schedule.rate(t))
            mean_loss, mean_accuracy = np.mean(seen, axis=0)
            row = evaluation.keys.index(key)
            assert evaluation.training.loss[row] == pytest.approx(mean_loss, rel=1e-10)
            assert evaluation.training.accuracy[row] == pytest.approx(mean_accuracy, abs=1e-12)
            assert evaluation.training.cost[row] == pytest.approx(
                mean_loss + penalty(network, config.lambda_), rel=1e-10
            )
            begin = evaluation.update
        assert begin == 15


@pytest.mark.parametrize("loss", list(Loss))
def test_full_values_and_validation_values_are_those_of_the_whole_set(loss: Loss) -> None:
    configs = {0: cyclic(0.01, n_s=20, n_updates=10), 1: cyclic(0.1, n_s=20, n_updates=10)}
    stack = fresh_stack(configs, np.float64, loss)
    batches = Batches(inputs(dtype=np.float64), RANDOMNESS, 100)
    sets = {
        "training": inputs(PARTS.training, np.float64),
        "validation": inputs(PARTS.validation, np.float64),
    }
    examinations = {name: Examination(of) for name, of in sets.items()}

    n_evaluations = 0
    for evaluation in train(
        stack,
        configs,
        batches,
        examinations["validation"],
        full_training=examinations["training"],
    ):
        n_evaluations += 1
        for row, key in enumerate(evaluation.keys):
            network, lambda_ = stack.network(key), configs[key].lambda_
            for name, of in sets.items():
                metrics = getattr(evaluation, name)
                images, labels = of.all(), of.labels
                full_cost = cost(network, images, labels, lambda_, loss)
                assert metrics.cost[row] == pytest.approx(full_cost, rel=1e-10)
                full_loss = cost(network, images, labels, 0.0, loss)
                assert metrics.loss[row] == pytest.approx(full_loss, rel=1e-10)
                assert metrics.accuracy[row] == accuracy(network, images, labels)
            right = forward(network, sets["validation"].all()).argmax(axis=1)
            assert np.array_equal(evaluation.hits[row], right == PARTS.validation.labels)
    assert n_evaluations == 5


def test_sets_too_large_to_keep_are_evaluated_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = RANDOMNESS.network().astype(np.float32)
    configs = {0: cyclic()}
    stack = build_stack(configs, {0: network}, 100)
    kept = Examination(inputs())(stack, [0])
    monkeypatch.setattr(model.training, "KEPT_INPUTS", 0)

    chunked = Examination(inputs())(stack, [0])

    assert kept is not None
    assert chunked is not None
    assert chunked[0].cost.tobytes() == kept[0].cost.tobytes()
    assert chunked[0].loss.tobytes() == kept[0].loss.tobytes()
    assert np.array_equal(chunked[1], kept[1])


# --- stopping and resuming --------------------------------------------------------------------


class StopAtCall:
    """Says True at the ``last``-th time it is asked, and counts how often it was."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.n_calls = 0

    def __call__(self) -> bool:
        self.n_calls += 1
        return self.n_calls >= self.last


class CountingBatches(Batches):
    """Counts the updates for which a mini-batch was fetched."""

    n_fetched = 0

    def get(self, update: int) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
        self.n_fetched += 1
        return super().get(update)


@pytest.mark.parametrize(
    ("last_call", "n_updates", "n_evaluations"),
    # Two updates, then three chunks of validation images and three of training images: the calls
    # of the first log point are 1, 2 before the updates, 3, 4, 5 and 6, 7, 8 before the chunks.
    [
        (1, 0, 0),  # before the first update
        (2, 1, 0),  # before the second
        (3, 2, 0),  # before the first validation chunk
        (5, 2, 0),  # before the last validation chunk
        (6, 2, 0),  # before the first training chunk
        (8, 2, 0),  # before the last training chunk
        (9, 2, 1),  # after the first evaluation
        (10, 3, 1),  # after one more update
        (17, 4, 2),  # after the second evaluation
    ],
)
def test_stop_ends_the_training_within_one_update_and_one_evaluation_chunk(
    last_call: int, n_updates: int, n_evaluations: int, make_dataset: MakeDataset
) -> None:
    training = inputs(make_dataset(2 * EVALUATION_CHUNK + 200, 64))
    validation = inputs(make_dataset(2 * EVALUATION_CHUNK + 1, 64, seed=1))
    configs = {0: cyclic(n_s=20)}
    batches = CountingBatches(training, RANDOMNESS, 100)
    stop = StopAtCall(last_call)

    evaluations = list(
        train(
            fresh_stack(configs),
            configs,
            batches,
            Examination(validation),
            full_training=Examination(training),
            stop=stop,
        )
    )

    assert stop.n_calls == last_call
    assert batches.n_fetched == n_updates
    assert len(evaluations) == n_evaluations


@pytest.mark.parametrize("boundary", [20, 40])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("flips", [0.0, 0.5])
def test_a_run_resumed_at_a_cycles_end_has_the_bits_of_one_that_was_not(
    boundary: int, full: bool, flips: float
) -> None:
    configs = {0: cyclic(1e-4, n_updates=60), 4: cyclic(0.1, n_updates=60)}

    def begin(
        networks: dict[int, Network], first_update: int
    ) -> tuple[Stack, Iterator[Evaluation]]:
        stack = build_stack(configs, networks, 100)
        batches = Batches(inputs(), RANDOMNESS, 100, flips)
        examination = Examination(inputs(PARTS.validation))
        full_training = Examination(inputs()) if full else None
        return stack, train(
            stack,
            configs,
            batches,
            examination,
            full_training=full_training,
            first_update=first_update,
        )

    start = RANDOMNESS.network().astype(np.float32)
    stack, evaluations = begin(dict.fromkeys(configs, start), 0)
    taken: dict[int, Network] = {}
    expected = []
    for evaluation in evaluations:
        if evaluation.update == boundary:
            taken = {key: stack.network(key) for key in configs}
        if evaluation.update > boundary:
            expected.append((evaluation.update, bits(evaluation, 0), bits(evaluation, 4)))
        if evaluation.update == 60:
            last = [weights(stack.network(key)) for key in configs]

    stack, evaluations = begin(taken, boundary)
    resumed = []
    for evaluation in evaluations:
        resumed.append((evaluation.update, bits(evaluation, 0), bits(evaluation, 4)))
        if evaluation.update == 60:
            assert [weights(stack.network(key)) for key in configs] == last

    assert resumed == expected
    assert [update for update, _, _ in resumed] == list(range(boundary + 1, 61))


def test_a_network_resumed_without_its_neighbours_has_the_same_bits() -> None:
    configs = {key: cyclic(10.0**-key, n_updates=40) for key in (1, 2, 3)}
    stack = fresh_stack(configs)
    expected = []
    for evaluation in train(
        stack, configs, Batches(inputs(), RANDOMNESS, 100), Examination(inputs(PARTS.validation))
    ):
        if evaluation.update == 20:
            network = stack.network(2)
        if evaluation.update > 20:
            expected.append(bits(evaluation, 2))

    alone = {2: configs[2]}
    resumed = train(
        build_stack(alone, {2: network}, 100),
        alone,
        Batches(inputs(), RANDOMNESS, 100),
        Examination(inputs(PARTS.validation)),
        first_update=20,
    )

    assert [bits(evaluation, 2) for evaluation in resumed] == expected


def test_taking_networks_at_a_cycles_end_does_not_change_what_follows() -> None:
    configs = {0: cyclic(1e-4), 4: cyclic(0.1)}
    undisturbed = [bits(e, key) for e in run(configs) for key in e.keys]

    stack = fresh_stack(configs)
    disturbed = []
    for evaluation in train(
        stack, configs, Batches(inputs(), RANDOMNESS, 100), Examination(inputs(PARTS.validation))
    ):
        disturbed += [bits(evaluation, key) for key in evaluation.keys]
        if evaluation.update == 20:
            [stack.network(key) for key in configs]

    assert disturbed == undisturbed


def test_a_run_resumed_at_its_end_makes_no_update() -> None:
    configs = {0: cyclic(n_updates=40)}
    batches = CountingBatches(inputs(), RANDOMNESS, 100)

    evaluations = list(
        train(
            fresh_stack(configs),
            configs,
            batches,
            Examination(inputs(PARTS.validation)),
            first_update=40,
        )
    )

    assert evaluations == []
    assert batches.n_fetched == 0


def test_the_caller_keeps_its_own_floating_point_warnings_between_evaluations() -> None:
    with np.errstate(over="raise", invalid="warn", divide="print"):
        own = np.geterr()
        evaluations = run({0: cyclic()})
        next(evaluations)
        during = np.geterr()
        evaluations.close()

        assert during == own
        assert np.geterr() == own


def test_a_training_may_be_closed_by_another_thread() -> None:
    failures: list[Exception] = []
    with np.errstate(all="warn"):
        evaluations = run({0: cyclic()})
        next(evaluations)

        def close() -> None:
            try:
                evaluations.close()
            except ValueError as error:
                failures.append(error)

        thread = threading.Thread(target=close)
        thread.start()
        thread.join()

    assert failures == []


# --- divergence -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_diverging_network_has_no_finite_cost_and_leaves_its_neighbours_bits(place: int) -> None:
    calm = {key: cyclic(10.0**-key) for key in (1, 2)}
    configs = dict(calm)
    everyone = list(configs.items())
    everyone.insert(place, (9, cyclic(0.0, eta_max=1e12)))
    undisturbed = {key: [bits(e, key) for e in run(calm) if key in e.keys] for key in calm}

    evaluations = list(run(dict(everyone)))

    last = evaluations[-1]
    row = last.keys.index(9)
    assert not np.isfinite(last.validation.cost[row])
    assert not np.isfinite(last.training.cost[row])
    for key in calm:
        assert [bits(e, key) for e in evaluations] == undisturbed[key]


# --- mini-batches -----------------------------------------------------------------------------


def test_an_incomplete_last_batch_is_left_out_and_the_next_epoch_begins() -> None:
    training = inputs()  # 1,200 images
    batches = Batches(training, RANDOMNESS, 500)

    labels = [batches.get(t)[1].tolist() for t in range(4)]

    orders = [RANDOMNESS.order(epoch, 1200) for epoch in (0, 1)]
    parts = [orders[0][:500], orders[0][500:1000], orders[1][:500], orders[1][500:1000]]
    assert batches.per_epoch == 2
    assert labels == [training.labels[part].tolist() for part in parts]


def test_one_batch_may_hold_every_image() -> None:
    batches = Batches(inputs(), RANDOMNESS, 1200)

    assert batches.per_epoch == 1
    assert np.array_equal(batches.get(3)[1], PARTS.training.labels[RANDOMNESS.order(3, 1200)])


def test_a_batch_depends_on_its_update_alone() -> None:
    batches = Batches(inputs(), RANDOMNESS, 100, 0.5)
    in_turn = [(images.copy(), labels) for images, labels in map(batches.get, range(30))]

    for t in (29, 3, 12, 11, 0, 25):
        images, labels = batches.get(t)
        assert np.array_equal(images, in_turn[t][0])
        assert np.array_equal(labels, in_turn[t][1])


def test_a_batch_holds_its_images_normalised() -> None:
    images, labels = Batches(inputs(dtype=np.float64), RANDOMNESS, 100).get(14)
    expected, expected_labels = batch_of(14)

    np.testing.assert_allclose(images, expected, atol=1e-12)
    assert np.array_equal(labels, expected_labels)


def test_the_flips_of_an_epoch_are_those_of_the_randomness() -> None:
    training = replace(PARTS.training, images=PARTS.training.images.copy())
    before = training.images.tobytes()
    all_inputs = inputs(training, np.float64)
    plain, flipped = all_inputs.all(), np.empty((1200, 64))
    all_inputs.fill(flipped, slice(0, 1200), np.ones(1200, dtype=bool))
    batches = Batches(all_inputs, RANDOMNESS, 100, 0.3)

    for t in (0, 5, 13):
        epoch, place = divmod(t, 12)
        part = slice(100 * place, 100 * (place + 1))
        chosen = RANDOMNESS.order(epoch, 1200)[part]
        mirrored = RANDOMNESS.flips(epoch, 1200, 0.3)[part]
        expected = np.where(mirrored[:, None], flipped[chosen], plain[chosen])
        np.testing.assert_allclose(batches.get(t)[0], expected, atol=1e-12)
        assert 15 < mirrored.sum() < 45
    assert training.images.tobytes() == before


def test_flips_change_the_result_and_are_the_same_for_every_network() -> None:
    twins = {0: cyclic(0.01), 1: cyclic(0.01)}

    plain = list(run(twins))
    flipped = list(run(twins, flips=0.5))

    assert bits(flipped[-1], 0) != bits(plain[-1], 0)
    for evaluation in flipped:
        assert bits(evaluation, 0) == bits(evaluation, 1)


# --- refused settings -------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [0, -1, 1201])
def test_a_batch_size_outside_the_set_is_refused(batch_size: int) -> None:
    message = f"The batch size must be 1 to 1200, the number of training images; got {batch_size}."

    with pytest.raises(InvalidConfig, match=re.escape(message)):
        Batches(inputs(), RANDOMNESS, batch_size)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_flip_probability_outside_0_to_1_is_refused(probability: float) -> None:
    with pytest.raises(InvalidConfig, match=f"must be 0 to 1, got {probability}"):
        Batches(inputs(), RANDOMNESS, 100, probability)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lambda_": -1e-9}, "lambda must be 0 or more, got -1e-09"),  # rewards large weights
        ({"lambda_": float("nan")}, "lambda must be 0 or more, got nan"),  # no number
        ({"lambda_": float("inf")}, "lambda must be 0 or more, got inf"),  # no number either
        ({"n_updates": 0}, "needs at least 1 update, got 0"),  # nothing to do
        # shrinks the weights to nothing at the top of the cycle
        (
            {"lambda_": 5.0},
            r"lambda 5\.0 with a learning rate of 0\.1 multiplies .* by 0 an update",
        ),
        # turns their sign
        ({"lambda_": 10.0}, "by -1 an update; the factor 1 - 2 eta lambda must stay above 0"),
        # the same with a rate that never changes
        ({"lambda_": 5.0, "schedule": Static(eta=0.2, period=5)}, "learning rate of 0.2"),
    ],
)
def test_settings_in_which_training_makes_no_sense_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidConfig, match=message):
        replace(cyclic(), **settings)


def test_the_largest_sensible_lambda_is_accepted() -> None:
    assert cyclic(4.999).lambda_ == 4.999
