"""One training with explicit settings: the notebook's overfitting check, and wrong settings."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hpo.definition.study import NOTEBOOK_SEED
from hpo.training.single import Settings, Trained, train_once
from model.data import digits, digits_test, split
from model.errors import InvalidConfig
from model.losses import Loss
from model.normalisation import Normalisation
from model.schedule import Cyclic, Static

DIGITS = digits()
PARTS = split(DIGITS, 300)
SHORT = Settings(cycles=1, n_s=20)
#: The notebook's check: 20 images, no penalty, a small constant rate.
OVERFIT = Settings(
    schedule="static", eta=0.05, epochs=200, batch_size=10, train_metrics="full", dtype="float64"
)


def trained(settings: Settings, n: int = 1200) -> Trained:
    return train_once(settings, PARTS.training.take(0, n), PARTS.validation)


def test_a_network_learns_twenty_images_by_heart() -> None:
    found = trained(OVERFIT, n=20)

    assert found.evaluations[-1].training.accuracy[0] == 1
    assert found.evaluations[-1].training.loss[0] < 0.05
    assert found.network is not None


def test_the_notebook_protocol_learns_them_too() -> None:
    found = trained(replace(OVERFIT, protocol="notebook", seed=NOTEBOOK_SEED), n=20)

    assert found.evaluations[-1].training.accuracy[0] == 1


def test_with_a_static_rate_there_is_a_log_point_an_epoch() -> None:
    found = trained(replace(OVERFIT, epochs=3), n=20)

    assert [e.update for e in found.evaluations] == [2, 4, 6]
    assert found.config.schedule == Static(eta=0.05, period=2)


def test_cycles_give_twenty_log_points_each() -> None:
    found = trained(replace(SHORT, cycles=2))

    assert [e.update for e in found.evaluations] == list(range(2, 81, 2))
    assert found.config.schedule == Cyclic(eta_min=1e-5, eta_max=1e-1, n_s=20)


def test_a_cyclic_training_may_be_as_long_as_some_epochs() -> None:
    found = trained(Settings(n_s=20, epochs=3))

    assert found.config.n_updates == 36  # 12 updates an epoch
    assert found.evaluations[-1].update == 36


def test_equal_settings_give_equal_bits_and_another_seed_does_not() -> None:
    first, again, other = (trained(replace(SHORT, seed=seed)) for seed in (1, 1, 2))

    assert first.network is not None
    assert again.network is not None
    assert other.network is not None
    np.testing.assert_array_equal(first.network.w1, again.network.w1)
    assert not np.array_equal(first.network.w1, other.network.w1)


def test_an_earlier_run_changes_the_order_in_the_notebook_protocol() -> None:
    notebook = replace(SHORT, protocol="notebook", dtype="float64", seed=NOTEBOOK_SEED)
    fresh, carried = trained(notebook), trained(replace(notebook, earlier_runs=(10,)))

    assert fresh.network is not None
    assert carried.network is not None
    assert not np.array_equal(fresh.network.w1, carried.network.w1)


def test_more_images_can_be_shown_to_the_trained_network() -> None:
    found = trained(SHORT)
    hits = found.hits(PARTS.validation)

    np.testing.assert_array_equal(hits, found.evaluations[-1].hits[0])
    assert found.hits(digits_test()).shape == (297,)


def test_a_training_that_was_stopped_has_no_network() -> None:
    found = train_once(SHORT, PARTS.training, PARTS.validation, stop=lambda: True)

    assert found.network is None
    assert found.evaluations == []
    with pytest.raises(InvalidConfig, match="stopped before its end"):
        found.hits(PARTS.validation)


def test_somebody_can_watch() -> None:
    seen: list[int] = []
    train_once(
        SHORT, PARTS.training, PARTS.validation, watch=lambda e, config: seen.append(e.update)
    )

    assert seen == list(range(2, 41, 2))


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("normalisation", list(Normalisation))
def test_every_loss_and_normalisation_trains(loss: Loss, normalisation: Normalisation) -> None:
    found = trained(replace(SHORT, loss=loss, normalisation=normalisation, eta_max=0.05))

    curve = [e.validation.cost[0] for e in found.evaluations]
    assert curve[-1] < curve[0]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"schedule": "odd"}, "schedule must be cyclic or static, got 'odd'"),
        ({"dtype": "float16"}, "dtype must be float32 or float64, got 'float16'"),
        ({"train_metrics": "odd"}, "train-metrics must be running or full, got 'odd'"),
        ({"protocol": "odd"}, "protocol must be standard or notebook, got 'odd'"),
        ({"hidden": 0}, "The hidden layer needs at least 1 unit, got 0"),
        ({"epochs": 1}, "Give the length of the training as cycles or as epochs, not both"),
        ({"cycles": None}, "Give the length of the training as cycles or as epochs, not both"),
        ({"schedule": "static"}, "A static learning rate has no cycles; give the length in epochs"),
        ({"protocol": "notebook", "flip": 0.5}, "The notebook protocol has no flips"),
    ],
)
def test_settings_that_describe_no_training_are_refused(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidConfig, match=sentence):
        replace(SHORT, **fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"lambda_": -1.0}, r"lambda must be 0 or more, got -1\.0"),
        ({"lambda_": float("nan")}, "lambda must be 0 or more, got nan"),
        ({"lambda_": 5.0}, "factor 1 - 2 eta lambda must stay above 0"),
        ({"n_s": 0}, "n_s must be at least 1 update, got 0"),
        ({"cycles": 0}, "The training needs at least 1 update, got 0"),
        ({"cycles": None, "epochs": -1}, "The training needs at least 1 update, got -1"),
        ({"batch_size": 0}, "The batch size must be 1 to 1200, .*; got 0"),
        ({"batch_size": 1201}, "The batch size must be 1 to 1200, .*; got 1201"),
        ({"eta_max": -1.0}, "The learning rates must satisfy 0 <= eta_min <= eta_max"),
        ({"eta_min": 1.0}, "The learning rates must satisfy 0 <= eta_min <= eta_max"),
        ({"schedule": "static", "cycles": None, "epochs": 1, "eta": 0.0}, "eta must be above 0"),
        ({"flip": 1.5}, r"The flip probability must be 0 to 1, got 1\.5"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidConfig, match=sentence):
        trained(replace(SHORT, **fields))


def options(**changed: Any) -> dict[str, Any]:
    return {
        "dtype": None,
        "seed": None,
        "loss": "cross-entropy",
        "normalisation": "image",
        "protocol": "standard",
        "cycles": 1,
    } | changed


@pytest.mark.parametrize(
    ("typed", "dtype", "seed"),
    [
        ({}, "float32", 0),
        ({"protocol": "notebook"}, "float64", NOTEBOOK_SEED),  # its own
        ({"protocol": "notebook", "dtype": "float32", "seed": 3}, "float32", 3),  # unless told
        ({"seed": 0, "protocol": "notebook"}, "float64", 0),  # 0 is a seed; the notebook forgot it
    ],
)
def test_precision_and_seed_default_to_the_protocols(
    typed: dict[str, Any], dtype: str, seed: int
) -> None:
    settings = Settings.of_options(**options(**typed))

    assert (settings.dtype, settings.seed) == (dtype, seed)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"loss": "hinge"}, "loss must be cross-entropy or binary-cross-entropy, got 'hinge'."),
        ({"normalisation": "z"}, "normalisation must be image or feature or none, got 'z'."),
    ],
)
def test_typed_names_that_nobody_knows_are_refused(typed: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidConfig, match=re.escape(sentence)):
        Settings.of_options(**options(**typed))
