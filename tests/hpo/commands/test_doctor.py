"""Every kind of finding: found by examining, mended by repairing where it says so."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from hpo.commands import doctor, running
from hpo.commands.doctor import examine
from hpo.commands.request import Order
from hpo.database import outcomes, rows, tables
from hpo.database.storage import Storage
from hpo.definition.grids import Values
from hpo.definition.study import StudyDefinition
from hpo.errors import StorageError
from hpo.mirror import study as studies
from hpo.mirror.study import OpenStudy
from hpo.testing import Recorder
from hpo.workers.claims import claim
from hpo.workers.membership import Membership
from model.data import digits
from tests.hpo import stores
from tests.hpo.reading import exported

pytestmark = pytest.mark.sqlite_first

FOUR = StudyDefinition(
    name="four", grid=Values((1e-4, 1e-3, 1e-2, 1e-1)), n_s=10, n_cycles=2, batch_size=100
)


def run(storage: Storage, watcher: Recorder | None = None) -> OpenStudy:
    watcher = watcher or Recorder()
    return running.run(Order(FOUR, digits()), storage, watcher, watcher.stop).study


def wrong(url: str) -> list[str]:
    return [finding.text for finding in examine(url) if finding.is_wrong]


storage = stores.of_each_kind


@pytest.fixture
def study(storage: Storage) -> OpenStudy:
    """A finished study."""
    return run(storage)


@pytest.fixture
def half(storage: Storage) -> OpenStudy:
    """A study whose trials were given back after the first cycle."""
    return run(storage, Recorder(stop_after=80))


def execute(storage: Storage, statement: sa.Executable) -> None:
    storage.write(lambda connection: connection.execute(statement))


def is_mended(url: str, sign: str) -> None:
    """Examine, repair and examine again: the one thing that is wrong is mended."""
    (found,) = (finding for finding in examine(url) if finding.is_wrong)
    assert sign in found.text
    assert "--repair" in found.remedy
    (mended,) = (finding for finding in examine(url, repair=True) if finding.is_wrong)
    assert (mended.text, mended.is_mended) == (found.text, True)
    assert wrong(url) == []


@pytest.mark.parametrize("kind", ["study", "half"])
def test_a_sound_database_has_no_finding(
    request: pytest.FixtureRequest, url: str, kind: str
) -> None:
    request.getfixturevalue(kind)

    assert wrong(url) == []
    assert doctor.report(examine(url)).endswith("Everything is sound.")
    assert wrong(url) == []


def test_examining_changes_nothing(storage: Storage, half: OpenStudy, url: str) -> None:
    execute(storage, tables.checkpoints.update().values(sha256="0" * 64))
    execute(storage, tables.attempts.update().values(in_optuna=False))

    first, second = wrong(url), wrong(url)

    assert first == second
    assert len(first) == 5  # four checkpoints, and Optuna's record


def test_versions_blas_and_threads_are_told(study: OpenStudy, url: str) -> None:
    report = doctor.report(examine(url))
    for word in ("Python 3", "NumPy", "Optuna 5", "SQLAlchemy", "BLAS", "threads"):
        assert word in report
    assert f"schema {tables.SCHEMA_VERSION}" in report


def test_a_repair_of_a_sound_database_changes_nothing(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    before = exported(storage, study), storage.write(lambda c: rows.attempts_of(c, study.uuid))
    examine(url, repair=True)
    assert (
        exported(storage, study),
        storage.write(lambda c: rows.attempts_of(c, study.uuid)),
    ) == before


@pytest.mark.parametrize("kind", ["blob", "text", "integer", "real"])  # of SQLite: 4 bits say it
def test_a_damaged_checkpoint_is_deleted_and_the_study_ends_the_same(
    storage: Storage, half: OpenStudy, url: str, tmp_path: Path, kind: str
) -> None:
    if kind != "blob" and not url.startswith("sqlite"):
        pytest.skip("only SQLite keeps something else in a column of bytes")
    this = tables.checkpoints.c.cell == 1
    content = storage.write(
        lambda c: c.execute(sa.select(tables.checkpoints.c.content).where(this)).scalar_one()
    )
    flipped = bytes([content[0] ^ 1]) + content[1:]
    execute(storage, tables.checkpoints.update().where(this).values(content=flipped))
    if kind != "blob":
        other = sa.text(f"update hpo_checkpoints set content = cast('1' as {kind}) where cell = 1")
        execute(storage, other)

    is_mended(url, "cell 1, replicate 0, update 20: Stored weights are damaged")

    other = Storage(f"sqlite:///{tmp_path / 'other.db'}")
    assert exported(storage, run(storage)) == exported(other, run(other))
    other.close()


def test_rows_of_no_study_are_deleted_and_all_others_kept(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    before = exported(storage, study)
    orphan = {"study": "nobody", "cell": 0, "replicate": 0, "n_updates": 1}
    execute(storage, tables.curves.insert().values(orphan))
    execute(
        storage, tables.checkpoints.insert().values(**orphan, sha256="0" * 64, content=b"nothing")
    )

    is_mended(url, "2 rows belong to no study")

    assert exported(storage, study) == before


def test_optuna_that_is_behind_is_brought_up_to_date(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    execute(
        storage, tables.attempts.update().where(tables.attempts.c.cell > 1).values(in_optuna=False)
    )
    is_mended(url, "four-digits: Optuna does not show 2 trials as they are")


def test_a_study_that_optuna_lost_is_shown_again_and_its_neighbour_kept(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    other = running.submit(Order(FOUR, digits(), name="other"), storage)[0]
    storage.optuna.delete_study(other.study_id)

    is_mended(url, f"other: Optuna has no study for our rows ({other.uuid})")

    assert studies.names(storage) == ["four-digits", "other"]
    shown = optuna.load_study(study_name="other", storage=storage.optuna)
    assert [t.state for t in shown.trials] == [TrialState.WAITING] * 4


def test_a_study_that_optuna_lost_is_taken_up_again_by_a_run_with_all_it_had(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    before = exported(storage, study)
    storage.optuna.delete_study(study.study_id)
    stranger = optuna.create_study(study_name="stranger", storage=storage.optuna)
    for _ in range(4):  # on SQLite they get the ids of the trials that were deleted
        stranger.ask()

    again = run(storage, Recorder(stop_after=0))

    assert again.uuid == study.uuid
    assert exported(storage, again) == before
    shown = storage.optuna.get_all_trials(again.study_id)
    assert [t.state for t in shown] == [TrialState.COMPLETE] * 4
    assert {t.state for t in stranger.trials} == {TrialState.RUNNING}
    assert wrong(url) == []


def test_a_study_that_was_renamed_in_the_dashboard_is_not_deleted(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    renamed = optuna.create_study(  # a copy with the same attributes, as the dashboard makes it
        study_name="renamed", storage=storage.optuna, direction="maximize"
    )
    for key, value in storage.optuna.get_study_user_attrs(study.study_id).items():
        renamed.set_user_attr(key, value)
    storage.optuna.delete_study(study.study_id)
    execute(
        storage,
        tables.curves.insert().values(study="nobody", cell=0, replicate=0, n_updates=1),
    )

    examine(url, repair=True)

    assert len(storage.write(lambda c: outcomes.results_of(c, study.uuid))) == 4


def test_a_worker_that_died_is_closed_and_what_it_held_freed(
    storage: Storage, half: OpenStudy, url: str, killed_process: dict[str, Any]
) -> None:
    with Membership(storage) as member:
        dead = killed_process | {"id": member.id}
        claim(half, 2, dead)
        values = {"identity": json.dumps(dead)}
        execute(storage, tables.workers.update().values(values))

        is_mended(url, "1 workers died without leaving")

    found = storage.write(lambda c: rows.attempts_of(c, half.uuid))
    assert sorted(a.state for a in found) == ["failed"] * 2 + ["waiting"] * 4
    assert run(storage).uuid == half.uuid
    assert wrong(url) == []


def test_a_slot_that_is_counted_and_planned_keeps_its_result(
    storage: Storage, study: OpenStudy, url: str
) -> None:
    before = exported(storage, study)
    surplus = {"study": study.uuid, "cell": 1, "replicate": 0, "attempt": 1, "state": "waiting"}
    execute(storage, tables.attempts.insert().values(**surplus, in_optuna=True))
    texts = wrong(url)
    assert "four-digits: 1 slots are counted or planned twice." in texts

    examine(url, repair=True)

    assert wrong(url) == []
    run(storage)
    assert exported(storage, study) == before


def test_a_slot_that_is_planned_twice_keeps_its_last_plan(
    storage: Storage, half: OpenStudy, url: str
) -> None:
    surplus = {"study": half.uuid, "cell": 3, "replicate": 0, "attempt": 1, "state": "waiting"}
    execute(storage, tables.attempts.insert().values(**surplus, in_optuna=False))
    assert "four-digits: 1 slots are counted or planned twice." in wrong(url)

    examine(url, repair=True)

    assert wrong(url) == []
    run(storage)
    found = storage.write(lambda c: rows.attempts_of(c, half.uuid))
    assert [(a.number, a.state) for a in found if a.slot.cell == 3] == [
        (0, "failed"),
        (1, "ended"),
    ]


def test_a_damaged_sqlite_file_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "hpo.db"
    opened = Storage(f"sqlite:///{path}")
    run(opened)
    opened.write(lambda c: None)
    with opened.engine.connect() as connection:
        dbapi = connection.connection.dbapi_connection
        assert dbapi is not None
        dbapi.commit()
        dbapi.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    opened.close()
    content = bytearray(path.read_bytes())
    page = int.from_bytes(content[16:18], "big")
    middle = len(content) // 2 // page * page
    content[middle : middle + page] = b"\xff" * page
    path.write_bytes(content)

    try:
        texts = wrong(f"sqlite:///{path}")
    except StorageError as error:
        texts = [str(error)]

    assert any("damaged" in text for text in texts)
    assert path.read_bytes() == bytes(content)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes " * 1000)
    with pytest.raises(StorageError, match="is not an SQLite database, or is damaged"):
        examine(f"sqlite:///{tmp_path / 'notes.txt'}")


def test_the_command_says_what_it_found_and_exits_accordingly(
    command: Any, workplace: Path
) -> None:
    url = "sqlite:///hpo.db"
    opened = Storage(url)
    study = run(opened, Recorder(stop_after=80))

    sound = command("doctor")
    execute(opened, tables.checkpoints.update().values(sha256="0" * 64))
    sick = command("doctor")
    mended = command("doctor", "--repair")
    healthy = command("doctor")

    assert (sound.status, sick.status, mended.status, healthy.status) == (0, 1, 0, 0)
    assert sick.out.count("WRONG") == 4
    assert "`hpo doctor --repair` deletes it" in sick.out
    assert mended.out.count("mended") == 4
    assert "Everything is sound." in healthy.out
    assert opened.write(lambda c: outcomes.curves_of(c, study.uuid)) != {}
    opened.close()


def test_the_command_makes_no_database(command: Any, workplace: Path) -> None:
    for arguments in ((), ("--repair",)):
        answer = command("doctor", *arguments)
        assert "No database at hpo.db" in answer.sentence
        assert list(workplace.iterdir()) == []
