"""Where a database may be: file systems whose locks hold, and addresses without passwords."""

import os
from pathlib import Path

import pytest

from hpo.database import locations
from hpo.database.faults import explain
from hpo.database.locations import checked_url, file_system, refuse_network, shown
from hpo.database.storage import Storage
from hpo.errors import StorageError

SECRET = "postgresql+psycopg://ann:pa55word@db.example/hpo"
MOUNTS = """\
/dev/root / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/export /srv/nfs nfs4 rw,vers=4.2 0 0
/dev/sdb1 /srv/nfs/local ext4 rw 0 0
//nas/share /mnt/with\\040space cifs rw 0 0
nas:/u /mnt/Übung\\040für\\040日本 nfs4 rw 0 0
nas:/t /mnt/a\\011tab\\134040 nfs rw 0 0
nas:/n /mnt/two\\012lines\\043 beegfs rw 0 0
broken
host:/home /home/ann fuse.sshfs rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/sdc1 /srv/nfs-copy xfs rw 0 0
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    table = tmp_path / "mounts"
    table.write_text(MOUNTS, encoding="utf-8")
    return table


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/hpo.db", "ext4"),  # the root is a mount like others
        ("/srv/nfs/hpo.db", "nfs4"),
        ("/srv/nfs/deep/down/hpo.db", "nfs4"),
        ("/srv/nfs/local/hpo.db", "ext4"),  # the innermost mount decides
        ("/srv/nfs-copy/hpo.db", "xfs"),  # a name that only begins the same way
        ("/srv/nfsother/hpo.db", "ext4"),
        ("/mnt/with space/hpo.db", "cifs"),  # written as \040 in the table
        ("/home/ann/hpo.db", "fuse.sshfs"),
        ("/mnt/Übung für 日本/hpo.db", "nfs4"),
        ("/mnt/a\ttab\\040/hpo.db", "nfs"),  # a backslash is octal itself, and ends no code
        ("/mnt/two\nlines#/hpo.db", "beegfs"),
    ],
)
def test_the_innermost_mount_tells_the_file_system(mounts: Path, path: str, kind: str) -> None:
    assert file_system(Path(path), mounts) == kind


def test_a_mount_whose_name_is_no_text_at_all_is_found(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_bytes(b"/dev/root / ext4 rw 0 0\nnas:/l /mnt/caf\xe9\\040bar nfs rw 0 0\n")

    assert file_system(Path(os.fsdecode(b"/mnt/caf\xe9 bar/hpo.db")), table) == "nfs"


def test_a_later_mount_on_the_same_folder_hides_the_earlier_one(mounts: Path) -> None:
    mounts.write_text(MOUNTS + "/dev/sdd1 /srv/nfs ext4 rw 0 0\n")
    assert file_system(Path("/srv/nfs/hpo.db"), mounts) == "ext4"


def test_without_a_table_of_mounts_nothing_is_known(tmp_path: Path) -> None:
    assert file_system(Path("/hpo.db"), tmp_path / "missing") is None


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p"])
def test_sqlite_on_a_network_file_system_is_refused_for_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(locations, "file_system", lambda path: kind)

    with pytest.raises(StorageError) as refused:
        Storage(f"sqlite:///{tmp_path / 'hpo.db'}")

    assert f"network file system ({kind})" in str(refused.value)
    assert "postgresql+psycopg://" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_local_disk_is_not_refused(tmp_path: Path) -> None:
    refuse_network(tmp_path / "hpo.db")


def test_a_password_is_never_shown() -> None:
    assert "pa55word" not in shown(SECRET)
    assert shown(SECRET) == "postgresql+psycopg://ann:***@db.example/hpo"
    with pytest.raises(StorageError) as refused:
        checked_url("mysql://ann:pa55word@db.example/hpo")
    assert "pa55word" not in str(refused.value)
    explained = explain(OSError("connection refused"), SECRET)
    assert explained is not None
    assert "pa55word" not in str(explained)


def test_a_server_that_is_not_there_is_told_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hpo.database.postgresql.OPEN_FOR", 0.0)
    with pytest.raises(StorageError, match="cannot be reached .* Is it running") as refused:
        Storage("postgresql://ann:pa55word@127.0.0.1:1/hpo")
    assert "pa55word" not in str(refused.value)


def test_a_url_without_a_driver_gets_psycopg_and_keeps_its_password() -> None:
    assert checked_url("postgresql://ann:pa55word@db.example/hpo") == SECRET
