"""What a study may say, what is settled for the data, what is stored, and what is compared."""

import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.definition.grids import AroundBest, Best, Linear, Logarithmic, ParentCell, Values
from hpo.definition.study import NOTEBOOK_SEED, Epochs, StudyDefinition, study_name, suffixed
from hpo.errors import InvalidDefinition
from hpo.experiment.experiment import DataFacts, Experiment, Parent
from hpo.experiment.resolution import differences, resolve
from hpo.testing import digits_facts

GRID = Values((1e-3, 1e-2))
DIGITS = digits_facts()
UUID = "00000000-0000-4000-8000-000000000000"


def define(**fields: Any) -> StudyDefinition:
    return StudyDefinition(**{"name": "mine", "grid": GRID} | fields)


def settle(**fields: Any) -> Experiment:
    return resolve(define(**fields), DIGITS)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": ""}, "A study's name has letters, digits, - and _, got ''"),
        ({"name": "a b"}, "A study's name has letters, digits, - and _, got 'a b'"),
        ({"name": "../x"}, r"A study's name has letters, digits, - and _, got '\.\./x'"),
        ({"grid": Best()}, "The grid of 'mine' needs a parent study, but none is named"),
        ({"grid": AroundBest(3)}, "The grid of 'mine' needs a parent study, but none is named"),
        ({"n_s": 0}, "n_s must be at least 1.*, got 0"),
        ({"n_s": -5}, "n_s must be at least 1, got -5"),
        ({"n_s": Epochs(0)}, "n_s must be at least 1.*, got 0"),
        ({"n_s": Epochs(math.nan)}, "n_s must be at least 1 update, more than 0 epochs, got nan"),
        ({"n_cycles": 0}, "n_cycles must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"n_validation": 0}, "n_validation must be at least 1, got 0"),
        ({"n_validation": 10**9}, "n_validation must be at most 100,000,000, got 1000000000"),
        ({"n_validation": 0.0}, "n_validation must be .* a share above 0 and below 1, got 0.0"),
        ({"n_validation": 1.0}, "above 0 and below 1, got 1.0. Write n_validation=1."),
        ({"n_validation": 5000.5}, "must be a whole number, or a share .* below 1, got 5000.5"),
        ({"n_validation": math.nan}, "a share above 0 and below 1, got nan"),
        ({"n_validation": "0.2"}, "must be a whole number, got '0.2' .* without quotes"),
        ({"replicates": 0}, "replicates must be at least 1, got 0"),
        ({"loss": "hinge"}, "loss must be one of cross-entropy, .*; got 'hinge'"),
        ({"normalisation": "z"}, "normalisation must be one of image, feature, none; got 'z'"),
        ({"dtype": "float16"}, "dtype must be one of float32, float64; got 'float16'"),
        ({"train_metrics": "no"}, "train_metrics must be one of running, full; got 'no'"),
        ({"protocol": "old"}, "protocol must be one of standard, notebook; got 'old'"),
        ({"seed": -1}, "The seed must be 0 to 4294967295, got -1"),
        ({"seed": 2**32}, "The seed must be 0 to 4294967295, got 4294967296"),
        ({"protocol": "notebook", "replicates": 2}, "The notebook protocol has no flips and one"),
        ({"protocol": "notebook", "flip_probability": 0.5}, "The notebook protocol has no flips"),
    ],
)
def test_a_definition_that_describes_no_study_is_refused(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidDefinition, match=sentence):
        define(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"eta_max": -1.0},  # no rate to learn with
        {"eta_max": math.nan},
        {"eta_min": 0.5, "eta_max": 0.1},  # the cycle would be upside down
        {"flip_probability": 1.5},  # no probability
        {"flip_probability": math.nan},
        {"n_s": 20.5},  # half an update cannot be made
        {"n_cycles": 1.5},
        {"batch_size": 10.5},
        {"hidden": 50.5},
        {"seed": 1.5},
        {"replicates": 1.5},
        {"grid": (0.1, 0.2)},  # a tuple is no grid
        {"n_s": "20"},  # nor is a text a number
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_before_anything_is_stored(
    fields: dict[str, Any],
) -> None:
    with pytest.raises(InvalidDefinition):
        settle(**fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"grid": Values((-1e-3,))}, r"lambda -0\.001 does not work .* it must be 0 or more"),
        ({"grid": Values((math.nan,))}, "lambda nan does not work"),
        ({"grid": Values((math.inf,))}, "lambda inf does not work"),
        ({"grid": Values((5.0,))}, r"lambda 5\.0 .* keep 1 - 2 eta lambda above 0"),  # exactly 0
        ({"grid": Values((0.2,)), "eta_max": 3.0}, "does not work with eta_max 3"),
        ({"grid": Values((0.1, 0.1))}, r"The grid of 'mine' has a lambda twice: \(0\.1, 0\.1\)"),
        ({"batch_size": 1201}, r"The batch size 1201 is larger than the training set \(1200 im"),
    ],
)
def test_a_definition_that_does_not_fit_the_data_is_refused(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidDefinition, match=sentence):
        settle(**fields)


