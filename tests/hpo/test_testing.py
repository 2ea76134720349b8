"""``hpo.testing``: what users' tests are given, as it says."""

from dataclasses import replace

import pytest

import hpo
from hpo import testing
from hpo.experiment.records import Slot
from hpo.testing import Recorder, digits_facts, until
from hpo.training.trainer import facts
from model.data import digits

QUICK = hpo.StudyDefinition(
    name="quick", grid=hpo.Values((1e-3, 1e-2)), n_s=10, n_cycles=1, batch_size=100
)


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('quick') / 'hpo.db'}"


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_says_what_it_is(name: str) -> None:
    assert getattr(testing, name).__doc__


def test_the_facts_of_the_digits_are_those_of_the_digits_but_for_the_fingerprint() -> None:
    real = facts(digits(), QUICK)

    assert replace(real, fingerprint="a" * 64) == digits_facts() != real


def test_a_recorder_keeps_what_a_run_tells(url: str) -> None:
    watcher = Recorder()

    study = hpo.run(QUICK, data="digits", storage=url, progress=watcher, stop=watcher.stop)

    assert watcher.stacks == [[Slot(0, 0), Slot(1, 0)]]
    assert watcher.n_points == sum(len(study.curves(cell)) for cell in (0, 1))
    assert watcher.results == {result.slot: result.value for result in study.results}
    assert watcher.warnings == []


def test_a_recorder_keeps_warnings() -> None:
    watcher = Recorder()
    watcher.warn("The disk is full.")

    assert watcher.warnings == ["The disk is full."]


def test_a_recorder_acts_once_at_its_log_point_and_stops_the_run(url: str) -> None:
    seen: list[int] = []
    watcher = Recorder(stop_after=4, at=2, act=lambda: seen.append(watcher.n_points))

    study = hpo.run(QUICK, data="digits", storage=url, progress=watcher, stop=watcher.stop)

    assert seen == [2]
    assert not study.is_complete
    assert watcher.n_points >= 4
    assert watcher.results == {}


def test_waiting_gives_what_was_waited_for_or_says_that_it_did_not_come() -> None:
    answers = iter([0, 0, 7])

    assert until(lambda: next(answers)) == 7
    with pytest.raises(TimeoutError, match=r"did not hold within 0\.05 s"):
        until(lambda: False, seconds=0.05)
