"""Bad input: one clear sentence, status 1, no traceback, nothing half-written."""

import io
import os
import pickle
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

Command = Callable[..., Any]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, 4, 4), dtype=np.uint8)
LABELS = RNG.integers(0, 3, 200)


def objects(array: np.ndarray) -> np.ndarray:
    """Return an array of Python objects, which NumPy stores as a pickle."""
    wrapped = np.empty(len(array), object)
    wrapped[:] = [Bomb() for _ in array]
    return wrapped


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def exchanged(place: tuple[int, ...], value: float, dtype: str = "float32") -> np.ndarray:
    images = IMAGES.astype(dtype)
    images[place] = value
    return images


def left(workplace: Path) -> set[str]:
    """Return what is in the folder besides the inputs of the tests."""
    return {path.name for path in workplace.iterdir() if path.suffix not in (".py", ".npz")}


def stored_studies(workplace: Path) -> list[str]:
    """Return the studies in the database, ours and Optuna's, if there is one at all."""
    if not (workplace / "hpo.db").exists():
        return []
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        query = "select name from hpo_studies union all select study_name from studies"
        return [name for (name,) in connection.execute(query)]


# --- the images -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (
            {"images": objects(IMAGES)},  # a pickle, which would run code
            r"mine\.npz: the array 'images' cannot be read without running code, or is damaged \(",
        ),
        ({"labels": objects(LABELS)}, r"mine\.npz: the array 'labels' cannot be read without run"),
        (
            {"images": IMAGES[:, 0, 0]},  # one number an image
            r"mine\.npz: images has shape \(200,\); expected \(n, \.\.\.\) with at least one value",
        ),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"mine\.npz: images has shape \(0, 4, 4\)"),
        ({"images": IMAGES.astype(str)}, r"mine\.npz: images has type <U3; expected uint8 or real"),
        ({"images": IMAGES * 1j}, r"mine\.npz: images has type complex128; expected uint8 or real"),
        (
            {"labels": LABELS[:150]},  # fewer labels than images
            r"mine\.npz: labels has shape \(150,\) and type int64; expected \(200,\) whole numbers",
        ),
        ({"labels": LABELS[:, None]}, r"mine\.npz: labels has shape \(200, 1\) and type int64"),
        ({"labels": LABELS / 2}, r"mine\.npz: labels has shape \(200,\) and type float64; expecte"),
        (
            {"labels": LABELS - 1},
            r"mine\.npz: labels runs from -1 to 1, but there are 3 classes, so labels must be 0 to",
        ),
        ({"labels": LABELS * 2}, r"mine\.npz: labels runs from 0 to 4, but there are 3 classes"),
        ({"labels": LABELS * 0}, r"mine\.npz: every label is 0\. A classifier needs at least two"),
        (
            {"images": exchanged((7, 0, 0), np.nan)},
            r"mine\.npz: images has values that are not finite, first in image 7 \(1 images in all",
        ),
        ({"images": exchanged((3, 1, 1), np.inf)}, "not finite, first in image 3"),
        ({"images": exchanged((3, 1, 1), 1e300, "float64")}, "not finite, first in image 3"),
        ({"labels": None}, r"mine\.npz has no array 'labels'; it holds images\. Store images \(n,"),
        ({"images": None, "labels": None, "x": LABELS}, r"has no array 'images'; it holds x\."),
        (
            {"images": IMAGES[:5], "labels": LABELS[:5]},
            "mine has 5 images, too few to hold out validation images. Use at least 20",
        ),
        (
            {"labels": np.sort(LABELS)},  # the first tenth, which validates, is of one class
            "The first 20 images of mine, which validate, are all of class 0. Shuffle the file",
        ),
    ],
)
def test_an_npz_that_is_no_data_set(
    arrays: dict[str, np.ndarray],
    sentence: str,
    command: Command,
    write_study: Command,
    write_npz: Command,
    workplace: Path,
) -> None:
    told = command("run", write_study(batch_size=10), "--data", write_npz(**arrays)).sentence

    assert re.search(sentence, told)
    assert told.count("\n") == 0
    assert stored_studies(workplace) == []


