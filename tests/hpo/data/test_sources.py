"""What each SOURCE of ``--data`` means, with real files and a real server on this machine."""

import functools
import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpo
from hpo.data.source import Source
from hpo.data.sources import CIFAR10_ARCHIVE, Archive, resolve
from hpo.errors import DataUnavailable, DownloadFailed
from model.errors import InvalidData

CONTENT = b"stands for the archive" * 100
MISSING = Archive("http://127.0.0.1:9/missing", "0" * 32, 10)  # nothing listens on port 9


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start in an empty folder, so that nothing of this machine is found by accident."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """A small archive on a server of its own."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "cifar-10-python.tar.gz").write_bytes(CONTENT)
    handler = functools.partial(SilentHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Archive(
            f"http://127.0.0.1:{server.server_address[1]}/cifar-10-python.tar.gz",
            hashlib.md5(CONTENT).hexdigest(),
            len(CONTENT),
        )
        server.shutdown()
        thread.join()


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def real_cifar10() -> Path:
    """The real batches, only where the machine has them."""
    folder = os.environ.get("HPO_DATA")
    if not folder:
        pytest.skip("set HPO_DATA to the folder cifar-10-batches-py")
    return Path(folder)


def find(
    spec: str, cache: Path, *, archive: Archive = MISSING, stopped: bool = False, **environ: str
) -> tuple[Source, list[str]]:
    """Return the source and what the user was told."""
    notices: list[str] = []
    source = resolve(
        spec,
        environ={"HPO_CACHE": str(cache), **environ},
        notify=notices.append,
        stop=lambda: stopped,
        archive=archive,
        patience=0.5,  # seconds; nothing here is worth waiting for
    )
    return source, notices


def make_cifar10(folder: Path) -> Path:
    """Make a folder that looks like CIFAR-10."""
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(b"")
    return folder


def write_npz(path: Path, **more: np.ndarray) -> Path:
    images, labels = np.arange(32, dtype=np.uint8).reshape(8, 2, 2), np.arange(8) % 2
    arrays: dict[str, Any] = {"images": images, "labels": labels, **more}
    np.savez(path, **arrays)
    return path


def test_the_official_archive_is_the_published_one() -> None:
    assert (
        Archive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
            170_498_071,
        )
        == CIFAR10_ARCHIVE
    )


def test_digits_need_nothing(cache: Path) -> None:
    source, notices = find("digits", cache)

    assert source == Source(spec="digits", name="digits")
    assert len(source.training()) == 1500
    test = source.test()
    assert test is not None
    assert len(test) == 297
    assert notices == []
    assert not cache.exists()


def test_an_npz_is_named_after_its_file(cache: Path) -> None:
    path = write_npz(Path("birds.npz").absolute())

    source, notices = find("birds.npz", cache)

    assert source == Source(spec=f"npz:{path}", name="birds")
    assert len(source.training()) == 8
    assert source.test() is None
    assert notices == []


def test_the_test_part_of_an_npz_is_read_only_when_asked_for(cache: Path) -> None:
    bad = np.array([[[np.nan]]])
    write_npz(Path("birds.npz"), test_images=bad, test_labels=np.array([0]))

    source, _ = find("birds.npz", cache)

    assert len(source.training()) == 8
    with pytest.raises(InvalidData, match="test_images"):
        source.test()


@pytest.mark.parametrize("spec", ["digits", "birds.npz"])
def test_only_cifar10_has_batches(cache: Path, spec: str) -> None:
    write_npz(Path("birds.npz"))
    source, _ = find(spec, cache)

    with pytest.raises(
        DataUnavailable,
        match=rf"{source.name} has no batches, only CIFAR-10 has\. Use --data cifar10\.",
    ):
        source.batches([1])


@pytest.mark.parametrize(
    "numbers",
    [
        [6],  # there is none
        [0],  # the test part, which is only for test()
        [],  # nothing to learn from
    ],
)
def test_batches_are_training_batches(cache: Path, numbers: list[int]) -> None:
    source, _ = find(str(make_cifar10(Path("batches"))), cache)

    with pytest.raises(
        DataUnavailable,
        match=rf"has the training batches 1 to 5, got {re.escape(str(numbers))}\. Name some",
    ):
        source.batches(numbers)


