"""A worker says for whom it waits, and until when."""

import re
import threading
from typing import Any

import pytest

from hpo.commands import running
from hpo.commands.request import Order
from hpo.database.storage import Storage
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from hpo.training.trainer import Trainer
from hpo.workers.membership import Membership
from hpo.workers.worker import work
from model.data import digits
from tests.hpo import stores
from tests.hpo.workers.lost import ELSEWHERE, FOUR, OF_OLD, SQLITE, TWIN, YEAR, patience, put

pytestmark = pytest.mark.usefixtures("quick_beats")


storage = stores.of_each_kind


@pytest.fixture
def study(storage: Storage) -> OpenStudy:
    return running.submit(Order(FOUR, digits()), storage)[0]


@SQLITE
@pytest.mark.parametrize(
    ("identity", "silent_for", "until"),
    [
        (ELSEWHERE, 20.0, r"at [\d :-]+\."),
        (ELSEWHERE, 600.0, r"in \d+ s\."),
        (TWIN, 1.0, r"in \d+ s\."),
        (OF_OLD, YEAR, r"in \d+ s\."),
    ],
)
def test_a_worker_says_once_for_whom_it_waits_since_when_and_until_when(
    storage: Storage,
    study: OpenStudy,
    identity: dict[str, Any],
    silent_for: float,
    until: str,
) -> None:
    put(storage, study, identity, silent_for, n_held=4)
    told = Recorder()
    over = threading.Timer(patience() / 2 + 0.3, lambda: None)
    over.start()
    trainer = Trainer(study.experiment, digits())
    with Membership(storage) as member:
        work(study, trainer, told, lambda: not over.is_alive(), member)

    (sentence,) = [text for text in told.warnings if text.startswith("Waiting")]
    who = rf"worker {identity['pid']} on {identity['host']}"
    since = r"silent since [\d :-]+\. Unless it is heard again, its cells are taken over "
    assert re.fullmatch(f"Waiting for {who}, {since}{until}", sentence)
