"""From stored values to the likeliest classes, against the reference network."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpo.errors import InvalidImage
from hpo.weights.file import Weights
from hpo.weights.prediction import Pictures, joined, predict, predict_each, table
from model.data import Statistics, digits, digits_test
from model.losses import Loss, sigmoid, softmax
from model.network import Network, forward, initialise
from model.normalisation import Inputs, Normalisation, feature_statistics

KINDS = list(Normalisation)


def weights(kind: Normalisation = Normalisation.NONE, **exchanged: Any) -> Weights:
    """Return a network for the digits with random weights."""
    settings: dict[str, Any] = {
        "network": initialise(np.random.default_rng(0), 64, 5, 10).astype(np.float32),
        "normalisation": kind,
        "statistics": feature_statistics(digits()) if kind is Normalisation.FEATURE else None,
        "loss": Loss.CROSS_ENTROPY,
        "image_shape": (8, 8),
        "white": 16.0,
        "class_names": (),
        "about": {},
    }
    return Weights(**settings | exchanged)


def pictures(rows: np.ndarray, labels: list[int] | None = None) -> Pictures:
    names = [f"picture {i}" for i in range(len(rows))]
    return Pictures(names, rows, np.array([-1] * len(rows) if labels is None else labels))


#: Scores are the values themselves.
IDENTITY = weights(
    network=Network(np.eye(3), np.zeros(3), np.eye(3), np.zeros(3)),
    image_shape=(),
    class_names=("cat", "dog", "ship"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_the_reference_network(kind: Normalisation) -> None:
    test, given = digits_test(), weights(kind)

    found = predict(given, pictures(test.images))

    inputs = Inputs(test, kind, np.float32, given.statistics).all()
    expected = softmax(forward(given.network, inputs))
    np.testing.assert_array_equal(found.classes[:, 0], expected.argmax(axis=1))
    np.testing.assert_allclose(found.probabilities[:, 0], expected.max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (np.diff(found.probabilities, axis=1) <= 0).all()


def test_an_image_is_classified_alone_as_in_company() -> None:
    images = np.concatenate([digits().images, digits_test().images])  # more than one chunk
    given = weights(Normalisation.IMAGE)

    together = predict(given, pictures(images)).probabilities[-1]
    alone = predict(given, pictures(images[-1:])).probabilities[0]

    np.testing.assert_allclose(alone, together, rtol=1e-5)


def test_the_binary_loss_has_a_probability_for_each_class_alone() -> None:
    scores = np.array([[0.5, 2.0, 1.0]], np.float32)

    found = predict(replace(IDENTITY, loss=Loss.BINARY_CROSS_ENTROPY), pictures(scores))

    assert found.classes.tolist() == [[1, 2, 0]]
    np.testing.assert_allclose(found.probabilities, sigmoid(scores[:, [1, 2, 0]]))


@pytest.mark.parametrize(
    ("scores", "order"),
    [
        ([1.0, 1.0, 1.0], [0, 1, 2]),  # equal scores are in the order of the classes
        ([0.0, 2.0, 2.0], [1, 2, 0]),
        ([800.0, 900.0, 0.0], [1, 0, 2]),  # whose sigmoids are both 1 exactly
    ],
)
def test_the_order_is_that_of_the_scores(scores: list[float], order: list[int]) -> None:
    binary = replace(IDENTITY, loss=Loss.BINARY_CROSS_ENTROPY)

    found = predict(binary, pictures(np.array([scores], np.float32)))

    assert found.classes.tolist() == [order]


def test_a_constant_image_is_named_where_contrast_is_needed() -> None:
    images = np.concatenate([digits().images[:2], np.full((1, 64), 7, np.uint8)])

    with pytest.raises(
        InvalidImage, match="picture 2 has one value throughout, so it has no contr"
    ):
        predict(weights(Normalisation.IMAGE), pictures(images))
    assert len(predict(weights(Normalisation.NONE), pictures(images)).classes) == 3


def test_an_image_that_has_a_number_for_a_name_is_called_an_image() -> None:
    rows = np.full((1, 64), 7, np.uint8)

    _, _, faults = predict_each(weights(Normalisation.IMAGE), Pictures(["0"], rows, np.array([-1])))

    assert faults[0].startswith("Image 0 has one value throughout")


def test_values_that_overflow_are_refused() -> None:
    images = np.zeros((2, 64), np.float32)
    images[1] = 3e38

    with pytest.raises(InvalidImage, match="picture 1 has values beyond what the network takes"):
        predict(weights(Normalisation.NONE), pictures(images))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_left_out(value: float) -> None:
    images = digits().images[:3].astype(np.float32)
    images[1, 7] = value

    sound, found, faults = predict_each(weights(Normalisation.IMAGE), pictures(images))

    assert sound.names == ["picture 0", "picture 2"]
    assert len(found.classes) == 2
    assert faults == ["picture 1 has values that are not finite. Leave it out."]


def test_the_table_has_a_line_an_image() -> None:
    scores = np.log(np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]])) + 10
    given = pictures(scores.astype(np.float32))

    def told(top: int) -> list[str]:
        return table(IDENTITY, given, predict(IDENTITY, given), top).splitlines()

    assert told(1) == ["picture 0\tcat\t0.7000", "picture 1\tship\t0.5000"]
    assert told(2) == [
        "picture 0\tcat\t0.7000\tdog\t0.2000",
        "picture 1\tship\t0.5000\tdog\t0.3000",
    ]
    assert told(3)[1] == "picture 1\tship\t0.5000\tdog\t0.3000\tcat\t0.2000"


@pytest.mark.parametrize(
    ("labels", "last"),
    [
        ([0, 2], "accuracy\t1.0000\t2 of 2"),
        ([1, 2], "accuracy\t0.5000\t1 of 2"),
        ([-1, 0], "accuracy\t0.0000\t0 of 1"),  # only where the class is known
    ],
)
def test_with_known_classes_the_last_line_is_the_accuracy(labels: list[int], last: str) -> None:
    given = pictures(np.eye(3, dtype=np.float32)[[0, 2]], labels)

    assert table(IDENTITY, given, predict(IDENTITY, given)).splitlines()[-1] == last


def test_a_class_without_a_name_is_its_number() -> None:
    given = pictures(np.eye(3, dtype=np.float32)[[1]])
    nameless = replace(IDENTITY, class_names=())

    assert table(nameless, given, predict(nameless, given)).startswith("picture 0\t1\t")


def test_pictures_are_joined_in_their_order() -> None:
    bytes_, numbers = np.full((1, 3), 200, np.uint8), np.full((2, 3), 0.5, np.float32)

    found = joined([pictures(bytes_), pictures(numbers, [1, 2])])

    assert found.names == ["picture 0", "picture 0", "picture 1"]
    assert found.rows[:, 0].tolist() == [200, 0.5, 0.5]
    assert found.labels.tolist() == [-1, 1, 2]


def test_feature_statistics_are_those_of_the_file() -> None:
    shifted = Statistics(np.full(64, 3.0), np.full(64, 2.0))
    images = digits().images[:5]

    found = predict(weights(Normalisation.FEATURE, statistics=shifted), pictures(images))

    scores = forward(weights().network, (images.astype(np.float32) - 3) / 2)
    np.testing.assert_allclose(found.probabilities[:, 0], softmax(scores).max(axis=1), rtol=1e-5)
