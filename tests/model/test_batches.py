"""Mini-batches: each depends on its update alone."""

from dataclasses import replace

import numpy as np

from model.training import Batches
from tests.model.digits_training import PARTS, RANDOMNESS, batch_of, bits, cyclic, inputs, run


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