def test_every_spec_finds_its_source_again_from_another_folder(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cifar10(Path("batches"))
    Path("mine.tar.gz").write_bytes(b"")
    write_npz(Path("odd: name.npz"))
    specs = ["digits", "batches", "mine.tar.gz", "odd: name.npz"]
    sources = [find(spec, cache)[0] for spec in specs]

    monkeypatch.chdir(tmp_path)

    assert [find(source.spec, cache)[0] for source in sources] == sources
    assert [source.name for source in sources] == ["digits", "cifar10", "cifar10", "odd-name"]


def test_cifar10_is_looked_for_in_this_order(cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    packed = cache / "cifar-10-python.tar.gz"
    packed.write_bytes(b"")
    assert find("cifar10", cache)[0].spec == f"cifar10:{packed}"
    unpacked = make_cifar10(cache / "cifar-10-batches-py")
    assert find("cifar10", cache)[0].spec == f"cifar10:{unpacked}"
    local = make_cifar10(Path("Datasets/cifar-10-batches-py").absolute())
    assert find("cifar10", cache)[0].spec == f"cifar10:{local}"
    chosen = make_cifar10(tmp_path / "chosen")
    assert find("cifar10", cache, HPO_DATA=str(chosen))[0].spec == f"cifar10:{chosen}"


@pytest.mark.parametrize("spec", ["cifar10", "auto"])
def test_cifar10_is_downloaded_once_and_the_user_told(
    cache: Path, archive: Archive, spec: str
) -> None:
    source, notices = find(spec, cache, archive=archive)
    again, no_notices = find(spec, cache, archive=MISSING)

    packed = cache / "cifar-10-python.tar.gz"
    assert source == again == Source(spec=f"cifar10:{packed}", name="cifar10")
    assert packed.read_bytes() == CONTENT
    assert len(notices) == 1
    assert re.fullmatch(
        rf"CIFAR-10 is not on this machine yet: downloading 0 MB from {archive.url} to {cache}\. "
        r"If interrupted, it goes on next time\.",
        notices[0],
    )
    assert no_notices == []


def test_cifar10_that_cannot_be_downloaded_is_an_error(cache: Path, archive: Archive) -> None:
    gone = Archive(archive.url + ".old", archive.md5, archive.size)

    with pytest.raises(DownloadFailed, match=r"HTTP 404 .* pass `--data PATH`"):
        find("cifar10", cache, archive=gone)


def test_the_archive_is_fetched_from_a_mirror_that_is_named(cache: Path, archive: Archive) -> None:
    far = Archive("http://127.0.0.1:9/far", archive.md5, archive.size)
    wrong = Archive(far.url, "0" * 32, far.size)
    with pytest.raises(DownloadFailed):
        find("cifar10", cache, archive=wrong, HPO_DATA_URL=archive.url)
    with pytest.raises(DataUnavailable):
        find("cifar10", cache, archive=far)
    source, notices = find("cifar10", cache, archive=far, HPO_DATA_URL=archive.url)
    assert source.spec.startswith("cifar10:")
    assert f"from {archive.url} to" in notices[0]


def test_auto_falls_back_to_the_digits_loudly(cache: Path, archive: Archive) -> None:
    gone = Archive(archive.url + ".old", archive.md5, archive.size)

    source, notices = find("auto", cache, archive=gone)

    assert source.spec == "digits"
    assert len(notices) == 2  # that a download begins, and what came of it
    assert re.fullmatch(
        r"\*\*\* NOT CIFAR-10 \*\*\* The small handwritten digits are used in its place; .*\n"
        r"\*\*\* Why: .*HTTP 404.* pass `--data PATH`\.\n"
        r"\*\*\* To insist on CIFAR-10 use `--data cifar10`; to be content .* `--data digits`\.",
        notices[1],
    )


def test_auto_gives_a_download_up_after_its_patience(cache: Path) -> None:
    source, notices = find("auto", cache, archive=MISSING)

    assert source.spec == "digits"
    assert "did not arrive within 0.5 s" in notices[1]


def test_a_stop_does_not_turn_auto_into_digits(cache: Path) -> None:
    with pytest.raises(DownloadFailed, match="was stopped"):
        find("auto", cache, stopped=True)


@pytest.mark.parametrize(
    ("chosen", "fault"),
    [
        ("nowhere", r"HPO_DATA is 'nowhere', which does not exist\. Set it to the folder"),
        (".", r"HPO_DATA is '\.', which is not CIFAR-10\. Set it to the folder"),
        # the folder above the right one
        ("above", r"is not CIFAR-10\. Did you mean .*/above/cifar-10-batches-py\? Set it to"),
    ],
)
def test_a_wrong_hpo_data_is_not_passed_over(
    cache: Path, archive: Archive, chosen: str, fault: str
) -> None:
    make_cifar10(Path("above/cifar-10-batches-py"))
    make_cifar10(Path("Datasets/cifar-10-batches-py"))  # would do, but was not chosen

    with pytest.raises(DataUnavailable, match=fault + ".* or unset it"):
        find("cifar10", cache, archive=archive, HPO_DATA=chosen)
    source, notices = find("auto", cache, archive=archive, HPO_DATA=chosen)

    assert source.spec == "digits"
    assert len(notices) == 1
    assert re.search(fault, notices[0])


def test_an_empty_hpo_data_is_as_none(cache: Path) -> None:
    make_cifar10(Path("Datasets/cifar-10-batches-py"))

    assert find("cifar10", cache, HPO_DATA="")[0].name == "cifar10"


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("cifar100", r"No data at 'cifar100': there is no such path\. Expected cifar10, digits, "),
        ("", r"No data at '': there is no such path\. Expected cifar10, digits, auto, "),
        ("x" * 5000, r"there is no such path\. Expected"),  # longer than a path may be
        ("npz:/nowhere.npz", r"No data at '/nowhere\.npz': there is no such path\."),
        (".", r"here is a folder without CIFAR-10 batches\. Expected .* an \.npz file"),
        ("above", r"CIFAR-10 batches\. Did you mean .*/above/cifar-10-batches-py\? Expected"),
        ("notes.txt", r"notes\.txt is not CIFAR-10 or an \.npz\. Expected"),
        ("cifar10:birds.npz", r"birds\.npz is not CIFAR-10\. Expected"),
        ("npz:notes.txt", r"notes\.txt is not an \.npz file\. Expected"),
    ],
)
def test_a_spec_that_names_no_data_is_answered_with_the_forms(
    cache: Path, spec: str, fault: str
) -> None:
    make_cifar10(Path("above/cifar-10-batches-py"))
    Path("notes.txt").write_text("no images")
    write_npz(Path("birds.npz"))

    with pytest.raises(DataUnavailable, match=fault):
        find(spec, cache)


def test_the_real_batches_are_read_part_by_part(
    cache: Path, tmp_path: Path, real_cifar10: Path
) -> None:
    folder = tmp_path / "without-test"
    folder.mkdir()
    for number in range(1, 6):
        (folder / f"data_batch_{number}").symlink_to(real_cifar10 / f"data_batch_{number}")
    source, _ = find(str(folder), cache)

    assert len(source.training()) == 50_000  # no look at test_batch, which is not there
    two = source.batches([2, 1])
    assert len(two) == 20_000
    np.testing.assert_array_equal(two.images[10_000:], source.batches([1]).images)
    with pytest.raises(InvalidData, match="has no test_batch"):
        source.test()


def test_the_real_test_part_has_ten_thousand_images(cache: Path, real_cifar10: Path) -> None:
    test = find("cifar10", cache, HPO_DATA=str(real_cifar10))[0].test()

    assert test is not None
    assert len(test) == 10_000


def test_importing_sources_loads_neither_numpy_nor_the_network() -> None:
    program = (
        "import sys, hpo.data.sources; "
        "print(*sorted({'numpy', 'model', 'urllib.request', 'filelock'} & sys.modules.keys()))"
    )
    root = str(Path(hpo.__file__).parents[1])

    shown = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.split() == []
