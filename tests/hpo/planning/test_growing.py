"""A study that grows while it runs: the result is that of the same commands one after the other."""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpo.commands import doctor, running
from hpo.commands.request import Order
from hpo.data.source import Source
from hpo.database import decisions
from hpo.database.storage import Storage
from hpo.definition.grids import Logarithmic
from hpo.definition.study import StudyDefinition
from hpo.mirror.study import grow, present
from hpo.planning import correction
from hpo.testing import Recorder
from hpo.views.export import to_json
from hpo.views.story import Story
from model.data import digits

SCRIPT = Path(sys.executable).with_name("hpo")
HALVED = StudyDefinition(
    name="halved", grid=Logarithmic(-2, 0, 6), n_s=5, n_cycles=3, batch_size=50, pruner="halving"
)
DIGITS = Source(spec="digits", name="digits")


def with_replicates(n: int) -> StudyDefinition:
    return dataclasses.replace(HALVED, replicates=n)


def run(
    url: str,
    n: int,
    story: Story | Recorder | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> running.Outcome:
    storage = Storage(url, stop)
    outcome = running.run(
        Order(with_replicates(n), digits(), source=DIGITS), storage, story or Story(), stop
    )
    storage.close()
    return outcome


def submit(url: str, n: int) -> None:
    storage = Storage(url)
    running.submit(Order(with_replicates(n), digits()), storage)
    storage.close()


def export(url: str, outcome: running.Outcome) -> str:
    storage = Storage(url)
    text = storage.write(lambda connection: to_json(connection, outcome.study.stored))
    storage.close()
    return text


def one_after_the_other(folder: Path, numbers: Sequence[int]) -> str:
    url = f"sqlite:///{folder / 'sequential.db'}"
    for n in numbers:
        outcome = run(url, n)
        assert outcome.after.is_complete
    return export(url, outcome)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return the export of these numbers of replicates, run one after the other."""
    known: dict[tuple[int, ...], str] = {}

    def export_of(*numbers: int) -> str:
        if numbers not in known:
            known[numbers] = one_after_the_other(tmp_path_factory.mktemp("grown"), numbers)
        return known[numbers]

    return export_of


@pytest.mark.parametrize(
    "moment", [40, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 130, 200))]
)
def test_whenever_a_halved_study_grows_the_result_is_the_same(
    tmp_path: Path, grown: Callable[..., str], moment: int
) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"

    run(url, 1, Recorder(at=moment, act=lambda: submit(url, 3)))
    outcome = run(url, 3)

    assert outcome.after.is_complete
    assert export(url, outcome) == grown(1, 3)


def test_a_study_that_grows_is_finished_by_the_run_that_it_grew_under(
    url: str, grown: Callable[..., str]
) -> None:
    outcome = run(url, 1, Recorder(at=25, act=lambda: submit(url, 3)))

    assert outcome.after.is_complete
    assert export(url, outcome) == grown(1, 3)
    assert not [f for f in doctor.examine(url) if f.is_open]


def test_a_study_that_grows_when_its_workers_have_just_gone_is_finished_all_the_same(
    tmp_path: Path, grown: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, settle, done = f"sqlite:///{tmp_path / 'hpo.db'}", correction.settle, []

    def late(*arguments: Any) -> None:
        if not done:
            done.append(True)
            submit(url, 3)
        settle(*arguments)

    monkeypatch.setattr(correction, "settle", late)
    outcome = run(url, 1)

    assert outcome.after.is_complete
    assert export(url, outcome) == grown(1, 3)


def test_a_study_may_grow_twice_while_it_runs(tmp_path: Path, grown: Callable[..., str]) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"

    def twice() -> None:
        submit(url, 2)
        submit(url, 4)

    outcome = run(url, 1, Recorder(at=60, act=twice))

    assert outcome.after.is_complete
    assert export(url, outcome) == grown(1, 2, 4)


@pytest.mark.parametrize("moment", [100, pytest.param(10, marks=pytest.mark.long)])
def test_a_study_that_grew_while_it_was_interrupted_goes_on_the_same_way(
    tmp_path: Path, grown: Callable[..., str], moment: int
) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    told: list[bool] = []

    first = run(url, 1, Recorder(at=moment, act=lambda: told.append(True)), lambda: bool(told))
    assert not first.after.is_complete
    told.clear()
    second = run(url, 3, Recorder(at=moment, act=lambda: told.append(True)), lambda: bool(told))
    assert not second.after.is_complete
    third = run(url, 1)

    assert third.after.is_complete
    assert export(url, third) == grown(1, 3)


def test_rungs_are_about_the_replicates_that_the_study_began_with(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    storage = Storage(url)
    study, _ = running.submit(Order(with_replicates(2), digits()), storage)

    grow(study, 5)
    grow(study, 3)  # fewer than there are
    now = present(study)

    assert (now.experiment.replicates, now.experiment.replicates_at_rungs) == (5, 2)
    storage.close()


def test_a_study_without_rungs_grows_at_once(tmp_path: Path) -> None:
    plain = dataclasses.replace(HALVED, pruner="none")
    storage = Storage(f"sqlite:///{tmp_path / 'hpo.db'}")
    running.submit(Order(plain, digits()), storage)
    study, _ = running.submit(Order(dataclasses.replace(plain, replicates=2), digits()), storage)

    assert study.experiment.began_with is None
    assert "began_with" not in study.experiment.to_json()
    storage.close()


@pytest.mark.long
@pytest.mark.parametrize("attempt", range(3))
def test_two_commands_at_once_end_as_one_after_the_other(
    workplace: Path, write_study: Any, process: Any, command: Any, attempt: int
) -> None:
    study = write_study(
        "both", grid="Logarithmic(-5, -1, 8)", n_s=300, n_cycles=3, pruner="halving"
    )
    wide = ("run", study, "--data", "digits", "--workers", "2")
    for name in ("alone", "beside"):
        first = subprocess.Popen(
            [SCRIPT, *wide, "--name", name], cwd=workplace, stderr=subprocess.DEVNULL
        )
        if name == "alone":
            assert first.wait() == 0
        else:  # as soon as there is a study to grow, or later; on a busy machine when it has ended
            while len(command("list").out.splitlines()) < 2:
                pass
            time.sleep(0.2 * attempt)
        assert process(*wide, "--name", name, "--replicates", "3").status == 0
        assert first.wait() == 0

    one, other = (command("export", name).out for name in ("alone", "beside"))
    assert other.replace('"beside"', '"alone"') == one


@pytest.mark.long
def test_a_cell_that_was_cut_is_cut_in_what_the_study_grew_by(
    tmp_path: Path, grown: Callable[..., str]
) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    outcome = run(url, 1, Recorder(at=5, act=lambda: submit(url, 3)))
    storage = Storage(url)
    known = storage.write(lambda c: decisions.decided(c, outcome.study.uuid))
    storage.close()

    assert sorted(known) == [1, 2]
    assert len(known[1]) == 3
    assert len(known[2]) == 2
    assert export(url, outcome) == grown(1, 3)
