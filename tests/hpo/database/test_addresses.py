"""Addresses of databases: each works, or is refused in a sentence before anything is made."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from hpo.database.faults import explain
from hpo.database.locations import check_file, checked_url, concealed, shown, without_secrets
from hpo.database.reader import Reader
from hpo.database.storage import Storage
from hpo.errors import StorageError

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "is not a database URL. Expected for example sqlite:///hpo.db"),
        ("/tmp/x.db", "Expected for example sqlite:////tmp/x.db"),
        ("folder/x.db", "Expected for example sqlite:///folder/x.db"),
        ("sqlite:hpo.db", "Expected for example sqlite:///hpo.db"),
        ("sqlite:/abs/hpo.db", "Expected for example sqlite:////abs/hpo.db"),
        ("file:hpo.db", "Expected for example sqlite:///hpo.db"),
        ("file:///abs/hpo.db", "Expected for example sqlite:////abs/hpo.db"),
        ("sqlite://relative.db", "two slashes, after which a host would come"),
        ("sqlite://host/hpo.db", "two slashes"),
        ("sqlite:///~/hpo.db", "begins with '~', which nobody replaces in a URL"),
        ("sqlite:///~ann/hpo.db", "begins with '~'"),
        ("sqlite:///hpo.db?mode=ro", "holds a '?', after which options begin"),
        ("sqlite:///what?.db", "holds a '?'"),
        ("sqlite:///file:hpo.db", "is a URI with options of SQLite's"),
        ("sqlite:///a%20b.db", "holds a '%' that some programs take for another character"),
        ("sqlite:///hpo.db ", "begins or ends with a blank"),
        ("sqlite:///hpo.db\n", "begins or ends with a blank"),
        (" postgresql://host/db", "begins or ends with a blank"),
        ("sqlite:///a\tb.db", "cannot be printed"),
        ("sqlite:///a\x1b[2Jb.db", "cannot be printed"),
        ("sqlite:///a\udc80b.db", "cannot be printed"),
        ("sqlite:///C:\\\\x\\\\hpo.db", "is a path as Windows has them"),
        ("sqlite:///c:/x/hpo.db", "is a path as Windows has them"),
        ("sqlite:///x\\\\hpo.db", "is a path as Windows has them"),
        ("sqlite+aiosqlite:///hpo.db", "names a driver that hpo does not use"),
        ("sqlite+pysqlcipher:///hpo.db", "names a driver that hpo does not use"),
        ("sqlite:///hpo.db-wal", "is what SQLite keeps beside a database"),
        ("postgresql+asyncpg://host/db", "names a driver that hpo does not use"),
        ("postgresql+psycopg2://host/db", "names a driver that hpo does not use"),
        ("postgresql://host:port/db", "a port is a number"),
        ("postgresql://h1:1,h2:2/db", "several hosts go to the end"),
        ("postgresql://host:99999/db", "a port is 1 to 65535"),
        ("host=db.example dbname=hpo", "is not a database URL. Expected for example postgresql"),
    ],
)
@pytest.mark.parametrize("use", [checked_url, Storage, Reader])
def test_an_address_that_is_understood_in_two_ways_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    sentence: str,
    use: Callable[[str], object],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=re.escape(sentence)) as refused:
        use(url)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["a#b.db", "100%.db", "a b.db", "ü 字.db", "a@b.db", "{x}.db", "a;b&c=d.db", "no ending"],
)
def test_a_name_with_signs_of_every_kind_is_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Storage(f"sqlite:///{name}").close()
    assert [file.name for file in tmp_path.iterdir()] == [name]
    Reader(f"sqlite:///{tmp_path / name}").close()


def test_sqlites_own_driver_may_be_named(tmp_path: Path) -> None:
    Storage(f"sqlite+pysqlite:///{tmp_path / 'hpo.db'}").close()
    assert (tmp_path / "hpo.db").is_file()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_into_nothing(path: Path) -> None:
    path.symlink_to("missing/other.db")


def circle_of_links(path: Path) -> None:
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("made", [fifo, link_into_nothing, circle_of_links, folder])
def test_what_cannot_be_a_database_is_refused_and_nothing_is_made(
    tmp_path: Path, made: Callable[[Path], None]
) -> None:
    path = tmp_path / "hpo.db"
    made(path)
    with pytest.raises(StorageError, match=r"hpo\.db"):
        Storage(f"sqlite:///{path}")
    with pytest.raises(StorageError, match=r"hpo\.db"):
        Reader(f"sqlite:///{path}")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", ["/dev/null", "/dev/full", f"/tmp/{'x' * 300}.db"])
def test_a_device_or_an_endless_name_is_refused(path: str) -> None:
    with pytest.raises(StorageError):
        check_file(Path(path))


def test_a_link_leads_to_the_file_and_its_log(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "hpo.db").symlink_to("disk/real.db")
    Storage(f"sqlite:///{tmp_path / 'hpo.db'}").close()
    assert [file.name for file in (tmp_path / "disk").iterdir()] == ["real.db"]
    Reader(f"sqlite:///{tmp_path / 'hpo.db'}").close()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{SECRET}@host/db",
        f"postgresql://ann:p@{SECRET}@host/db",
        f"postgresql://ann:{SECRET}@{SECRET}@host/db",
        f"postgresql://ann:a/{SECRET}@host/db",
        f"postgresql://ann:a?{SECRET}@host/db",
        f"postgresql://ann:a:{SECRET}@host:port/db",
        f"postgresql://ann@host/db?password={SECRET}",
        f"postgresql://host/db?user=ann&sslpassword={SECRET}",
        f"postgresql://host/db?passfile={SECRET}&sslmode=require",
        f"mysql://ann:{SECRET}@host/db",
        f"postgresql+asyncpg://ann:{SECRET}@host/db",
        f"postgresql:ann:{SECRET}@host/db",
        f"ann:{SECRET}@host",
        f"host=h dbname=d password={SECRET}",
        f"host=h password = '{SECRET} x'",
        f" postgresql://ann:{SECRET}@host/db",
        f"postgresql://ann:{SECRET}\x01@host/db",
        f"postgresql://ann:{SECRET}@host:99999/db",
    ],
)
def test_nothing_of_a_password_is_shown(url: str) -> None:
    assert SECRET not in concealed(url)
    told = []
    try:
        accepted = checked_url(url)
        quoting = OSError(f'connection to "{url}" failed: connection refused')
        told += [shown(accepted), str(explain(quoting, accepted))]
    except StorageError as refused:
        told.append(str(refused))
    assert told
    assert SECRET not in "".join(told)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://ann:p%40ss@host/db", "invalid dsn: p@ss"),
        ("postgresql://ann:p%40ss@host/db", "invalid uri: postgresql://ann:p%40ss@host/db"),
        ("postgresql://host/db?sslpassword=key+word", "could not decrypt with 'key word'"),
        ("postgresql://host/db", "invalid conninfo: password='p@ss' host=x"),
    ],
)
def test_what_a_driver_quotes_of_a_password_is_not_passed_on(url: str, text: str) -> None:
    told = without_secrets(text, url)
    assert "***" in told
    for secret in ("p@ss", "p%40ss", "key word"):
        assert secret not in told


def test_a_password_with_signs_that_are_written_as_they_must_be_arrives(
    postgresql_url: str,
) -> None:
    address = sa.make_url(postgresql_url).set(password="a@b/c?d#e:f{g}%")
    url = address.render_as_string(hide_password=False)
    assert sa.make_url(checked_url(url)).password == "a@b/c?d#e:f{g}%"
    Storage(url).close()
    Reader(url).close()


class Foreign(Exception):
    """A driver's error with a code, in a language that we do not read."""

    def __init__(self, **codes: object) -> None:
        super().__init__("irgendetwas ging schief")
        vars(self).update(codes)


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        ({"sqlstate": "28P01"}, "does not accept this user and password"),
        ({"sqlstate": "25006"}, "is it a replica"),
        ({"sqlstate": "42501"}, "does not let this user do that"),
        ({"sqlstate": "53100"}, "No space left"),
        ({"sqlstate": "57P03"}, "cannot be reached"),
        ({"sqlstate": "08006"}, "cannot be reached"),
        ({"sqlstate": "22P05"}, "needs a database in UTF8"),
        ({"sqlite_errorcode": 11 | 2 << 8}, "is damaged"),
        ({"sqlite_errorcode": 13}, "No space left"),
        ({"sqlite_errorcode": 8 | 4 << 8}, "cannot be written"),
    ],
)
def test_codes_decide_what_an_error_means(codes: dict[str, object], sentence: str) -> None:
    error = DBAPIError("select 1", {}, Foreign(**codes))
    assert sentence in str(explain(error, "sqlite:///hpo.db"))