@pytest.mark.parametrize(
    ("n_s", "updates"),
    [
        (7, 7),  # updates stay as they are
        (Epochs(2), 24),  # 12 updates an epoch
        (Epochs(0.5), 6),
        (Epochs(0.01), 1),  # less than an update is one
        (Epochs(2, at_least=240), 240),
        (Epochs(2, at_least=20), 24),
    ],
)
def test_n_s_is_settled_in_updates(n_s: int | Epochs, updates: int) -> None:
    found = settle(n_s=n_s, n_cycles=3)

    assert (found.n_s, found.n_updates) == (updates, 6 * updates)


def test_images_of_an_incomplete_last_batch_do_not_count_as_an_update() -> None:
    assert settle(batch_size=700, n_s=Epochs(4)).n_s == 4


def test_in_the_notebook_protocol_the_training_ends_with_an_epoch() -> None:
    found = settle(protocol="notebook", n_s=20, n_cycles=2)

    assert found.n_updates == 6 * 12  # 80 updates hold six whole epochs of 12


def test_lambda_0_is_a_value_like_any_other() -> None:
    assert settle(grid=Values((0, 1e-3))).lambdas == (0.0, 1e-3)


def test_the_notebook_protocol_settles_seed_precision_and_metrics() -> None:
    found = define(seed=3, flip_probability=0.5).in_protocol("notebook")

    assert (found.seed, found.dtype, found.train_metrics) == (NOTEBOOK_SEED, "float64", "full")
    assert found.flip_probability == 0


def test_a_definition_that_is_in_the_protocol_already_keeps_its_seed() -> None:
    definition = define(protocol="notebook", seed=3)

    assert definition.in_protocol("notebook") == definition
    assert define(seed=3).in_protocol("standard") == define(seed=3)


@pytest.mark.parametrize(
    ("data", "protocol", "name"),
    [
        ("cifar10", "standard", "mine"),  # nothing to tell apart
        ("digits", "standard", "mine-digits"),
        ("cifar10", "notebook", "mine-notebook"),
        ("digits", "notebook", "mine-digits-notebook"),  # data first
        ("digits-npz", "standard", "mine-digits-npz"),  # a user's digits.npz is not the digits
    ],
)
def test_a_study_is_named_after_definition_data_and_protocol(
    data: str, protocol: str, name: str
) -> None:
    assert study_name(define(protocol=protocol), data) == name
    assert suffixed("mine", data, protocol) == name


finite = st.floats(0, 1, allow_subnormal=False)
grids = st.one_of(
    st.builds(Values, st.lists(finite, min_size=1, max_size=5).map(tuple)),
    st.builds(Linear, finite, finite, st.integers(1, 20)),
    st.builds(Logarithmic, st.floats(-9, 0), st.floats(-9, 0), st.integers(1, 20)),
    st.builds(AroundBest, st.integers(1, 20)),
    st.just(Best()),
)
experiments = st.builds(
    Experiment,
    definition=st.builds(
        StudyDefinition,
        name=st.from_regex(r"[a-z0-9_-]*[a-z][a-z0-9_-]*", fullmatch=True),
        grid=grids,
        parent=st.just("coarse"),
        n_s=st.integers(1, 10_000),
        eta_max=st.floats(1e-5, 1),
        seed=st.integers(0, 2**32 - 1),
        n_validation=st.integers(1, 10**8) | st.floats(0, 1, exclude_min=True, exclude_max=True),
        replicates=st.integers(1, 9),
        loss=st.sampled_from(["cross-entropy", "binary-cross-entropy"]),
        continues_order=st.booleans(),
    ),
    data=st.builds(
        DataFacts,
        name=st.text(max_size=8),
        fingerprint=st.text(max_size=8),
        n_training=st.integers(1),
        n_validation=st.integers(1),
        d=st.integers(1),
        n_classes=st.integers(2),
        image_shape=st.lists(st.integers(1, 99), max_size=3).map(tuple),
    ),
    cells=st.lists(finite.map(lambda x: {"lambda": x}), min_size=1, max_size=5).map(tuple),
    n_updates=st.integers(1),
    parent=st.none() | st.builds(ParentCell, st.text(), st.just(UUID), st.integers(0, 9), finite),
    earlier_runs=st.lists(st.integers(1, 99), max_size=9).map(tuple),
)