@pytest.mark.parametrize(
    "images",
    [
        exchanged((9,), 5, "uint8"),  # one of the training images, behind validation's twenty ...
        exchanged((30,), 5, "uint8"),
        exchanged((slice(None),), 5, "uint8"),  # and all of them
    ],
)
def test_an_image_of_one_value_throughout(
    images: np.ndarray,
    command: Command,
    write_study: Command,
    write_npz: Command,
    workplace: Path,
) -> None:
    study, data = write_study(batch_size=10), write_npz(images=images)

    told = command("run", study, "--data", data).sentence

    assert re.search(
        r"hpo: Image \d+ of mine has one value throughout \(\d+ such images\), so it has no "
        r"deviation to be divided by\. Remove these images or use the normalisation 'feature'\.$",
        told,
    )
    assert stored_studies(workplace) == []


def test_images_of_one_value_can_be_normalised_by_feature(
    command: Command, write_study: Command, write_npz: Command
) -> None:
    study, data = write_study(batch_size=10, normalisation="feature"), exchanged((9,), 5, "uint8")

    assert command("run", study, "--data", write_npz(images=data)).status == 0


def test_the_place_of_a_constant_image_is_its_place_in_the_file(
    command: Command, write_study: Command, write_npz: Command
) -> None:
    images = exchanged((30,), 5, "uint8")

    told = command("run", write_study(batch_size=10), "--data", write_npz(images=images)).sentence

    assert "Image 30 of mine" in told


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda b: b[: len(b) // 2], r"mine\.npz cannot be read as an \.npz file"),  # cut
        (lambda b: b"", r"mine\.npz cannot be read as an \.npz file"),
        (lambda b: b"hello", r"mine\.npz cannot be read as an \.npz file"),
        (pickle.dumps, r"mine\.npz cannot be read as an \.npz file"),
        (
            lambda b: b[:1000] + bytes([b[1000] ^ 255]) + b[1001:],  # bits flipped
            r"mine\.npz: the array 'images' cannot be read .* damaged \(Bad CRC-32",
        ),
    ],
)
def test_a_file_that_is_no_sound_npz(
    spoil: Callable[[bytes], bytes],
    sentence: str,
    command: Command,
    write_study: Command,
    write_npz: Command,
    workplace: Path,
) -> None:
    path = workplace / write_npz()
    path.write_bytes(spoil(path.read_bytes()))

    told = command("run", write_study(), "--data", path).sentence

    assert re.search(sentence, told)
    assert left(workplace) == set()


def make_batches(folder: Path, content: Callable[[int], bytes] = lambda n: b"x" * n) -> Path:
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"data_batch_{number}").write_bytes(content(number))
    return folder


def make_archive(path: Path, member: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(member)
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"evil!"))
    return path


def truncated_archive(path: Path) -> Path:
    make_archive(path, "cifar-10-batches-py/data_batch_1")
    path.write_bytes(path.read_bytes()[:60])
    return path


def text_file(path: Path, content: str = "hello") -> Path:
    path.write_text(content)
    return path


