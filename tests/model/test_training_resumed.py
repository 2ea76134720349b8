"""Training can be stopped, left and resumed, and ends with the same bits."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from model.data import Dataset
from model.network import Network
from model.stack import Stack
from model.training import EVALUATION_CHUNK, Batches, Evaluation, Examination, build_stack, train
from tests.model.digits_training import (
    PARTS,
    RANDOMNESS,
    CountingBatches,
    bits,
    cyclic,
    fresh_stack,
    inputs,
    run,
    weights,
)

MakeDataset = Callable[..., Dataset]


class StopAtCall:
    """Says True at the ``last``-th time it is asked, and counts how often it was."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.n_calls = 0

    def __call__(self) -> bool:
        self.n_calls += 1
        return self.n_calls >= self.last


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
