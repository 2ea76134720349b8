"""The database's file: removed, replaced or moved in a run, a log that is not its own, who holds it."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from hpo.database import tables
from hpo.database.reader import Reader, read_once
from hpo.database.sqlite_file import DatabaseMoved, holder, log_of, next_mark
from hpo.database.storage import Storage
from hpo.errors import StorageError
from hpo.testing import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hpo.db"


def address(path: Path) -> str:
    return f"sqlite:///{path}"


def written(path: Path, first: int, count: int, ending: str = "close") -> None:
    """Let another process write rows, and close the database, or die with what is in the log."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            storage = Storage(address(path))
            for number in range(first, first + count):
                add(storage, f"row {number}", "x" * 3000)
            if ending == "close":
                storage.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def rows_in(path: Path) -> list[str]:
    keys = sa.select(tables.meta.c.key).where(tables.meta.c.key.like("row %"))
    return sorted(read_once(address(path), lambda c: list(c.execute(keys).scalars())))


def add(storage: Storage, key: str, value: str = "") -> None:
    storage.write(lambda c: c.execute(tables.meta.insert().values(key=key, value=value)))


def removed(path: Path) -> None:
    path.unlink()


def replaced_by_a_backup(path: Path) -> None:
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    os.replace(backup, path)


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def folder_renamed(path: Path) -> None:
    path.parent.rename(path.parent.with_name("renamed"))


def emptied_and_made_again(path: Path) -> None:
    path.unlink()
    path.touch()


def log_removed(path: Path) -> None:
    log_of(path).unlink()


@pytest.mark.parametrize(
    "disturb",
    [
        removed,
        replaced_by_a_backup,
        moved,
        folder_renamed,
        emptied_and_made_again,
        log_removed,
    ],
)
def test_nothing_is_written_to_a_file_that_is_not_at_its_place_any_more(
    tmp_path: Path, disturb: Callable[[Path], None]
) -> None:
    path = tmp_path / "folder" / "hpo.db"
    path.parent.mkdir()
    storage = Storage(address(path))
    disturb(path)

    for attempt in (
        lambda: add(storage, "lost"),
        lambda: storage.finish(lambda c: c.execute(tables.meta.delete())),
        lambda: storage.retried(lambda: storage.optuna.get_all_studies()),
        storage.check,
    ):
        with pytest.raises(DatabaseMoved, match="run the same command again"):
            attempt()
    storage.close()


def test_a_second_connection_does_not_make_a_removed_database_again(path: Path) -> None:
    storage = Storage(address(path))
    with storage.engine.begin():  # holds the pool's only connection
        path.unlink()
        with pytest.raises(DatabaseMoved, match="is gone"):
            storage.engine.connect()
    storage.close()
    assert not path.exists()


@pytest.mark.parametrize("is_ready", [False, True])
def test_a_database_that_was_seen_and_is_gone_is_not_made(path: Path, is_ready: bool) -> None:
    with pytest.raises(DatabaseMoved, match="is gone"):
        Storage(address(path), makes=False, is_ready=is_ready)
    assert not path.exists()


@pytest.mark.parametrize("disturb", [removed, replaced_by_a_backup])
def test_another_process_opens_no_other_file_than_the_first_one(
    path: Path, disturb: Callable[[Path], None]
) -> None:
    with Storage(address(path)) as first:
        add(first, "row 1")
        disturb(path)
        before = path.exists() and path.read_bytes()

        with pytest.raises(DatabaseMoved, match="while it was in use"):
            Storage(address(path), is_ready=True, file=first.file)
    assert (path.exists() and path.read_bytes()) == before


def test_a_link_that_points_to_another_database_is_noticed(tmp_path: Path) -> None:
    for name in ("one.db", "two.db"):
        Storage(address(tmp_path / name)).close()
    link = tmp_path / "hpo.db"
    link.symlink_to("one.db")
    storage = Storage(address(link))
    add(storage, "kept")
    link.unlink()
    link.symlink_to("two.db")

    with pytest.raises(DatabaseMoved, match="replaced by another file"):
        add(storage, "lost")
    storage.close()


