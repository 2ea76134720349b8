"""Numbers in definitions: NumPy's are plain ones, each has a range, and what is none is told."""

import enum
import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.definition.grids import AroundBest, Linear, Logarithmic, Values, grid_to_json
from hpo.definition.numbers import plain, shown
from hpo.definition.ranges import Real, WholeEpochs
from hpo.definition.spaces import Space
from hpo.definition.study import COUNTS, Epochs, StudyDefinition
from hpo.errors import InvalidDefinition
from hpo.experiment.experiment import Experiment
from hpo.experiment.resolution import check_budget, resolve
from hpo.testing import digits_facts

DIGITS = digits_facts()
PLAIN = StudyDefinition(name="mine", grid=Values((1e-3, 1e-2)))
SEARCH = replace(PLAIN, grid=None, space=Space(lambda_=Real(1e-4, 1e-2)))
HUGE = 10**5000  # Python does not even print it


class Width(enum.IntEnum):
    """A number with a name."""

    NARROW = 7


def types_in(value: Any) -> set[type]:
    if isinstance(value, dict):
        return set().union(*(types_in(v) for v in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(types_in, value))
    return {type(value)}


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"hidden": np.int64(7)}, {"hidden": 7}),
        ({"hidden": np.uint8(7)}, {"hidden": 7}),
        ({"hidden": np.array(7)}, {"hidden": 7}),
        ({"hidden": Width.NARROW}, {"hidden": 7}),
        ({"n_s": np.int32(20)}, {"n_s": 20}),
        ({"n_s": Epochs(np.float32(0.5))}, {"n_s": Epochs(0.5)}),
        ({"n_s": Epochs(np.int64(2))}, {"n_s": Epochs(2)}),
        ({"eta_max": np.float64(0.2)}, {"eta_max": 0.2}),
        ({"eta_max": np.float32(0.1)}, {"eta_max": 0.10000000149011612}),
        ({"eta_max": np.longdouble(0.25)}, {"eta_max": 0.25}),
        ({"eta_min": Decimal("0.01")}, {"eta_min": 0.01}),
        ({"flip_probability": Fraction(1, 2)}, {"flip_probability": 0.5}),
        ({"flip_probability": np.array(0.5)}, {"flip_probability": 0.5}),
        ({"seed": np.uint32(2**32 - 1)}, {"seed": 2**32 - 1}),
        ({"replicates": np.int16(2), "n_cycles": np.int8(3)}, {"replicates": 2, "n_cycles": 3}),
        ({"continues_order": np.True_}, {"continues_order": True}),
        ({"loss": np.str_("cross-entropy")}, {}),
        ({"grid": Values(np.logspace(-5, -1, 8))}, {"grid": Values(tuple(np.logspace(-5, -1, 8)))}),
        ({"grid": Values(np.array([1e-3, 1e-2]))}, {}),
        ({"grid": Values([1e-3, Decimal("0.01")])}, {}),
        ({"grid": Values(10.0**e for e in (-3, -2))}, {}),
        ({"grid": Values(range(1, 3))}, {"grid": Values((1.0, 2.0))}),
        (
            {"grid": Logarithmic(np.int64(-5), np.float64(-1), np.int64(3))},
            {"grid": Logarithmic(-5, -1.0, 3)},
        ),
        (
            {"grid": Linear(np.float64(0), Fraction(1, 4), np.array(3))},
            {"grid": Linear(0.0, 0.25, 3)},
        ),
        ({"grid": AroundBest(np.uint8(3)), "parent": "c"}, {"grid": AroundBest(3), "parent": "c"}),
    ],
)
def test_numbers_of_other_libraries_are_stored_as_plain_ones(
    fields: dict[str, Any], same: dict[str, Any]
) -> None:
    definition = replace(PLAIN, **fields)

    assert definition == replace(PLAIN, **same)
    kept = {key: value for key, value in vars(definition).items() if key not in ("grid", "n_s")}
    kept["grid"] = grid_to_json(definition.grid)
    kept["n_s"] = getattr(definition.n_s, "epochs", definition.n_s)
    assert types_in(kept) <= {int, float, bool, str, type(None)}
    assert json.loads(json.dumps(kept)) == kept


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"lambda_": Real(np.float64(1e-4), 1, n=np.int64(3))}, {"lambda_": Real(1e-4, 1, n=3)}),
        ({"n_s": WholeEpochs(np.int64(1), np.int64(4))}, {"n_s": WholeEpochs(1, 4)}),
        ({"flip_probability": np.array([0.0, 0.5])}, {"flip_probability": (0.0, 0.5)}),
        ({"flip_probability": [Fraction(1, 4)]}, {"flip_probability": (0.25,)}),
        ({"normalisation": ["image", np.str_("none")]}, {"normalisation": ("image", "none")}),
        ({"budget": np.int64(500), "width": np.uint8(4)}, {"budget": 500, "width": 4}),
        ({"final_share": np.float16(0.25)}, {"final_share": 0.25}),
    ],
)  # fmt: skip
def test_a_space_takes_them_too(given: dict[str, Any], same: dict[str, Any]) -> None:
    space = replace(SEARCH.space or Space(lambda_=Real(1, 2)), **given)

    assert space == replace(SEARCH.space or Space(lambda_=Real(1, 2)), **same)
    assert json.loads(json.dumps(space.to_json())) == space.to_json()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_s": "900"}, "n_s must be a whole number, got '900' of type str. Write it without quotes."),
        ({"hidden": "wide"}, "hidden must be a whole number, got 'wide' of type str."),
        ({"n_cycles": 2.0}, "n_cycles must be a whole number, got 2.0. Write n_cycles=2."),
        ({"n_cycles": np.float64(2)}, "got 2.0. Write n_cycles=2."),
        ({"batch_size": True}, "batch_size must be a whole number, got True of type bool."),
        ({"batch_size": np.bool_(True)}, "got True of type bool."),
        ({"replicates": np.array([1, 2])}, "got array([1, 2]) of type ndarray."),
        ({"replicates": None}, "replicates must be a whole number, got None of type NoneType."),
        ({"hidden": 1e20}, "hidden must be a whole number, got 1e+20."),
        ({"hidden": 10**20}, "hidden must be at most 100,000, got 100000000000000000000."),
        ({"hidden": HUGE}, "hidden must be at most 100,000, got a value of type int."),
        ({"n_s": -HUGE}, "n_s must be at least 1, got a value of type int."),
        ({"n_s": Epochs(2, at_least=-1)}, "at_least of n_s must be at least 0, got -1."),
        ({"n_s": Epochs("2")}, "more than 0 epochs, got '2' of type str. Write it without quotes."),
        ({"n_s": Epochs(math.inf)}, "more than 0 epochs, got inf."),
        ({"n_s": Epochs(1e9)}, "n_s in epochs must be at most 10,000,000, got 1000000000.0."),
        ({"eta_max": "1e-3"}, "with eta_max above 0, got eta_min=1e-05, eta_max='1e-3'."),
        ({"eta_max": HUGE}, "eta_max=a value of type int."),
        ({"eta_max": 1e300}, "eta_max=1e+300."),
        ({"eta_min": 1 + 0j}, "eta_min=(1+0j)"),
        ({"flip_probability": "0.5"}, "must be 0 to 1, got '0.5' of type str. Write it without quo"),
        ({"flip_probability": True}, "must be 0 to 1, got True of type bool."),
        ({"flip_probability": Decimal("NaN")}, "must be 0 to 1, got nan."),
        ({"flip_probability": Decimal("sNaN")}, "must be 0 to 1, got Decimal('sNaN') of type Dec"),
        ({"seed": "0"}, "The seed must be 0 to 4294967295, got '0' of type str. Write it without q"),
        ({"seed": np.float32(1)}, "The seed must be 0 to 4294967295, got 1.0. Write seed=1."),
        ({"evaluates_test": "no"}, "evaluates_test must be True or False, got 'no' of type str."),
        ({"inherits_recipe": 1}, "inherits_recipe must be True or False, got 1."),
        ({"loss": np.array(["x", "y"])}, "loss must be one of cross-entropy, binary-cross-entropy;"),
        ({"parent": "../x"}, "The parent of a study is a name, which has letters, digits, - and _"),
        ({"name": "x" * 201}, "A study's name has at most 200 characters, got 201."),
        ({"name": 5}, "A study's name has letters, digits, - and _, got 5."),
        ({"name": "a\x1b[31m"}, "A study's name has letters, digits, - and _, got"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_told_with_field_type_and_remedy(
    fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        replace(PLAIN, **fields)

    assert sentence in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Values("0.1"), "must be several values in a tuple, a list or an array, got '0.1' of"),  # type: ignore[arg-type]
        (lambda: Values(0.1), "got 0.1 of type float. Write a single one as (value,)."),  # type: ignore[arg-type]
        (lambda: Values(np.float64(0.1)), "Write a single one as (value,)."),  # type: ignore[arg-type]
        (lambda: Values({0.1, 0.2}), "of type set."),  # type: ignore[arg-type]
        (lambda: Values({0.1: 1}), "of type dict."),  # type: ignore[arg-type]
        (lambda: Values(None), "of type NoneType."),  # type: ignore[arg-type]
        (lambda: Values(("1e-3",)), "must be a number, got '1e-3' of type str. Write it without qu"),  # type: ignore[arg-type]
        (lambda: Values((True,)), "A lambda of a grid must be a number, got True of type bool."),
        (lambda: Values(np.ones((2, 2))), "must be a number, got array([1., 1.]) of type ndarray."),  # type: ignore[arg-type]
        (lambda: Values((1 + 2j,)), "must be a number, got (1+2j) of type complex."),  # type: ignore[arg-type]
        (lambda: Values((HUGE,)), "A lambda of a grid is too large for a number."),
        (lambda: Values(itertools.count()), "must be at most 10,000 values, got more."),  # type: ignore[arg-type]
        (lambda: Values(range(10**12)), "must be at most 10,000 values, got more."),  # type: ignore[arg-type]
        (lambda: Logarithmic(-6, 0, 10**9), "A grid has at most 10,000 cells, got n=1000000000."),
        (lambda: Linear(0, 1, 10_001), "A grid has at most 10,000 cells, got n=10001."),
        (lambda: AroundBest(HUGE), "A grid has at most 10,000 cells, got n=a value of type int."),
        (lambda: Linear(0, 1, 3.5), "n of Linear must be a whole number, got 3.5."),  # type: ignore[arg-type]
        (lambda: Linear(0, 1, True), "n of Linear must be a whole number, got True of type bool."),
        (lambda: AroundBest("3"), "n of AroundBest must be a whole number, got '3' of type str. Wr"),  # type: ignore[arg-type]
        (lambda: Logarithmic("-6", 0, 3), "lowest_exponent of Logarithmic must be a number, got '-6'"),  # type: ignore[arg-type]
        (lambda: Logarithmic(-6, math.nan, 3), "highest_exponent of Logarithmic must be a number, got"),
        (lambda: Linear(-math.inf, 1, 3), "lowest of Linear must be a number, got -inf."),
        (lambda: Linear(0, HUGE, 3), "highest of Linear must be a number, got a value of type int."),
        (lambda: Real(0.1, HUGE) and Space(lambda_=Real(0.1, HUGE)), "lambda_ of a space must be"),
        (lambda: Space(lambda_=Real(0.1, 1), budget=10**13), "budget of a space must be 1,000,000,00"),
        (lambda: Space(lambda_=Real(0.1, 1), width=10**9), "width of a space must be 1,000 or less"),
        (lambda: Space(lambda_=Real(0.1, 1), finalists=10**9), "finalists of a space must be 1,000"),
        (lambda: Space(lambda_=Real(0.1, 1), budget="9"), "got '9' of type str. Write it without q"),  # type: ignore[arg-type]
        (lambda: Space(lambda_=Real(0.1, 1), n_s=WholeEpochs(1, 10**30)), "n_s of a space must be"),
        (lambda: Space(lambda_=Real(0.1, 1), sampler=np.array(["tpe"])), "sampler of a space must"),  # type: ignore[arg-type]
        (lambda: Space(lambda_=Real(0.1, 1), normalisation=np.ones((2, 2))), "normalisation of a sp"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_grid_or_space_of_other_things_is_told(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        make()

    assert sentence in str(refused.value)


@pytest.mark.parametrize("field", COUNTS)
@pytest.mark.parametrize("more", [1, 10**9, 10**300])
def test_every_count_has_a_largest_value(field: str, more: int) -> None:
    assert getattr(replace(PLAIN, **{field: COUNTS[field]}), field) == COUNTS[field]  # type: ignore[arg-type]
    with pytest.raises(InvalidDefinition, match=f"{field} must be at most {COUNTS[field]:,}"):
        replace(PLAIN, **{field: COUNTS[field] + more})  # type: ignore[arg-type]


weird: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(HUGE),
    st.floats(),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.floats(), max_size=3),
    st.builds(np.array, st.lists(st.floats(), max_size=3)),
    st.builds(np.float32, st.floats(width=32)),
    st.builds(np.datetime64, st.just("2020-01-01")),
    st.builds(object),
)
FIELDS = [name for name in vars(PLAIN) if name not in ("name", "parent")]


@given(st.sampled_from(FIELDS), weird)
def test_no_value_of_any_field_raises_anything_but_a_sentence(field: str, value: Any) -> None:
    try:
        experiment = resolve(replace(PLAIN, **{field: value}), DIGITS)
    except InvalidDefinition as error:
        assert str(error).isprintable()  # noqa: PT017  # most values do not get further
    else:
        json.loads(json.dumps(experiment.to_json(), allow_nan=False))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"replicates": 10_000, "grid": Linear(0.001, 0.1, 11)}, "110,000 trainings; at most 100,000"),
        ({"n_s": 10**6, "n_cycles": 1000}, "has 2,000,000,000 updates; at most 1,000,000,000 are"),
        ({"n_s": Epochs(10**7), "n_cycles": 5}, "has 1,200,000,000 updates; at most"),
    ],
)  # fmt: skip
def test_a_study_has_a_largest_size(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidDefinition, match=sentence):
        resolve(replace(PLAIN, **fields), DIGITS)