def one_batch(folder: Path) -> Path:
    make_batches(folder)
    (folder / "data_batch_1").unlink()
    return folder


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda at: make_batches(at / "b"),  # not the published bytes
            r"b: data_batch_1 is not the published file: MD5 \w{32}, expected c99cafc152244af753f7",
        ),
        (
            lambda at: make_batches(at / "b", lambda n: pickle.dumps(Bomb())),  # would run code
            r"data_batch_1 is not the published file: .* It was not opened; download it again",
        ),
        (
            lambda at: one_batch(at / "b"),
            r"b is a folder without CIFAR-10 batches\. Expected cifar10, digits, auto",
        ),
        (
            lambda at: make_archive(at / "c.tar.gz", "../../data_batch_1"),  # path traversal
            r"c\.tar\.gz: data_batch_1 is not the published file",
        ),
        (
            lambda at: make_archive(at / "c.tar.gz", "README"),
            r"c\.tar\.gz holds no data_batch_1 or data_batch_1\.bin\. Expected cifar-10-python\.tar",
        ),
        (
            lambda at: truncated_archive(at / "c.tar.gz"),
            r"c\.tar\.gz is damaged or not a \.tar\.gz \(.*\)\. Download it again",
        ),
        (lambda at: text_file(at / "c.tar.gz"), r"c\.tar\.gz is damaged or not a \.tar\.gz \("),
        (
            lambda at: text_file(at / "notes.txt"),
            r"notes\.txt is not CIFAR-10 or an \.npz\. Expected cifar10, digits, auto, a folder",
        ),
        (lambda at: at, r"is a folder without CIFAR-10 batches\. Expected cifar10, digits, auto"),
        (lambda at: at / "nothing", r"No data at '.*nothing': there is no such path\. Expected"),
        (lambda at: Path("cifar11"), r"No data at 'cifar11': there is no such path\. Expected"),
        (lambda at: "", r"No data at '': there is no such path"),
    ],
)
def test_a_source_that_is_something_else(
    make: Callable[[Path], Path],
    sentence: str,
    command: Command,
    write_study: Command,
    workplace: Path,
    tmp_path: Path,
) -> None:
    place = tmp_path / "data"
    place.mkdir()

    told = command("run", write_study(), "--data", make(place)).sentence

    assert re.search(sentence, told)
    assert left(workplace) == set()
    assert not (tmp_path.parent / "data_batch_1").exists()  # nothing was unpacked


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("nowhere", "HPO_DATA is 'nowhere', which does not exist. Set it to the folder cifar-10-b"),
        (".", "HPO_DATA is '.', which is not CIFAR-10. Set it to the folder cifar-10-batches-py"),
    ],
)
def test_a_wrong_hpo_data_is_not_passed_over(
    value: str,
    sentence: str,
    command: Command,
    write_study: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HPO_DATA", value)

    assert sentence in command("run", write_study()).sentence


def test_one_flipped_bit_of_the_real_batches_is_found(
    cifar10_folder: Path, command: Command, write_study: Command, workplace: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "flipped"
    folder.mkdir()
    for path in cifar10_folder.glob("data_batch_*"):
        (folder / path.name).symlink_to(path.resolve())
    victim = next(folder.glob("data_batch_3*"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.unlink()
    victim.write_bytes(content)

    told = command("run", write_study(), "--data", folder).sentence

    assert re.search(r"data_batch_3\S* is not the published file: MD5 ", told)
    assert left(workplace) == set()


# --- the definition ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_s": 0}, r"^hpo: mine\.py is not a valid study: n_s must be at least 1, got 0\.$"),
        (
            {"grid": "Values((-1e-3,))"},
            r"^hpo: lambda -0\.001 does not work with eta_max 0\.1: it ",
        ),
        ({"grid": "Values((5.0,))"}, r"^hpo: lambda 5\.0 .* keep 1 - 2 eta lambda above 0\. Lower"),
        ({"grid": "Values((1e-3, 1e-3))"}, r"^hpo: The grid of 'mine' has a lambda twice: "),
        (
            {"grid": "Values(())"},
            r"^hpo: mine\.py is not a valid study: A grid needs at least one ",
        ),
        (
            {"batch_size": 1201},
            r"^hpo: The batch size 1201 is larger than the training set \(1200 images\)\.$",
        ),
        ({"eta_max": -1.0}, r"^hpo: .*0 <= eta_min <= eta_max .*got eta_min=1e-05, eta_max=-1\.0"),
        ({"eta_min": 1.0}, r"^hpo: .*0 <= eta_min <= eta_max .*got eta_min=1\.0, eta_max=0\.1"),
        ({"flip_probability": 2.0}, r"^hpo: .*flip probability must be 0 to 1, got 2\.0"),
        ({"n_s": 20.5}, "^hpo: .*n_s"),
        ({"hidden": 50.5}, "^hpo: .*hidden"),
        ({"seed": 1.5}, "^hpo: .*seed"),
        ({"grid": "(0.1, 0.2)"}, "^hpo: .*grid"),
        ({"grid": "Logarithmic(-5, 400, 3)"}, "^hpo: "),
        ({"parent": "broad", "grid": "Best()"}, "^hpo: 'mine' needs the finished study 'broad-dig"),
        ({"colour": "red"}, r"^hpo: mine\.py raises TypeError when it is loaded: .*'colour'"),
    ],
)
def test_a_definition_that_cannot_be_trained(
    fields: dict[str, Any],
    sentence: str,
    command: Command,
    write_study: Command,
    workplace: Path,
) -> None:
    told = command("run", write_study("mine", **fields), "--data", "digits").sentence

    assert re.search(sentence, told)
    assert stored_studies(workplace) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"grid": "Values((-1e-3,))"},
        {"batch_size": 1201},
        {"eta_max": -1.0},
        {"parent": "broad", "grid": "Best()"},  # which nobody has run
    ],
)
def test_a_run_that_is_refused_makes_no_database(
    fields: dict[str, Any], command: Command, write_study: Command, workplace: Path
) -> None:
    assert command("run", write_study("mine", **fields), "--data", "digits").sentence

    assert left(workplace) == set()


