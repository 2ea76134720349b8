"""Halving with a confidence, on real trainings: it cuts what is surely behind, and less than without."""

import dataclasses
from typing import Any

import pytest
import sqlalchemy as sa

from hpo.database import decisions, hits, outcomes
from hpo.experiment.records import Slot
from hpo.judging import cuts
from hpo.planning import rungs
from hpo.views import report
from tests.hpo.planning.halved import HALVED, entries, exported, read, run

CAREFUL = dataclasses.replace(HALVED, pruner="halving:confidence=0.9")


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    url = f"sqlite:///{tmp_path_factory.mktemp('halved') / 'hpo.db'}"
    return url, run(url)


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    url = f"sqlite:///{tmp_path_factory.mktemp('careful') / 'hpo.db'}"
    return url, run(url, CAREFUL)


def test_the_bits_of_a_rung_are_kept_of_who_is_cut_and_of_who_goes_on(
    halved: tuple[str, Any],
) -> None:
    url, study = halved
    kept = read(url, lambda connection: hits.at_rungs(connection, study.stored))

    assert set(kept) == {1, 2}
    assert [slot.cell for slot in kept[1]] == list(range(10))
    assert len(kept[2]) == 5
    for cycle, found in kept.items():
        n_updates = 2 * HALVED.n_s * cycle  # type: ignore[operator]
        at = dict.fromkeys(found, n_updates)
        values = read(url, lambda c, at=at: outcomes.values_at(c, study.uuid, at))
        for slot, bits in found.items():
            assert bits.mean() == pytest.approx(values[slot])


def test_only_who_is_surely_behind_is_cut(careful: tuple[str, Any]) -> None:
    url, study = careful

    def look(connection: sa.Connection) -> None:
        decided = decisions.decided(connection, study.uuid)
        tables = decisions.accuracies(connection, study.uuid)
        kept = hits.at_rungs(connection, study.stored)
        for cycle, chosen in decided.items():
            least = rungs.survivors(tables[cycle], rungs.n_kept(len(tables[cycle]), 2))
            last = min(least, key=lambda cell: (tables[cycle][cell], -cell))
            bits = cuts.whole({s: b for s, b in kept[cycle].items() if s.cell in tables[cycle]}, 1)
            gone = cuts.surely_behind(bits, last, 0.9)
            assert set(least) <= set(chosen)
            assert set(tables[cycle]) - set(chosen) == gone - set(least)

    read(url, look)


def test_with_a_confidence_more_cells_go_on_and_end_with_the_same_bits(
    halved: tuple[str, Any], careful: tuple[str, Any]
) -> None:
    before = {e["cell"]: e for e in entries(*halved)}
    after = {e["cell"]: e for e in entries(*careful)}

    assert all(after[cell]["cycles"] >= before[cell]["cycles"] for cell in before)
    assert sum(e["cycles"] for e in after.values()) > sum(e["cycles"] for e in before.values())
    assert sum(e["cycles"] for e in after.values()) < 30  # some are cut all the same
    for cell, entry in before.items():
        if entry["state"] == "complete":
            assert after[cell] == entry


def test_two_workers_decide_the_same_with_a_confidence(
    tmp_path: Any, careful: tuple[str, Any]
) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"

    assert exported(url, run(url, CAREFUL, n_workers=2)) == exported(*careful)


def test_the_best_is_told_with_what_the_cuts_may_have_cost(halved: tuple[str, Any]) -> None:
    url, study = halved

    def look(connection: sa.Connection) -> str:
        judgement = report.judged(connection, study.stored)
        return report.best(report.read(connection, study.stored), judgement)

    lines = read(url, look).splitlines()

    assert any(line.startswith("5 of 10 cells were cut after cycle 1; ") for line in lines)
    assert any(line.startswith("2 of 5 cells were cut after cycle 2; ") for line in lines)


def test_a_slot_that_gets_to_a_rung_again_has_its_last_bits(halved: tuple[str, Any]) -> None:
    url, study = halved
    engine = sa.create_engine(url)
    slot, n_updates = Slot(0, 0), 20
    with engine.connect() as connection, connection.begin() as transaction:
        for packed in (b"\xff" * 38, b"\x00" * 38):
            hits.keep_at_rung(connection, study.uuid, n_updates, {slot: packed})
        found = hits.at_rungs(connection, study.stored, 1)[1][slot]
        transaction.rollback()
    engine.dispose()

    assert found.sum() == 0
