"""What doctor finds of dead workers, and frees."""

from typing import Any

import pytest

from hpo.commands import doctor, running
from hpo.commands.request import Order
from hpo.database import fleet, rows
from hpo.database.fleet import living
from hpo.database.storage import Storage
from hpo.mirror.study import OpenStudy
from hpo.workers.claims import claim
from hpo.workers.membership import Membership
from model.data import digits
from tests.hpo import stores
from tests.hpo.workers.lost import ELSEWHERE, FOUR, OF_OLD, SQLITE, TWIN, YEAR, put, states

pytestmark = pytest.mark.usefixtures("quick_beats")


storage = stores.of_each_kind


@pytest.fixture
def study(storage: Storage) -> OpenStudy:
    return running.submit(Order(FOUR, digits()), storage)[0]


@SQLITE
@pytest.mark.parametrize("identity", [TWIN, ELSEWHERE, OF_OLD])
@pytest.mark.parametrize("silent_for", [700.0, YEAR, -7200.0])
def test_doctor_finds_nothing_wrong_with_a_dead_worker_that_holds_nothing(
    storage: Storage, study: OpenStudy, url: str, identity: dict[str, Any], silent_for: float
) -> None:
    put(storage, study, identity, silent_for, n_held=0)
    assert [f.text for f in doctor.examine(url) if f.is_wrong] == []


@SQLITE
@pytest.mark.parametrize("identity", [TWIN, OF_OLD])
def test_doctor_frees_what_a_dead_worker_of_whichever_machine_holds(
    storage: Storage, study: OpenStudy, url: str, identity: dict[str, Any]
) -> None:
    put(storage, study, identity, silent_for=YEAR)
    found = [f.text for f in doctor.examine(url) if f.is_wrong]
    assert found == ["1 workers died without leaving."]

    assert [f.text for f in doctor.examine(url, repair=True) if f.is_open] == []
    assert [f.text for f in doctor.examine(url) if f.is_wrong] == []
    assert storage.write(living) == []
    assert "running" not in dict(states(storage, study))


def test_doctor_finds_nothing_wrong_with_a_worker_that_beats_after_a_step_of_the_clock(
    storage: Storage, study: OpenStudy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rows.now
    monkeypatch.setattr(fleet, "BEAT", 0.3)
    with Membership(storage) as member:
        claim(study, 2, member.identity)
        monkeypatch.setattr(rows, "now", lambda connection: real(connection) + 3600)
        assert [f.text for f in doctor.examine(url) if f.is_wrong] == []