def test_images_that_are_refused_make_no_database(
    command: Command, write_study: Command, write_npz: Command, workplace: Path
) -> None:
    data = write_npz(images=IMAGES[:5], labels=LABELS[:5])

    assert command("run", write_study(), "--data", data).sentence
    assert left(workplace) == set()


@pytest.mark.parametrize("fields", [{"eta_max": -1.0}, {"eta_min": 1.0}, {"flip_probability": 2.0}])
def test_a_definition_can_be_mended_after_it_was_refused(
    fields: dict[str, Any], command: Command, write_study: Command
) -> None:
    assert command("run", write_study("mine", **fields), "--data", "digits").sentence

    assert command("run", write_study("mine"), "--data", "digits").status == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"^hpo: No study file mine\.py\. Check the path\.$"),
        ("A = 1\n", r"^hpo: mine\.py has no STUDY\. A study file needs a line STUDY = StudyDefini"),
        (
            "STUDY = 3\n",
            r"^hpo: mine\.py has a STUDY of type int\. A study file needs a line STUDY",
        ),
        ("1 / 0\n", r"^hpo: mine\.py raises ZeroDivisionError when it is loaded: division by zero"),
        ("def (\n", r"^hpo: mine\.py raises SyntaxError when it is loaded: "),
        ("import sys\nsys.exit(0)\n", r"^hpo: mine\.py raises SystemExit when it is loaded"),
    ],
)
def test_a_file_that_defines_no_study(
    content: str | None, sentence: str, command: Command, workplace: Path
) -> None:
    if content is not None:
        (workplace / "mine.py").write_text(content)

    assert re.search(sentence, command("run", "mine.py", "--data", "digits").sentence)
    assert left(workplace) == set()


# --- the storage ------------------------------------------------------------------------------


def a_text(folder: Path) -> str:
    (folder / "text.db").write_text("this is not a database, whatever its name may say\n" * 20)
    return "sqlite:///text.db"


def a_cut_database(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "cut.db")) as connection:
        connection.execute("create table t (x)")
        connection.executemany("insert into t values (?)", [("x" * 1000,)] * 100)
        connection.commit()
    path = folder / "cut.db"
    path.write_bytes(path.read_bytes()[:5000])
    return "sqlite:///cut.db"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (a_text, r"^hpo: text\.db is not an SQLite database, or is damaged\.$"),
        (a_cut_database, r"^hpo: cut\.db is .*damaged\."),
        (
            lambda at: "sqlite:///missing/hpo.db",
            r"^hpo: There is no folder .*missing for the database hpo\.db\. Make it first\.$",
        ),
        (
            lambda at: f"sqlite:///{at.parent}",
            r"^hpo: .* is a folder; the database must be a file in it, for example .*/hpo\.db\.$",
        ),
        (
            lambda at: "mysql://somebody@there/x",
            r"^hpo: 'mysql://somebody@there/x' is a mysql database; hpo works with SQLite and Post",
        ),
        (
            lambda at: "hpo.db",
            r"^hpo: 'hpo\.db' is not a database URL\. Expected for example sqlite:///hpo\.db or",
        ),
        (lambda at: "", r"^hpo: '' is not a database URL\. Expected for example sqlite:///hpo\.db"),
        (lambda at: "sqlite://", r"^hpo: 'sqlite://' would be gone with the process\. Name a file"),
        pytest.param(
            lambda at: "postgresql+psycopg://me@127.0.0.1:9/x",  # nobody listens on port 9
            r"^hpo: .*postgresql\+psycopg://me@127\.0\.0\.1:9/x (cannot be reached|needs a driver)",
            marks=pytest.mark.long,  # it waits for 15 s
        ),
    ],
)
def test_a_storage_that_cannot_be_used(
    make: Callable[[Path], str],
    sentence: str,
    command: Command,
    write_study: Command,
    workplace: Path,
) -> None:
    url = make(workplace)
    before = {path.name: path.read_bytes() for path in workplace.iterdir()}

    told = command("run", write_study(), "--data", "digits", "--storage", url).sentence

    assert re.search(sentence, told)
    (workplace / "tiny.py").unlink()
    assert {path.name: path.read_bytes() for path in workplace.iterdir()} == before


