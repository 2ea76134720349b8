"""Training: what is yielded when, what the values are, what diverges and what is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest

import model.training
from model.errors import InvalidConfig
from model.losses import Loss
from model.network import accuracy, cost, forward, gradients, penalty, step
from model.schedule import Static
from model.training import Batches, Examination, TrainingConfig, build_stack, train
from tests.model.digits_training import (
    PARTS,
    RANDOMNESS,
    batch_of,
    bits,
    cyclic,
    fresh_stack,
    inputs,
    run,
)

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
