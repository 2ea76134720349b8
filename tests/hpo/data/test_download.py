"""Downloads against a real server on this machine that misbehaves on request."""

import hashlib
import os
import re
import socket
import time
from pathlib import Path

import pytest

from hpo.data.download import fetch
from hpo.errors import DownloadFailed
from tests.hpo.data.server import CONTENT, MD5, Server, get, part_of

BY_HAND = re.escape("https://www.cs.toronto.edu/~kriz/cifar.html and pass `--data PATH`")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def leave_part(destination: Path, content: bytes) -> None:
    destination.parent.mkdir()
    part_of(destination).write_bytes(content)


def test_the_file_arrives_whole_and_leaves_no_part(server: Server, destination: Path) -> None:
    get(server.url, destination)

    assert destination.read_bytes() == CONTENT
    assert not part_of(destination).exists()
    assert server.asked == [None]


def test_progress_is_reported_up_to_the_last_byte(server: Server, destination: Path) -> None:
    reports: list[tuple[int, int]] = []

    fetch(
        server.url,
        destination,
        md5=MD5,
        size=len(CONTENT),
        report=lambda received, size: reports.append((received, size)),
    )

    assert reports == sorted(reports)
    assert reports[-1] == (len(CONTENT), len(CONTENT))


def test_a_file_that_is_there_is_not_asked_for(server: Server, destination: Path) -> None:
    destination.parent.mkdir()
    destination.write_bytes(b"verified when it was put here")

    get(server.url, destination)

    assert server.asked == []


def test_a_partial_file_is_continued(server: Server, destination: Path) -> None:
    leave_part(destination, CONTENT[:100_001])

    get(server.url, destination)

    assert destination.read_bytes() == CONTENT
    assert server.asked == ["bytes=100001-"]


def test_a_partial_file_is_continued_on_a_server_that_ignores_ranges(
    server: Server, destination: Path
) -> None:
    server.knows_ranges = False
    leave_part(destination, CONTENT[:100_001])

    get(server.url, destination)

    assert destination.read_bytes() == CONTENT


def test_a_whole_part_is_used_without_the_network(destination: Path) -> None:
    leave_part(destination, CONTENT)

    get("http://127.0.0.1:9/unreachable", destination)

    assert destination.read_bytes() == CONTENT


def test_a_part_larger_than_the_file_is_fetched_afresh(server: Server, destination: Path) -> None:
    leave_part(destination, CONTENT + b"more")

    get(server.url, destination)

    assert destination.read_bytes() == CONTENT
    assert server.asked == [None]


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 200000-307199/307200",  # a later part than asked, which would leave a hole
        "nonsense",  # a part that is not said which
    ],
)
def test_another_part_than_asked_is_not_appended(
    server: Server, destination: Path, content_range: str
) -> None:
    server.content_range = content_range
    leave_part(destination, CONTENT[:1000])

    get(server.url, destination)

    assert destination.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", None]


def test_a_range_that_the_server_refuses_is_followed_by_the_whole_file(
    server: Server, destination: Path
) -> None:
    server.statuses = [416]
    leave_part(destination, CONTENT[:1000])

    get(server.url, destination)

    assert destination.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", None]


@pytest.mark.parametrize("states_length", [True, False])
def test_cut_connections_are_resumed_as_long_as_each_brings_something(
    server: Server, destination: Path, states_length: bool
) -> None:
    server.states_length = states_length
    server.cuts = [50_000] * 5  # more cuts than there are tries without progress

    get(server.url, destination)

    assert destination.read_bytes() == CONTENT
    assert server.asked[:3] == [None, "bytes=50000-", "bytes=100000-"]


def test_a_server_in_trouble_is_asked_again(server: Server, destination: Path) -> None:
    server.statuses = [503, 500]

    get(server.url, destination)

    assert destination.read_bytes() == CONTENT


def test_a_server_in_lasting_trouble_is_given_up(server: Server, destination: Path) -> None:
    server.statuses = [503] * 9

    with pytest.raises(
        DownloadFailed,
        match=r"could not be fetched: it answered HTTP 503 \(Service Unavailable\) "
        rf"\(3 tries, 0 of 307,200 bytes are here\)\. Check the network and .*{BY_HAND}",
    ):
        get(server.url, destination)