@pytest.mark.parametrize(
    "scheme",
    ["mysql", "nonsense", pytest.param("postgresql+psycopg", marks=pytest.mark.long)],
)
def test_a_password_in_the_storage_is_not_told(
    scheme: str, command: Command, write_study: Command
) -> None:
    url = f"{scheme}://me:s3cret@127.0.0.1:9/x"

    answer = command("run", write_study(), "--data", "digits", "--storage", url)

    assert answer.sentence
    assert "s3cret" not in answer.err


@pytest.mark.parametrize(
    "arguments", [["status"], ["list"], ["best", "x"], ["delete", "x", "--yes"]]
)
def test_looking_into_a_database_that_is_not_there_makes_none(
    arguments: list[str], command: Command, workplace: Path
) -> None:
    told = command(*arguments).sentence

    assert told == (
        "hpo: No database at hpo.db. `hpo run coarse` makes one, or name another with --storage."
    )
    assert left(workplace) == set()


def test_a_database_of_something_else_is_told_from_ours(command: Command, workplace: Path) -> None:
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        connection.execute("create table cookies (x)")

    told = command("status").sentence

    assert told == (
        "hpo: hpo.db is a database, but hpo has not written to it yet; `hpo run coarse` does."
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "tiny.py", "--data", "digits"],
        ["run", "tiny.py", "--data", "digits", "--dry-run"],
        ["status"],
        ["delete", "tiny-digits", "--yes"],
    ],
)
def test_a_database_that_a_newer_hpo_wrote_is_left_alone(
    arguments: list[str], command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(), "--data", "digits")
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection, connection:
        connection.execute("update hpo_meta set value = '999' where key = 'schema_version'")

    told = command(*arguments).sentence

    assert re.fullmatch(
        r"hpo: hpo\.db was written by a newer hpo \(schema 999; this one knows \d+\)\. "
        r"Upgrade hpo, or use another --storage\.",
        told,
    )
    with closing(sqlite3.connect(workplace / "hpo.db")) as connection:
        assert connection.execute("select count(*) from hpo_studies").fetchone() == (1,)


def test_a_study_that_somebody_else_made_is_left_alone(
    command: Command, write_study: Command, workplace: Path
) -> None:
    url = "sqlite:///hpo.db"
    storage = optuna.storages.RDBStorage(url)
    study = optuna.create_study(storage=storage, study_name="tiny-digits")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    storage.engine.dispose()

    told = command("run", write_study(), "--data", "digits").sentence
    deleted = command("delete", "tiny-digits", "--yes").sentence

    assert told == deleted
    assert told == (
        "hpo: The study 'tiny-digits' in this storage was not made by hpo, and is left untouched. "
        "Give ours another name with --name, or use another --storage."
    )
    assert len(optuna.load_study(storage=storage, study_name="tiny-digits").trials) == 2
    storage.engine.dispose()
    # under another name there is room for both
    answer = command("run", "tiny.py", "--data", "digits", "--name", "ours")
    assert answer.out.startswith("ours: 3 of 3 done")


def test_a_storage_that_is_read_only(
    command: Command, write_study: Command, mounted: Callable[[str], Path]
) -> None:
    folder = mounted("size=4m")
    url = f"sqlite:///{folder}/hpo.db"
    command("run", write_study(), "--data", "digits", "--storage", url)
    mounted("ro")

    run = ("run", write_study("other"), "--data", "digits", "--storage")

    told = command(*run, url).sentence
    assert re.search(r"hpo\.db cannot be (written: the file or its folder is read|opened)", told)
    told = command(*run, f"sqlite:///{folder}/new.db").sentence
    assert re.search(r"new\.db cannot be opened\. May you", told)


def test_what_is_on_a_read_only_disk_can_be_looked_at(
    command: Command, write_study: Command, mounted: Callable[[str], Path]
) -> None:
    database = mounted("size=4m") / "hpo.db"
    url = f"sqlite:///{database}"
    command("run", write_study(), "--data", "digits", "--storage", url)
    shutil.copy(database, "hpo.db")
    before = command("export", "tiny-digits").out
    mounted("ro")

    answer = command("export", "tiny-digits", "--storage", url)

    assert (answer.status, answer.out) == (0, before), answer.err