@given(experiments)
def test_an_experiment_comes_back_from_storage_as_it_was(experiment: Experiment) -> None:
    stored = json.loads(json.dumps(experiment.to_json()))

    back = Experiment.from_json(stored)

    assert back == experiment
    assert back.to_json() == stored
    assert differences(experiment, back) == []


def test_storing_an_experiment_leaves_it_as_it_is() -> None:
    experiment = settle()
    stored = experiment.to_json()
    stored["definition"]["seed"] = 99
    stored["data"]["name"] = "other"
    stored["cells"][0]["lambda"] = 99.0

    assert experiment == settle()


@pytest.mark.parametrize(
    ("part", "field", "default"),
    [
        ("definition", "flip_probability", 0.0),  # studies from before there were flips have none
        ("definition", "replicates", 1),
        ("definition", "train_metrics", "running"),
    ],
)
def test_a_field_that_an_older_study_lacks_has_its_default(
    part: str, field: str, default: object
) -> None:
    stored = settle().to_json()
    del stored[part][field]

    assert getattr(Experiment.from_json(stored).definition, field) == default


def test_an_older_study_may_lack_parent_and_earlier_runs() -> None:
    stored = settle().to_json()
    del stored["parent"], stored["earlier_runs"]

    assert Experiment.from_json(stored) == settle()


@pytest.mark.parametrize(
    "change",
    [
        {"definition": {"dropout": 0.5}},  # a setting that this hpo does not know
        {"data": {"licence": "MIT"}},
        {"definition": {"grid": {"kind": "spiral", "n": 3}}},  # a kind of grid, neither
        {"definition": {"grid": {"kind": "linear", "lowest": 0, "highest": 1, "n": 3, "warp": 2}}},
        {"rungs": {"at": [2]}},  # a whole part
        {"parent": {"study": "c", "uuid": UUID, "cell": 0, "value": 0.1, "replicate": 1}},
    ],
)
def test_what_a_newer_hpo_stored_is_refused(change: dict[str, Any]) -> None:
    stored = settle().to_json()
    for part, fields in change.items():
        stored[part] = (stored.get(part) or {}) | fields

    with pytest.raises(InvalidDefinition, match="stored by a newer hpo .*Upgrade hpo"):
        Experiment.from_json(stored)


def test_equal_experiments_have_no_differences() -> None:
    assert differences(settle(), settle()) == []


def test_each_difference_is_a_line_with_both_values() -> None:
    other = dataclasses.replace(DIGITS, fingerprint="b" * 64)
    asked = resolve(define(seed=7, eta_max=0.2), other)

    assert differences(settle(), asked) == [
        f"data fingerprint: stored {'a' * 64}, asked for {'b' * 64}",
        "eta_max: stored 0.1, asked for 0.2",
        "seed: stored 0, asked for 7",
    ]


def test_another_grid_is_a_difference() -> None:
    (line,) = differences(settle(), settle(grid=Values((1e-3, 2e-2))))

    assert line.startswith("grid: stored {'kind': 'values', 'values': [0.001, 0.01]}, asked for")


def test_the_last_bit_of_a_lambda_is_a_difference() -> None:
    asked = settle(grid=Values((1e-3, math.nextafter(1e-2, 1))))

    assert len(differences(settle(), asked)) == 1


def test_a_long_difference_is_cut() -> None:
    lines = differences(settle(), settle(grid=Values(tuple(i / 1000 for i in range(300)))))

    assert max(map(len, lines)) < 300


def test_replicates_may_grow_and_not_shrink() -> None:
    one, three = settle(), settle(replicates=3)

    assert differences(one, three) == []
    assert differences(three, one) == ["replicates: stored 3, asked for 1"]


def test_another_protocol_is_a_difference() -> None:
    asked = resolve(define().in_protocol("notebook"), DIGITS)

    assert "protocol: stored standard, asked for notebook" in differences(settle(), asked)


def test_a_derived_study_without_its_parent_is_refused() -> None:
    with pytest.raises(InvalidDefinition, match="around a parent's best cell; there is none"):
        settle(grid=AroundBest(3), parent="coarse")


def test_the_carried_order_goes_on_after_all_runs_of_the_parent() -> None:
    before = settle(protocol="notebook", n_s=12)
    parent = Parent(ParentCell("coarse", UUID, 0, before.lambdas[0]), before)
    definition = define(protocol="notebook", n_s=12, parent="coarse", continues_order=True)

    found = resolve(definition, DIGITS, parent)

    assert found.runs_before(1) == (4, 4, 4)  # both cells of the parent, and the first of its own
