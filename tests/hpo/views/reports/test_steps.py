"""The commands of a report: run in a new database, they make the same results."""

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import hpo
from hpo.database.reader import read_once
from hpo.mirror.study import stored
from hpo.views.reports import steps
from studies.joint import STUDY

Command = Callable[..., Any]
ONE = hpo.Values((1e-3,))


def steps_of(url: str, *names: str) -> tuple[list[str], list[str]]:
    def look(connection: Any) -> tuple[str, list[str]]:
        return steps.of_studies(connection, [stored(connection, name) for name in names])

    told, remarks = read_once(url, look)
    return told.splitlines(), remarks


def test_the_commands_make_the_same_results_in_a_new_database(
    storage: Any, command: Command
) -> None:
    hpo.run("coarse", storage=storage.url, name="again", seed=3, replicates=2, pruner="none")

    lines, _ = steps_of(storage.url, "again")

    assert lines[0] == "export HPO_STORAGE=sqlite:///again.db"
    run = "hpo run coarse --data digits --name again --seed 3 --pruner none --replicates 2"
    assert lines[1] == run
    assert command(*shlex.split(run)[1:], "--storage", "sqlite:///again.db").status == 0
    told = command("export", "again", "--storage", "sqlite:///again.db").out
    digest = hashlib.sha256(told.encode()).hexdigest()
    assert lines[2:] == [f"hpo export again | sha256sum  # {digest}"]


def test_a_study_rests_on_its_parent_whose_file_is_named(storage: Any) -> None:
    mine = hpo.StudyDefinition(name="coarse", grid=hpo.Values((1e-3, 1e-2)), n_s=12, n_cycles=1)
    hpo.run(mine, storage=storage.url)
    hpo.submit("final", parent="coarse-digits", cell=0, storage=storage.url)
    best = hpo.load("coarse-digits", storage=storage.url).best
    assert best is not None

    lines, remarks = steps_of(storage.url, "final-digits")

    cell = "" if best.index == 0 else " --cell 0"
    assert lines[1:3] == [
        "hpo run coarse.py --data digits",
        f"hpo run final --data digits --from coarse-digits{cell}",
    ]
    assert any(line.startswith("coarse.py is the file with the definition") for line in remarks)
    assert "Running final-digits looks at the test images again." in remarks


@pytest.mark.parametrize(
    "damage",
    ["update hpo_results set value = 0.999", "update hpo_studies set experiment = '{'"],
    ids=["a result", "the study"],
)
def test_a_damaged_parent_harms_itself_alone(damage: str, storage: Any) -> None:
    mine = hpo.StudyDefinition(name="coarse", grid=hpo.Values((1e-3, 1e-2)), n_s=12, n_cycles=1)
    hpo.run(mine, storage=storage.url)
    hpo.submit("final", parent="coarse-digits", storage=storage.url)
    parent = hpo.load("final-digits", storage=storage.url).experiment.parent
    assert parent is not None
    engine = sa.create_engine(storage.url)
    key = "study" if "results" in damage else "uuid"
    with engine.begin() as connection:
        connection.execute(sa.text(f"{damage} where {key} = :uuid"), {"uuid": parent.uuid})
    engine.dispose()

    lines, _ = steps_of(storage.url, "final-digits")

    assert lines[-1] == (f"hpo run final --data digits --from coarse-digits --cell {parent.cell}")


def test_a_search_is_given_its_budgets_one_after_the_other(storage: Any) -> None:
    for budget in (600, 1200):
        hpo.run("joint", storage=storage.url, budget=budget, sampler="random")

    lines, _ = steps_of(storage.url, "joint-digits")

    assert [line for line in lines if line.startswith("hpo run")] == [
        "hpo run joint --data digits --sampler random --budget 600",
        "hpo run joint --data digits --sampler random --budget 1200",
    ]


def test_a_study_that_held_out_other_images_than_its_file_does_now_is_not_the_same(
    write_npz: Callable[..., str], tmp_path: Path
) -> None:
    data, url = write_npz(), f"sqlite:///{tmp_path / 'before.db'}"
    before = replace(STUDY, n_validation=5_000)
    for n, (study, images) in enumerate([("joint", data), (before, data), (before, "digits")]):
        hpo.submit(study, storage=url, name=f"s{n}", data=images, budget=2_000, sampler="random")

    said = [steps_of(url, f"s{n}")[0][1].split(" --data")[0] for n in range(3)]

    assert said == ["hpo run joint", "hpo run joint.py", "hpo run joint"]


@pytest.mark.parametrize("name", ["my study", "<script>", "a;b", "$(x)", "a\nb"])
def test_a_name_is_one_word_for_the_shell_and_on_one_line(name: str, storage: Any) -> None:
    hpo.submit(hpo.StudyDefinition(name="mine", grid=ONE, n_s=12), storage=storage.url)
    engine = sa.create_engine(storage.url)
    with engine.begin() as connection:  # as others rename it
        connection.execute(sa.text("update studies set study_name = :name"), {"name": name})
    engine.dispose()

    lines, _ = steps_of(storage.url, name)

    assert len(lines) == 2
    words = shlex.split(lines[1])
    assert words[words.index("--name") + 1] == name.replace("\n", "\\n")
