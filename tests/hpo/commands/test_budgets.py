"""What a stored search keeps, where nobody asks for anything else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import hpo
from hpo.errors import DefinitionChanged

SEARCH = """
from hpo import Real, Space, StudyDefinition

STUDY = StudyDefinition(
    name="mine",
    n_cycles=1,
    n_s=2,
    space=Space(lambda_=Real(1e-4, 1e-2, logarithmic=True), width=2, budget=20{}),
)
"""


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "mine.py"
    file.write_text(SEARCH.format(""))
    return {"study": str(file), "storage": f"sqlite:///{tmp_path / 'hpo.db'}"}


def test_a_search_of_before_keeps_the_sampler_that_was_the_default(asked: dict[str, str]) -> None:
    before = hpo.run(**asked, sampler="tpe", workers=1)

    assert hpo.run(**asked, workers=1).results == before.results
    larger = json.loads(hpo.run(**asked, budget=40, workers=1).to_json())
    assert larger["definition"]["space"]["sampler"] == "tpe"


def test_how_many_images_are_asked_for_is_no_difference_where_the_data_make_the_same_of_it(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    mine = hpo.StudyDefinition(name="mine", grid=hpo.Values((1e-3,)), n_s=2, n_cycles=1)
    before = hpo.run(mine, storage=url, workers=1)

    after = hpo.run(replace(mine, n_validation=0.2), storage=url, workers=1)  # digits hold out 300

    assert after.results == before.results


@pytest.mark.parametrize("sampler", ["curves", "random"])
def test_a_sampler_that_is_asked_for_is_another_search(asked: dict[str, str], sampler: str) -> None:
    hpo.run(**asked, sampler="tpe", workers=1)

    with pytest.raises(DefinitionChanged, match=f"stored tpe, asked for {sampler}"):
        hpo.run(**asked, sampler=sampler, workers=1)


def test_a_sampler_that_a_file_names_anew_is_another_search(asked: dict[str, str]) -> None:
    hpo.run(**asked, sampler="tpe", workers=1)
    Path(asked["study"]).write_text(SEARCH.format(', sampler="qmc"'))

    with pytest.raises(DefinitionChanged, match="stored tpe, asked for qmc"):
        hpo.run(**asked, workers=1)
