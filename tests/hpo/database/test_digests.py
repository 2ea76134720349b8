"""Rows that are not what was written: refused by who reads them, found and mended by doctor."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hpo.commands import running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import digests, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import DamagedRow
from hpo.experiment.records import Slot
from hpo.mirror.study import OpenStudy
from hpo.views import report
from hpo.views.story import Story
from model.data import digits
from tests.hpo import stores
from tests.hpo.reading import exported

HALVED = StudyDefinition(
    name="halved",
    grid=Values((1.0, 3e-1, 1e-2, 1e-3)),
    n_s=10,
    n_cycles=2,
    pruner="halving",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a finished study, to be copied."""
    path = tmp_path_factory.mktemp("finished") / "hpo.db"
    opened = Storage(f"sqlite:///{path}")
    run(opened)
    opened.close()
    sqlite3.connect(path).execute("vacuum").connection.close()
    return path


@pytest.fixture
def url(finished: Path, tmp_path: Path) -> str:
    shutil.copy(finished, tmp_path / "hpo.db")
    return f"sqlite:///{tmp_path / 'hpo.db'}"


storage = stores.of_each_kind


def run(storage: Storage) -> OpenStudy:
    return running.run(Order(HALVED, digits()), storage, Story(), lambda: False).study


def execute(storage: Storage, statement: sa.Executable) -> None:
    storage.write(lambda connection: connection.execute(statement))


def wrong(url: str) -> list[str]:
    return [finding.text for finding in examine(url) if finding.is_wrong]


def of_cell(table: sa.Table, cell: int) -> sa.Update:
    return table.update().where(table.c.cell == cell)


results, curves = tables.results, tables.curves
Damage = Callable[[OpenStudy], sa.Executable]
#: What happens to a row, and the words in which it is refused.
DAMAGES: list[tuple[str, Damage]] = [
    ("value", lambda _: of_cell(results, 3).values(value=results.c.value + 2**-50)),
    ("outcome", lambda _: of_cell(results, 0).values(outcome="complexe")),
    ("bits", lambda _: of_cell(results, 3).values(hits=b"\x00" * 38)),
    ("environment", lambda _: of_cell(results, 3).values(environment="{}")),
    ("number of updates", lambda _: of_cell(results, 0).values(n_updates=21)),
    ("digest", lambda _: of_cell(results, 0).values(digest=None)),
    ("loss", lambda _: of_cell(curves, 3).where(curves.c.n_updates == 7).values(training_loss=0.1)),
    (
        "nothing",
        lambda _: of_cell(curves, 0).where(curves.c.n_updates == 9).values(training_cost=None),
    ),
    ("point", lambda _: curves.delete().where(curves.c.cell == 3, curves.c.n_updates == 40)),
    ("moved", lambda _: of_cell(curves, 0).where(curves.c.n_updates == 20).values(n_updates=21)),
    ("result", lambda _: results.delete().where(results.c.cell == 3)),
    ("pruned", lambda _: results.delete().where(results.c.cell == 0)),
]


@pytest.mark.parametrize("damage", [pytest.param(d, id=name) for name, d in DAMAGES])
def test_a_damaged_row_is_refused_named_and_trained_again_to_the_same_bits(
    url: str, storage: Storage, damage: Damage
) -> None:
    study = run(storage)
    whole = exported(storage, study)
    states = {t["cell"]: t["state"] for t in json.loads(whole)["trials"]}
    assert (states[0], states[3]) == ("pruned", "complete")
    execute(storage, damage(study))

    with pytest.raises(DamagedRow, match=r"of 'halved-digits', cell [03].*`hpo doctor`"):
        exported(storage, study)
    found = wrong(url)  # Optuna's record, which is compared with ours, may differ from it too
    assert found[0].startswith("halved-digits, cell ")
    mended = [f for f in examine(url, repair=True) if f.is_wrong]
    assert all(f.is_mended for f in mended), [f.text for f in mended if not f.is_mended]
    assert wrong(url) == []
    again = run(storage)

    assert exported(storage, again) == whole
    assert wrong(url) == []


def test_an_outcome_that_there_is_none_of_is_named_and_mended_though_its_digest_is_right(
    url: str, storage: Storage
) -> None:
    study = run(storage)
    whole = exported(storage, study)
    execute(storage, of_cell(results, 0).values(outcome="adjourned"))
    storage.write(lambda connection: digests.seal(connection, results, results.select()))

    with pytest.raises(DamagedRow, match="cell 0, replicate 0 is damaged .*no outcome 'adjourned'"):
        exported(storage, study)
    assert (
        "halved-digits, cell 0, replicate 0: its result has an outcome that there is none of."
        in wrong(url)
    )
    examine(url, repair=True)
    assert exported(storage, run(storage)) == whole