def test_a_missing_page_is_not_asked_for_twice(server: Server, destination: Path) -> None:
    server.statuses = [404, 404]

    with pytest.raises(
        DownloadFailed,
        match=r"answered HTTP 404 \(Not Found\) instead of a file of 307,200 bytes\. "
        rf"Perhaps it has moved: .*{BY_HAND}",
    ):
        get(server.url, destination)

    assert server.asked == [None]


def test_a_page_of_another_size_is_refused_and_the_part_kept(
    server: Server, destination: Path
) -> None:
    server.knows_ranges = False
    server.content = b"<html>Please log in</html>"
    leave_part(destination, CONTENT[:1000])

    with pytest.raises(
        DownloadFailed,
        match=r"offers 26 bytes, the published file has 307,200; nothing was fetched\. Perhaps a "
        rf"login page answers in its place: .*{BY_HAND}",
    ):
        get(server.url, destination)

    assert part_of(destination).read_bytes() == CONTENT[:1000]


def test_a_wrong_hash_names_both_and_deletes_the_part(server: Server, destination: Path) -> None:
    server.content = bytes(len(CONTENT))
    actual = hashlib.md5(server.content).hexdigest()

    with pytest.raises(
        DownloadFailed,
        match=rf"has MD5 {actual}, the published file has {MD5}; it was deleted\. "
        rf"Run the same command to fetch it afresh, or .*{BY_HAND}",
    ):
        get(server.url, destination)

    assert not part_of(destination).exists()
    assert not destination.exists()


def test_a_silent_server_is_given_up_and_what_came_is_kept(
    server: Server, destination: Path
) -> None:
    server.silent_after = 1000

    with pytest.raises(
        DownloadFailed,
        match=r"the server was silent for 0\.2 s \(3 tries, 1,000 of 307,200 bytes are here\)",
    ):
        get(server.url, destination)

    assert part_of(destination).read_bytes() == CONTENT[:1000]


def test_the_deadline_holds_while_the_server_is_silent(server: Server, destination: Path) -> None:
    server.silent_after = 1000
    started = time.monotonic()

    with pytest.raises(
        DownloadFailed,
        match=r"did not arrive within 0\.3 s: 1,000 of 307,200 bytes are in .*\.part\. "
        rf"Run the same command to go on from there, or .*{BY_HAND}",
    ):
        fetch(server.url, destination, md5=MD5, size=len(CONTENT), give_up_after=0.3)

    assert time.monotonic() - started < 2
    server.silent_after = None
    get(server.url, destination)
    assert destination.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-"]


def test_a_stop_is_answered_while_the_server_is_silent(server: Server, destination: Path) -> None:
    server.silent_after = 1000
    started = time.monotonic()

    with pytest.raises(
        DownloadFailed,
        match=r"was stopped: 1,000 of 307,200 bytes are in .*\.part\. "
        r"Run the same command to go on from there\.",
    ):
        fetch(
            server.url,
            destination,
            md5=MD5,
            size=len(CONTENT),
            stop=lambda: part_of(destination).exists() and time.monotonic() - started > 0.3,
        )

    assert time.monotonic() - started < 2


def test_a_refused_connection_says_so(destination: Path) -> None:
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/archive.tar.gz"

        with pytest.raises(DownloadFailed, match=r"could not be fetched: .*Connection refused"):
            get(url, destination)


def test_an_unknown_name_asks_for_a_network(destination: Path) -> None:
    # An address on an interface that does not exist fails in the resolver, before any packet.
    with pytest.raises(
        DownloadFailed,
        match=r"the name \[fe80::1%nosuch\] was not found, is there a network\?",
    ):
        get("http://[fe80::1%25nosuch]/archive.tar.gz", destination)


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")

    with pytest.raises(
        DownloadFailed,
        match=r"Cannot write .*cache: .*\. Choose a folder that can be written, with HPO_CACHE, "
        rf"or .*{BY_HAND}",
    ):
        get(server.url, tmp_path / "cache" / "archive.tar.gz")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(server: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(DownloadFailed, match=r"Cannot write .*Permission denied"):
        get(server.url, tmp_path / "archive.tar.gz")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk without room")
def test_a_full_disk_is_named(server: Server, destination: Path) -> None:
    destination.parent.mkdir()
    part_of(destination).symlink_to("/dev/full")

    with pytest.raises(
        DownloadFailed,
        match=r"Cannot write .*\.part: No space left on device\. "
        rf"Free some of the 307,200 bytes that the file needs, or .*{BY_HAND}",
    ):
        get(server.url, destination)