@pytest.mark.parametrize(
    "size", [pytest.param("200k", marks=pytest.mark.long), "500k"]
)  # full while it is made, and while it is used
def test_a_full_disk_loses_nothing(
    size: str, command: Command, write_study: Command, mounted: Callable[[str], Path]
) -> None:
    url = f"sqlite:///{mounted(f'size={size}')}/hpo.db"
    grid = f"Values({tuple(i / 1000 for i in range(1, 101))})"
    run = ("run", write_study("wide", grid=grid), "--data", "digits", "--storage", url)

    told = command(*run).sentence
    mounted("size=32m")
    again = command(*run)

    assert re.search(r"hpo: No space left for .*hpo\.db\. Free some and run the same command", told)
    assert again.status == 0
    assert again.out.startswith("wide-digits: 100 of 100 done")


# --- the command line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["run", "nothing"],
            "No study 'nothing'. There are coarse, final, fine, joint; a dotted path or",
        ),
        (
            ["run", "no.such"],
            "No study 'no.such'. There are coarse, final, fine, joint; a dotted path or",
        ),
        (["run"], "Missing argument"),
        (["frobnicate"], "No such command 'frobnicate'. Try --help."),
        (["run", "coarse", "--colour"], "No such option: --colour"),
        (["run", "coarse", "--seed"], "requires an argument"),
        (["run", "coarse", "--seed", "x"], "Invalid value for '--seed'"),
        (["run", "coarse", "--seed", "-1"], "The seed must be 0 to 4294967295, got -1."),
        (
            ["run", "coarse", "--protocol", "odd"],
            "The protocol must be standard or notebook, got 'o",
        ),
        (
            ["run", "coarse", "--train-metrics", "odd"],
            "must be one of running, full; got 'odd'.",
        ),
        (["best", "a", "b"], "Got unexpected extra argument"),
        (["data", "info", "nowhere"], "No data at 'nowhere': there is no such path."),
        (["data", "verify", "nowhere"], "No data at 'nowhere': there is no such path."),
        (["check-gradients", "--data", "digits", "--loss", "odd"], "loss must be one of cross-ent"),
        (["check-gradients", "--data", "digits", "--images", "0"], "Invalid value for '--images'"),
        (
            ["reproduce", "--data", "digits", "--workdir", "work"],
            "The notebook's figures are about CIFAR-10; digits cannot reproduce them.",
        ),
    ],
)
def test_a_command_that_is_typed_wrong(
    arguments: list[str], sentence: str, command: Command, workplace: Path
) -> None:
    if arguments[0] == "run" and len(arguments) > 1:
        arguments = [*arguments[:2], "--data", "digits", *arguments[2:]]

    answer = command(*arguments)

    assert sentence in answer.sentence
    assert answer.out == ""
    assert left(workplace) == set()


@pytest.mark.parametrize(
    "arguments", [["best"], ["export"], ["delete", "--yes"], ["plot", "--out", "p"]]
)
def test_a_study_that_is_not_stored(
    arguments: list[str], command: Command, write_study: Command, workplace: Path
) -> None:
    command("run", write_study(), "--data", "digits")

    told = command(arguments[0], "nothing", *arguments[1:]).sentence

    assert told == (
        "hpo: No study named 'nothing' in this storage (it holds: tiny-digits). Create it with "
        "`hpo run`, or check --storage."
    )
    assert not (workplace / "p").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "mine.py", "--data", "digits"],  # a study file that raises
        ["run", "coarse", "--data", "digits", "--storage", "sqlite:///missing/hpo.db"],
        ["run", "fine", "--data", "digits"],  # before coarse
        ["train", "--data", "digits", "--batch-size", "5000"],
        ["run", "coarse", "--colour"],
    ],
)
def test_the_installed_script_answers_with_status_1_and_no_traceback(
    arguments: list[str], process: Command, workplace: Path
) -> None:
    (workplace / "mine.py").write_text("1 / 0\n")

    answer = process(*arguments)

    assert answer.sentence
    assert answer.out == ""
    assert len(answer.sentence.splitlines()) == 1