def test_what_is_damaged_on_postgresql_is_trained_again_too(postgresql_url: str) -> None:
    storage = Storage(postgresql_url)
    study = run(storage)
    whole = exported(storage, study)
    execute(storage, of_cell(results, 3).values(value=results.c.value + 2**-50))
    lost = of_cell(curves, 0).where(curves.c.n_updates == 7)
    execute(storage, lost.values(validation_cost=None))

    with pytest.raises(DamagedRow):
        exported(storage, study)
    assert len(wrong(postgresql_url)) >= 2
    examine(postgresql_url, repair=True)

    assert exported(storage, run(storage)) == whole
    assert wrong(postgresql_url) == []
    storage.close()


def test_a_damaged_result_is_not_judged(storage: Storage) -> None:
    study = run(storage)
    execute(storage, of_cell(results, 3).values(value=0.999))

    with pytest.raises(DamagedRow, match="The result of 'halved-digits', cell 3, replicate 0"):
        storage.write(lambda connection: report.judged(connection, study.stored))


@pytest.mark.parametrize("text", ['{"survivors": [0]}', "[" * 100_000, '{"survivors": 7}', "NaN"])
def test_a_damaged_decision_is_refused_and_made_again_from_the_curves(
    url: str, storage: Storage, text: str
) -> None:
    study = run(storage)
    whole = exported(storage, study)
    before = storage.write(lambda connection: rows_of(connection, tables.rungs))
    execute(storage, tables.rungs.update().values(decision=text))

    with pytest.raises(DamagedRow, match="What was decided of 'halved-digits', cycle 1"):
        run(storage)
    examine(url, repair=True)
    assert exported(storage, run(storage)) == whole

    after = storage.write(lambda connection: rows_of(connection, tables.rungs))
    assert [row.decision for row in after] == [row.decision for row in before]


def test_damaged_bits_of_a_rung_are_not_judged_and_go(url: str, storage: Storage) -> None:
    study = run(storage)
    whole = exported(storage, study)
    execute(storage, tables.rung_bits.update().values(hits=b"?"))

    with pytest.raises(DamagedRow, match="What was right at a rung of 'halved-digits', cell 0"):
        storage.write(lambda connection: report.judged(connection, study.stored))
    assert wrong(url) != []
    examine(url, repair=True)

    assert wrong(url) == []
    assert exported(storage, run(storage)) == whole
    told = storage.write(lambda connection: report.judged(connection, study.stored))
    assert told is not None
    assert {cut.unsure for cut in told.cuts} == {None}


def rows_of(connection: sa.Connection, table: sa.Table) -> list[Any]:
    return list(connection.execute(table.select().order_by(*table.primary_key)))


def test_every_row_that_a_run_writes_has_its_digest(storage: Storage) -> None:
    run(storage)

    for table in (tables.studies, tables.results, tables.curves, tables.rungs, tables.rung_bits):
        found = storage.write(lambda connection, t=table: rows_of(connection, t))  # type: ignore[misc]
        assert found
        assert all(digests.is_sound(table, row) for row in found), table.name


def test_a_digest_tells_types_and_borders_and_every_bit() -> None:
    values: list[list[Any]] = [
        [1],
        [1.0],
        ["1"],
        [b"1"],
        [None],
        [],
        ["ab", "c"],
        ["a", "bc"],
        [0.1],
        [0.1 + 2**-56],
        [10**400],
        ["\udc80"],
    ]
    assert len({digests.digest(v) for v in values}) == len(values)
    assert digests.digest([-0.0]) == digests.digest([0.0])  # SQLite keeps no sign of a zero


@pytest.mark.long
def test_a_cell_that_is_trained_again_is_taken_from_who_trains_it(
    url: str, storage: Storage
) -> None:
    study = run(storage)
    slot = Slot(3, 0)
    execute(storage, results.delete().where(results.c.cell == 3))
    execute(
        storage,
        tables.attempts.update()
        .where(rows.at(tables.attempts, study.uuid, slot))
        .values(state="running", token="mine"),
    )
    execute(storage, of_cell(curves, 3).where(curves.c.n_updates == 1).values(training_loss=9.0))

    examine(url, repair=True)

    mine = storage.write(lambda c: rows.attempts_of(c, study.uuid, token="mine"))
    assert mine == []  # so that it cannot add to a curve that has lost its beginning


@given(
    st.lists(
        st.floats() | st.none() | st.integers(0, 9).map(str),
        min_size=len(tables.CURVE_COLUMNS),
        max_size=len(tables.CURVE_COLUMNS),
    )
)
def test_a_row_read_has_the_digest_of_its_values_whatever_stands_in_its_columns(
    measured: list[Any],
) -> None:
    values = ["study", 3, 0, 120, *measured]
    assert digests.of_row(curves, (*values, "its digest")) == digests.digest(values)
