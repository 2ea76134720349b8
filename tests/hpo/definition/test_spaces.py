"""What a space holds: values at places, what is stored of it, and which spaces are refused."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna import distributions
from optuna.trial import create_trial

from hpo.definition.ranges import Choice, Dimension, Real, Whole, WholeEpochs
from hpo.definition.spaces import NORMALISATIONS, SAMPLERS, Space
from hpo.errors import InvalidDefinition
from tests.hpo.search.anything import ANYTHING
from tests.hpo.search.anything import NUMBERS as ONLY_NUMBERS

NUMBERS = st.floats(1e-8, 1e3)
PLACES = st.floats(0, 1)


@st.composite
def reals(draw: st.DrawFn) -> Real:
    low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
    return Real(low, high, logarithmic=draw(st.booleans()), n=draw(st.integers(1, 9)))


@st.composite
def wholes(draw: st.DrawFn) -> Whole:
    step, first, n = (draw(st.integers(1, 500)) for _ in range(3))
    return Whole(first * step, (first + n) * step, step)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    sampler, first = draw(st.sampled_from(SAMPLERS)), draw(st.integers(1, 9))
    normalisations = st.lists(st.sampled_from(NORMALISATIONS), unique=True)
    probabilities = st.lists(PLACES, unique=True, max_size=3)
    are_numbers = sampler == "cmaes"
    return Space(
        lambda_=draw(reals()),
        eta_max=draw(st.none() | reals()),
        n_s=draw(st.none() | st.just(WholeEpochs(first, first + draw(st.integers(0, 9))))),
        normalisation=() if are_numbers else tuple(draw(normalisations)),
        flip_probability=() if are_numbers else tuple(draw(probabilities)),
        sampler=sampler,
        budget=draw(st.integers(1, 10**12)),
        width=draw(st.integers(4, 20)),
        finalists=draw(st.integers(0, 9)),
        final_share=draw(st.floats(0, 1, exclude_max=True)),
        warm_start=tuple(draw(st.lists(st.text(), unique=True, max_size=2))),
    )


choices = st.lists(st.text(max_size=3), min_size=1, unique=True).map(lambda o: Choice(tuple(o)))
dimensions = st.one_of(reals(), wholes(), choices)


# --- places and values


@given(dimensions, st.floats(-1, 2))
def test_every_place_has_a_value_of_the_range(dimension: Dimension, place: float) -> None:
    assert dimension.has(dimension.at(place))


@given(dimensions, PLACES)
def test_a_value_has_a_place_that_leads_back_to_it(dimension: Dimension, place: float) -> None:
    value = dimension.at(place)

    assert 0 <= dimension.place(value) <= 1
    assert dimension.at(dimension.place(value)) == value


@given(reals(), PLACES)
def test_any_number_of_a_range_comes_back_to_eleven_digits(real: Real, share: float) -> None:
    value = min(max(real.low * (1 - share) + real.high * share, real.low), real.high)

    assert real.at(real.place(value)) == pytest.approx(value, rel=1e-11)


@given(st.one_of(reals(), wholes()), PLACES, PLACES)
def test_a_later_place_never_has_a_smaller_number(
    dimension: Real | Whole, one: float, other: float
) -> None:
    low, high = sorted((one, other))

    assert dimension.at(low) <= dimension.at(high)  # type: ignore[operator]


@given(reals())
def test_the_ends_of_a_range_are_its_bounds_to_the_last_digit(real: Real) -> None:
    assert (real.at(0), real.at(1)) == (real.low, real.high)


def test_places_follow_the_scale() -> None:
    assert Real(1e-4, 1e-2, logarithmic=True).at(0.5) == 1e-3
    assert Real(1.0, 3.0).at(0.5) == 2.0
    assert Real(1e-4, 1e-2, logarithmic=True).place(1e-3) == pytest.approx(0.5)
    assert Real(1.0, 3.0).place(2.5) == 0.75


def test_a_number_is_written_in_digits_that_people_can_read() -> None:
    assert Real(0.0, 1.0).at(1 / 3) == 0.333333333333
    assert Real(1e-5, 1e-1, logarithmic=True).at(1 / 3) == 0.000215443469003


@given(st.one_of(wholes(), choices))
def test_each_of_some_values_has_an_equal_part_of_the_places(dimension: Whole | Choice) -> None:
    values = dimension.values()

    middles = [(i + 0.5) / len(values) for i in range(len(values))]
    assert [dimension.at(middle) for middle in middles] == values
    assert [dimension.place(value) for value in values] == middles
    assert all(dimension.has(value) for value in values)


@given(reals())
def test_a_grid_takes_different_values_from_one_end_to_the_other(real: Real) -> None:
    values = real.values()

    assert len(values) <= real.n
    assert values == sorted(set(values))
    assert all(real.has(value) for value in values)
    if real.n > 1:
        assert (values[0], values[-1]) == (real.low, real.high)
    else:
        assert values == [real.at(0.5)]


def test_a_range_of_one_number_has_one_value() -> None:
    for logarithmic in (False, True):
        point = Real(0.1, 0.1, logarithmic=logarithmic, n=5)
        assert point.values() == [0.1]
        assert {point.at(place) for place in (0, 0.3, 1)} == {0.1}
        assert point.place(0.1) == 0.5


@pytest.mark.parametrize(
    ("dimension", "outside"),
    [
        (Real(0.1, 0.2), [0.0999, 0.2001, math.nan, "0.1"]),
        (Whole(12, 48, 12), [0, 13, 60, 24.5, "24"]),
        (Choice(("image", "none")), ["feature", 0.5]),
        (Choice((0.0, 0.5)), [0.25, "0.5"]),
    ],
)
def test_what_lies_outside_is_told_apart(dimension: Dimension, outside: list[Any]) -> None:
    assert not any(dimension.has(value) for value in outside)


@given(dimensions, PLACES)
def test_optuna_takes_every_value_for_one_of_its_distribution(
    dimension: Dimension, place: float
) -> None:
    parameters = {"x": dimension.at(place)}

    kind, given = dimension.for_optuna()
    known = {"x": getattr(distributions, kind)(**given)}
    trial = create_trial(params=parameters, distributions=known, value=0.5)

    assert trial.params == parameters


@pytest.mark.parametrize(
    ("dimension", "words"),
    [
        (Real(0.02, 0.3), "0.02 to 0.3"),
        (Real(1e-4, 1e-2, logarithmic=True), "0.0001 to 0.01, on a logarithmic scale"),
        (Whole(450, 1800, 450), "450 to 1800 in steps of 450"),
        (Choice((0.0, 0.5)), "0.0 or 0.5"),
    ],
)
def test_a_dimension_can_be_read(dimension: Dimension, words: str) -> None:
    assert dimension.in_words() == words


# --- spaces


def test_a_space_names_what_it_searches_in_one_order() -> None:
    space = Space(
        lambda_=Real(1e-4, 1e-2),
        flip_probability=(0.0, 0.5),
        n_s=WholeEpochs(1, 4),
        eta_max=Real(0.02, 0.3),
        normalisation=("image",),
    )

    found = space.dimensions(per_epoch=450)

    assert list(found) == ["lambda", "eta_max", "n_s", "normalisation", "flip_probability"]
    assert found["n_s"] == Whole(450, 1800, 450)
    assert found["n_s"].values() == [450, 900, 1350, 1800]


def test_what_a_space_leaves_out_is_not_searched() -> None:
    assert Space(lambda_=Real(0.1, 0.2)).dimensions(12) == {"lambda": Real(0.1, 0.2)}


@given(spaces())
def test_a_space_comes_back_from_json(space: Space) -> None:
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space


SPACE = Space(lambda_=Real(1e-4, 1e-2), n_s=WholeEpochs(1, 4))
CMAES = {"sampler": "cmaes", "normalisation": ()}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lambda_": 1e-3}, "lambda_ of a space must be a range, for example Real(0.001, 0.1)"),
        ({"lambda_": None}, "lambda_ of a space must be a range"),
        ({"eta_max": (0.1, 0.2)}, "eta_max of a space must be a range"),
        (
            {"eta_max": Real(0.3, 0.1)},
            "eta_max of a space must be 0 or more, the lower bound first",
        ),
        ({"lambda_": Real(-1.0, 0.1)}, "lambda_ of a space must be 0 or more"),
        ({"lambda_": Real(0.0, math.inf)}, "lambda_ of a space must be 0 or more"),
        ({"lambda_": Real(math.nan, 0.1)}, "lambda_ of a space must be 0 or more"),
        ({"lambda_": Real("a", "b")}, "got Real(low='a', high='b'"),  # type: ignore[arg-type]
        ({"lambda_": Real(False, True)}, "lambda_ of a space must be 0 or more"),
        ({"lambda_": Real(0.0, 0.1, logarithmic=True)}, "above 0 on a logarithmic scale"),
        ({"eta_max": Real(0.1, 0.2, n=0)}, "n in eta_max of a space must be a whole number, 1 to"),
        ({"eta_max": Real(0.1, 0.2, n=10**9)}, "1 to 1000; got 1000000000"),
        ({"lambda_": Real(0.1, 0.2, n=2.0)}, "got 2.0"),  # type: ignore[arg-type]
        ({"n_s": (1, 4)}, "n_s of a space must be whole epochs, 1 or more, the lower first"),
        ({"n_s": WholeEpochs(0, 4)}, "for example WholeEpochs(1, 4); got WholeEpochs(low=0"),
        ({"n_s": WholeEpochs(4, 1)}, "the lower first"),
        ({"n_s": WholeEpochs(1, 2.5)}, "whole epochs"),  # type: ignore[arg-type]
        ({"normalisation": ("batch",)}, "a tuple of image, feature, none, none twice; got"),
        ({"normalisation": "image"}, "normalisation of a space must be a tuple"),
        ({"normalisation": {"image"}}, "normalisation of a space must be several values in a tup"),
        ({"normalisation": ("image", "image")}, "none twice; got ('image', 'image')"),
        ({"flip_probability": (0.5, 1.5)}, "a tuple of 0 to 1, none twice; got (0.5, 1.5)"),
        ({"flip_probability": ("half",)}, "flip_probability of a space must be a tuple of 0 to 1"),
        ({"flip_probability": (False,)}, "flip_probability of a space must be a tuple of 0 to 1"),
        ({"flip_probability": (0, 0.0)}, "none twice"),
        ({"flip_probability": 0.5}, "got 0.5"),
        ({"warm_start": "coarse"}, "warm_start of a space must be a tuple of names of definitions"),
        ({"warm_start": (1,)}, "warm_start of a space must be a tuple of names of definitions"),
        ({"sampler": "bayes"}, "one of curves, tpe, random, qmc, grid, gp, cmaes; got 'bayes'"),
        ({"sampler": None}, "sampler of a space must be one of curves"),
        (CMAES | {"width": 3}, "width of a space must be 4 or more for the sampler cmaes; got 3"),
        (CMAES | {"normalisation": ("image",)}, "normalisation of a space must be left out for"),
        (CMAES | {"flip_probability": (0.5,)}, "left out for the sampler cmaes"),
        (CMAES | {"width": "4"}, "width of a space must be a whole number, 1 or more; got '4'"),
        ({"budget": 0}, "budget of a space must be a whole number, 1 or more; got 0"),
        ({"budget": 1e6}, "budget of a space must be a whole number"),
        (
            {"budget_epochs": 0},
            "budget_epochs of a space must be above 0, 1,000,000,000 at most; got 0",
        ),
        ({"budget_epochs": math.nan}, "budget_epochs of a space must be above 0"),
        ({"budget_epochs": "9"}, "budget_epochs of a space must be above 0"),
        ({"width": True}, "width of a space must be a whole number"),
        ({"finalists": -1}, "finalists of a space must be a whole number, 0 or more; got -1"),
        ({"final_share": 1}, "final_share of a space must be 0 or more and below 1; got 1"),
        ({"final_share": "30%"}, "final_share of a space must be 0 or more and below 1"),
        ({"final_share": math.nan}, "final_share of a space must be 0 or more and below 1"),
    ],
)
def test_a_wrong_space_is_refused_with_one_sentence(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        replace(SPACE, **changes)

    assert told in str(refused.value)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hidden": 50}, "hidden of a space must be several values in a tuple"),
        ({"hidden": (0, 50)}, "hidden of a space must be a range, for example Whole(16, 128), or"),
        ({"hidden": (50, 50)}, "none twice; got (50, 50)"),
        ({"hidden": (50, 1.5)}, "some whole numbers, 1 to 100,000"),
        ({"hidden": Whole(50, 20)}, "hidden of a space must be a range"),
        ({"hidden": Whole(1, 10**6)}, "1 to 100,000"),
        ({"hidden": Whole(1, 6, 2)}, "in steps that lead to its end"),
        ({"hidden": Whole(2, 8, 2, logarithmic=True)}, "in steps of 1 on a logarithmic scale"),
        ({"batch_size": Real(10, 20)}, "batch_size of a space must be a range, for example Whole"),
        ({"batch_size": Whole(0, 20)}, "batch_size of a space must be a range"),
        ({"n_cycles": (1, 2)}, "n_cycles of a space must be a range of whole numbers"),
        ({"n_cycles": Whole(0, 2)}, "for example Whole(2, 4); got Whole(low=0"),
        ({"eta_min": 0.1}, "eta_min of a space must be a range"),
        ({"eta_min": Real(0.1, 2)}, "eta_min of a space must be 1 at most"),
        ({"flip_probability": Real(0.1, 2)}, "flip_probability of a space must be 1 at most"),
        (
            {"sampler": "grid", "hidden": Whole(1, 900), "batch_size": Whole(1, 1000)},
            "sampler of a space must be another where a grid has more than 10,000,000 cells; got",
        ),
        (CMAES | {"hidden": (1, 2)}, "hidden of a space must be left out for the sampler cmaes"),
    ],
)
def test_what_is_no_range_of_a_recipe_is_one_sentence(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        replace(SPACE, **changes)

    assert told in str(refused.value)
    assert str(refused.value).endswith(".")


def test_everything_of_a_recipe_comes_back_from_json() -> None:
    space = ANYTHING.space
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space
    assert (
        Space.from_json(json.loads(json.dumps(ONLY_NUMBERS.space.to_json()))) == ONLY_NUMBERS.space
    )


def test_what_spaces_of_before_did_not_have_is_not_stored() -> None:
    assert not {"hidden", "batch_size", "n_cycles", "eta_min"} & SPACE.to_json().keys()


def test_where_batch_sizes_differ_half_a_cycle_is_told_in_epochs() -> None:
    assert SPACE.dimensions(12)["n_s"].values() == [12, 24, 36, 48]
    several = replace(SPACE, batch_size=(50, 100)).dimensions(12)
    assert "n_s" not in several
    assert several["n_s_epochs"].values() == [1, 2, 3, 4]