def test_a_budget_that_pays_for_millions_of_trainings_is_refused() -> None:
    space = Space(lambda_=Real(0.01, 0.01), budget=10**9, sampler="grid")
    definition = replace(SEARCH, space=space, n_s=6, n_cycles=2)

    with pytest.raises(InvalidDefinition, match="pays for 41,666,666 trainings of 'mine'; at most"):
        check_budget(resolve(definition, DIGITS), space)


def stored(**changes: Any) -> Iterator[dict[str, Any]]:
    for definition in (PLAIN, SEARCH):
        experiment = resolve(definition, DIGITS).to_json()
        experiment["cells"] = [{"lambda": 0.001}]
        for path, value in changes.items():
            part, _, key = path.partition("__")
            if part in experiment:
                experiment[part] = dict(experiment[part]) | {key: value}
        yield experiment


@pytest.mark.parametrize(
    "changes",
    [
        {"definition__replicates": 10**9},
        {"definition__hidden": 10**20},
        {"definition__pruner": "percentile:percentile=200"},
        {"definition__pruner": "threshold:lower=inf"},
        {"definition__n_cycles": 10**12},
        {"definition__eta_max": math.inf},
    ],
)
def test_what_an_older_hpo_stored_without_bound_is_refused_when_it_is_read(
    changes: dict[str, Any],
) -> None:
    for experiment in stored(**changes):
        with pytest.raises(InvalidDefinition, match="describes no study that can be worked with"):
            Experiment.from_json(experiment)


def test_finalists_with_millions_of_replicates_are_refused_when_they_are_read() -> None:
    *_, search = stored()
    search["search"] |= {
        "is_full": True,
        "is_over": True,
        "finalists": [0],
        "replicates": 20_833_332,
    }

    with pytest.raises(
        InvalidDefinition, match="Trainings must be at most 1,000,000, got 20833332"
    ):
        Experiment.from_json(search)


def test_what_has_no_plain_number_stays_as_it_is() -> None:
    assert plain(value := object()) is value
    assert math.isnan(plain(np.float64("nan")))
    assert shown("a\nb\x1b") == repr("a\nb\x1b")
    assert len(shown("x" * 1000)) == 80