def test_a_file_system_that_is_unmounted_is_noticed(mounted: Callable[[str], Path]) -> None:
    path = mounted("size=20m") / "hpo.db"
    storage = Storage(address(path))
    subprocess.run(["umount", "-l", path.parent], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path.parent], check=True)  # for the fixture

    with pytest.raises(DatabaseMoved, match="is gone"):
        add(storage, "lost")
    storage.close()


def test_what_is_committed_is_in_the_file_itself_when_it_is_closed(path: Path) -> None:
    storage = Storage(address(path))
    with closing(sqlite3.connect(path)) as reader:  # as a dashboard that stays open
        reader.execute("select count(*) from hpo_meta").fetchone()
        add(storage, "row 1")
        storage.close()
        alone = path.with_name("copy.db")
        shutil.copy(path, alone)
        assert rows_in(alone) == ["row 1"]


def test_a_copy_of_the_file_in_a_run_has_all_but_the_last_moments(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.database.storage.CHECKPOINT_EVERY", 0.0)
    storage = Storage(address(path))
    add(storage, "row 1")
    alone = path.with_name("copy.db")
    shutil.copy(path, alone)
    assert rows_in(alone) == ["row 1"]
    storage.close()


def opened(url: str) -> None:
    Storage(url).close()


def looked_at(url: str) -> None:
    Reader(url).close()


@pytest.mark.parametrize("use", [opened, looked_at])
@pytest.mark.parametrize(
    ("into_place", "n_since"),
    [
        (os.replace, 1),
        pytest.param(shutil.copy, 40, marks=pytest.mark.long),
        pytest.param(shutil.copy, 1, marks=pytest.mark.long),
    ],
)
def test_an_old_log_over_a_backup_is_noticed_and_nothing_is_touched(
    path: Path,
    use: Callable[[str], None],
    into_place: Callable[[Path, Path], object],
    n_since: int,
) -> None:
    written(path, 0, 3)
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    written(path, 3, n_since)  # checkpointed: only the file has it
    written(path, 50, 5, "die")  # only the log has it
    assert log_of(path).stat().st_size > 0
    into_place(backup, path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    with pytest.raises(StorageError, match=r"hpo\.db-wal does not belong to hpo\.db.* move"):
        use(address(path))

    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    for ending in ("-wal", "-shm"):  # as the sentence says
        path.with_name(path.name + ending).unlink(missing_ok=True)
    assert rows_in(path) == ["row 0", "row 1", "row 2"]


def test_a_log_of_another_history_is_noticed(path: Path) -> None:
    """Two runs from one backup: as many commits each, but not the same."""
    written(path, 0, 3)
    backup, second = path.with_name("backup.db"), path.with_name("second.db")
    shutil.copy(path, backup)
    written(path, 10, 5)
    shutil.copy(path, second)
    shutil.copy(backup, path)
    written(path, 20, 5)
    written(path, 30, 2, "die")
    shutil.copy(second, path)

    with pytest.raises(StorageError, match="does not belong"):
        Storage(address(path))


@pytest.mark.parametrize("n_rows", [7, pytest.param(60, marks=pytest.mark.long)])
def test_the_log_that_a_killed_process_left_is_read(path: Path, n_rows: int) -> None:
    written(path, 0, 2)
    written(path, 2, n_rows, "die")
    assert len(rows_in(path)) == 2 + n_rows
    written(path, 100, 1, "die")
    written(path, 200, 1)
    assert len(rows_in(path)) == 4 + n_rows


def test_a_backup_that_the_log_goes_on_from_is_brought_up_to_the_present(path: Path) -> None:
    written(path, 0, 2)
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    written(path, 2, 2, "die")
    os.replace(backup, path)  # is what stood there
    assert len(rows_in(path)) == 4


def test_another_programs_commits_do_not_make_a_log_foreign(path: Path) -> None:
    written(path, 0, 2)
    program = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "c.execute(\"insert into hpo_meta values ('row 9', '')\"); c.commit(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], timeout=60)
    assert rows_in(path) == ["row 0", "row 1", "row 9"]
    written(path, 2, 1)
    assert len(rows_in(path)) == 4


def test_a_mark_names_its_commit_and_the_one_before() -> None:
    mark = 0
    for _ in range(200):
        after = next_mark(mark)
        assert -(2**31) <= after < 2**31
        assert (after >> 16) & 0xFFFF == mark & 0xFFFF
        assert after & 0xFFFF != mark & 0xFFFF
        mark = after


def test_a_log_that_cannot_be_read_in_a_folder_that_cannot_be_written_gets_a_sentence(
    mounted: Callable[[str], Path],
) -> None:
    path = mounted("size=20m") / "hpo.db"
    written(path, 0, 2, "die")
    path.with_name("hpo.db-shm").unlink()
    mounted("ro")

    with pytest.raises(StorageError, match=r"hpo\.db-wal, which cannot be read without writing"):
        Reader(address(path))


def test_a_log_with_its_index_is_read_in_a_folder_that_cannot_be_written(
    mounted: Callable[[str], Path],
) -> None:
    path = mounted("size=20m") / "hpo.db"
    written(path, 0, 2, "die")
    mounted("ro")
    assert rows_in(path) == ["row 0", "row 1"]


@contextmanager
def held(path: Path, begin: str = "BEGIN IMMEDIATE") -> Iterator["subprocess.Popen[str]"]:
    """Let another process hold the database."""
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        f"c.execute('{begin}'); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the kernel lists no locks here")
def test_who_holds_the_database_is_told_and_whether_it_is_suspended(path: Path) -> None:
    Storage(address(path)).close()
    assert holder(path) is None
    with held(path) as process:
        assert f"process {process.pid} (python" in str(holder(path))
        process.send_signal(signal.SIGSTOP)
        until(lambda: "which is suspended" in str(holder(path)))
    assert holder(path) is None


@pytest.mark.long
def test_a_suspended_holder_is_waited_for_beyond_any_patience_and_told_of_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.database.waiting.TOLD_AFTER", 0.1)
    monkeypatch.setattr("hpo.database.waiting.AWAY_FOR", 0.1)
    told: list[str] = []
    stopped: list[bool] = []
    storage = Storage(address(path), notify=told.append)
    with held(path) as process:
        process.send_signal(signal.SIGSTOP)
        tries = 0

        def stop() -> bool:
            nonlocal tries
            tries += 1
            if tries == 12:
                process.kill()
                stopped.append(True)
            return False

        storage.stop = stop
        add(storage, "row 1")
    assert stopped
    assert len(told) == 1
    assert told[0].startswith(f"Waiting for {path}, which ")
    assert "Ctrl-C" in told[0]
    storage.close()


LONG = "select * from sqlite_master a, sqlite_master b, sqlite_master c"


@pytest.mark.parametrize("way", ["a reader", "a storage that reads", "a storage that writes"])
def test_who_keeps_a_result_after_an_error_keeps_no_lock(path: Path, way: str) -> None:
    Storage(address(path)).close()
    opened = Reader(address(path)) if way == "a reader" else Storage(address(path))
    act = opened.write if way.endswith("writes") else opened.read  # type: ignore[union-attr]
    kept = []  # as a traceback does, which a notebook keeps

    def half_read(connection: sa.Connection) -> None:
        kept.append(connection.execute(sa.text(LONG)))
        kept[0].fetchone()
        raise StorageError("A row is damaged.")

    with pytest.raises(StorageError, match="A row is damaged"):
        act(half_read)
    opened.close()

    with closing(sqlite3.connect(path, timeout=0)) as connection:
        connection.execute("pragma journal_mode=delete")  # raises while anybody has it open
