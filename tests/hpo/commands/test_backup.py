"""``hpo backup``: a whole database in one file, of one moment, while workers go on."""

import errno
import os
import sqlite3
import threading
from pathlib import Path

import pytest

import hpo
from hpo.commands import backup as backing
from hpo.commands.backup import backup
from hpo.commands.doctor import examine
from hpo.database import tables
from hpo.database.storage import Interrupted, Storage
from hpo.errors import HpoError, OutputError, StorageError
from hpo.mirror import study as studies
from hpo.testing import Recorder, Silent, until
from hpo.workers.claims import claim
from hpo.workers.membership import Membership
from tests.hpo import stores
from tests.hpo.reading import exported
from tests.hpo.small_grid import SMALL, opened

storage = stores.of_each_kind


def of_backup(file: Path) -> str:
    return f"sqlite:///{file}"


def test_a_backup_has_every_study_and_is_a_database_like_any_other(
    storage: Storage, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        hpo.run(SMALL, data="digits", storage=storage.url, name=name)
    file = tmp_path / "a backup.db"

    assert backup(file, storage=storage.url) == 2

    assert not Path(f"{file}-wal").exists()
    with Storage(of_backup(file)) as copy:
        for name in ("one", "two"):
            assert exported(copy, opened(copy, name)) == exported(storage, opened(storage, name))
    assert not [finding for finding in examine(of_backup(file)) if finding.is_wrong]


def test_a_file_system_without_links_gets_the_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    study = hpo.submit(SMALL, data="digits", storage=f"sqlite:///{tmp_path / 'hpo.db'}")
    file = tmp_path / "backup.db"

    assert backup(file, storage=study.storage) == 1

    assert hpo.load(study.name, storage=of_backup(file)).status().n_waiting > 0
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(HpoError, match="is there already"):
        backup(file, storage=study.storage)


def test_what_killed_backups_left_is_swept_by_the_next_one_to_that_file(tmp_path: Path) -> None:
    study = hpo.submit(SMALL, data="digits", storage=f"sqlite:///{tmp_path / 'hpo.db'}")
    old, new, other = (tmp_path / n for n in (".b.db.7.part", ".b.db.8.part", ".c.db.7.part"))
    for left in (old, new, other):
        left.touch()
    long_ago = new.stat().st_mtime - 7200
    for left in (old, other):
        os.utime(left, (long_ago, long_ago))

    backup(tmp_path / "b.db", storage=study.storage)

    assert [left.exists() for left in (old, new, other)] == [False, True, True]


def test_what_was_in_training_waits_in_the_backup_and_goes_on_there(
    storage: Storage, tmp_path: Path
) -> None:
    study = hpo.submit(SMALL, data="digits", storage=storage.url)
    file = tmp_path / "backup.db"
    with Membership(storage) as member:
        found = studies.find(storage, study.name)
        assert found is not None
        assert claim(found, 4, member.identity) is not None
        backup(file, storage=storage.url)
    with Storage(of_backup(file)) as copy:
        assert copy.read(lambda c: c.execute(tables.workers.select()).all()) == []
        assert copy.read(lambda c: c.execute(tables.leases.select()).all()) == []
    done = hpo.run(SMALL, data="digits", storage=of_backup(file))
    whole = hpo.run(SMALL, data="digits", storage=f"sqlite:///{tmp_path / 'whole.db'}")
    assert done.results == whole.results
    assert not [finding for finding in examine(of_backup(file)) if finding.is_wrong]


@pytest.mark.long
def test_backups_during_a_run_open_and_go_on(url: str, tmp_path: Path) -> None:
    class Slow(Silent):
        def advanced(self, *_: object) -> None:
            threading.Event().wait(0.01)

    run = threading.Thread(
        target=lambda: hpo.run(SMALL, data="digits", storage=url, progress=Slow())
    )
    run.start()
    files = []
    until(lambda: (tmp_path / "hpo.db").exists() or url.startswith("postgresql"))
    while run.is_alive():
        file = tmp_path / f"backup-{len(files)}.db"
        try:
            backup(file, storage=url)
        except StorageError:  # there was nothing yet
            continue
        files.append(file)
    run.join()
    assert len(files) > 1
    expected = hpo.load("small-digits", storage=url).results
    for file in files[:: max(1, len(files) // 4)]:
        assert hpo.run(SMALL, data="digits", storage=of_backup(file)).results == expected


def test_a_file_that_is_there_is_not_touched(storage: Storage, tmp_path: Path) -> None:
    hpo.submit(SMALL, data="digits", storage=storage.url)
    file = tmp_path / "backup.db"
    file.write_text("mine")
    with pytest.raises(HpoError, match="is there already"):
        backup(file, storage=storage.url)
    assert file.read_text() == "mine"


def test_a_backup_that_cannot_be_written_is_told_and_leaves_nothing(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hpo.submit(SMALL, data="digits", storage=storage.url)
    with pytest.raises((OutputError, StorageError), match="no such folder|No such file|folder"):
        backup(tmp_path / "no such folder" / "b.db", storage=storage.url)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OutputError, match="No space left"):
        backup(tmp_path / "b.db", storage=storage.url)
    assert not [name for name in os.listdir(tmp_path) if "part" in name or name == "b.db"]


def test_a_backup_that_is_stopped_leaves_nothing(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hpo.submit(SMALL, data="digits", storage=storage.url)
    monkeypatch.setattr(backing, "plan", lambda _: (_ for _ in ()).throw(Interrupted()))
    with pytest.raises(Interrupted):
        backup(tmp_path / "b.db", storage=storage.url)
    assert not [name for name in os.listdir(tmp_path) if "part" in name or name == "b.db"]


def test_a_strangers_tables_come_along(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hpo.db'}"
    hpo.submit(SMALL, data="digits", storage=url)
    with sqlite3.connect(tmp_path / "hpo.db") as mine:
        mine.execute("create table notes (text)")
        mine.execute("insert into notes values ('a note')")
    backup(tmp_path / "b.db", storage=url)
    with sqlite3.connect(tmp_path / "b.db") as copy:
        assert copy.execute("select text from notes").fetchall() == [("a note",)]


def test_without_a_database_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No database at"):
        backup(tmp_path / "b.db", storage=f"sqlite:///{tmp_path / 'none.db'}")
    assert Recorder().warnings == []
