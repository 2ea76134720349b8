"""Fetching a published file, whole, in spite of networks, full disks and rivals.

What has arrived stays in ``<name>.part`` beside the destination until its size and MD5 are those
of the published file; then it is renamed. So the destination is either absent or right, and a
download that was stopped, cut or killed goes on from where it was. One process at a time
downloads to a destination: it holds ``<name>.lock``.
"""

import contextlib
import errno
import hashlib
import os
import queue
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

import filelock

from hpo.errors import DownloadFailed

READ_TIMEOUT = 15.0  # seconds without a byte after which a connection counts as lost
PAUSES = (1.0, 2.0, 4.0)  # seconds before each further try that brings nothing new
POLL = 0.05  # seconds between two looks at the stop signal and the clock
CHUNK = 1 << 16  # bytes
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})  # worth another try
BY_HAND = (
    "download the archive by hand from https://www.cs.toronto.edu/~kriz/cifar.html "
    "and pass `--data PATH`"
)


def fetch(
    url: str,
    destination: Path,
    *,
    md5: str,
    size: int,
    report: Callable[[int, int], None] | None = None,
    give_up_after: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    read_timeout: float = READ_TIMEOUT,
    pauses: tuple[float, ...] = PAUSES,
) -> None:
    """Bring the file at ``url`` to ``destination``; do nothing if it is there already.

    Args:
        url: An http or https address.
        destination: Where the whole file will be; its folder is made if need be.
        md5: The published digest, in hexadecimal.
        size: The published size, in bytes.
        report: Is told (bytes here, bytes in all) as they arrive, also by another process.
        give_up_after: Seconds after which the download fails; what has arrived is kept.
        stop: Asked every 50 ms, also while the server is silent; True ends the download.
        read_timeout: Seconds of silence after which the connection counts as lost.
        pauses: Seconds before each further try; one that brought new bytes starts them again.

    Raises:
        DownloadFailed: Whatever the reason; the message says what to do.
    """
    report = report or (lambda received, size: None)
    times = (give_up_after, stop, time.monotonic(), read_timeout, pauses)
    download = _Download(url, destination, md5, size, report, *times)
    try:
        download.run()
    except OSError as error:  # the network's own are _Lost by now: this one is about files
        if error.errno == errno.ENOSPC:
            advice = f"Free some of the {size:,} bytes that the file needs"
        else:
            advice = "Choose a folder that can be written, with HPO_CACHE"
        raise DownloadFailed(
            f"Cannot write {error.filename or download.part}: {error.strerror or error}. "
            f"{advice}, or {BY_HAND}."
        ) from error


class _Lost(Exception):
    """A request came to nothing, and another may do better."""

    def __init__(self, reason: str, *, part_is_useless: bool = False) -> None:
        super().__init__(reason)
        self.part_is_useless = part_is_useless


@dataclass(frozen=True)
class _Download:
    url: str
    destination: Path
    md5: str
    size: int
    report: Callable[[int, int], None]
    give_up_after: float | None
    stop: Callable[[], bool]
    started: float
    read_timeout: float
    pauses: tuple[float, ...]

    @property
    def part(self) -> Path:
        return self.destination.with_name(self.destination.name + ".part")

    def run(self) -> None:
        if self.destination.exists():
            return
        self.destination.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if self.destination.exists():  # whoever held the lock has brought it
                return
            self._receive()
            self._verify()
            os.replace(self.part, self.destination)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        lock = filelock.FileLock(self.destination.with_name(self.destination.name + ".lock"))
        while True:
            with contextlib.suppress(filelock.Timeout):
                lock.acquire(blocking=False)
                break
            self.report(self._received(), self.size)
            self._wait(POLL)
        try:
            yield
        finally:
            lock.release()

    def _received(self) -> int:
        try:
            return self.part.stat().st_size
        except FileNotFoundError:
            return 0

    def _check(self) -> None:
        """Raise when the user or the clock says that it is enough."""
        progress = f"{self._received():,} of {self.size:,} bytes are in {self.part}"
        if self.stop():
            raise DownloadFailed(
                f"The download of {self.url} was stopped: {progress}. "
                "Run the same command to go on from there."
            )
        limit = self.give_up_after
        if limit is not None and time.monotonic() - self.started > limit:
            raise DownloadFailed(
                f"{self.url} did not arrive within {limit:g} s: {progress}. "
                f"Run the same command to go on from there, or {BY_HAND}."
            )

    def _receive(self) -> None:
        """Request the missing bytes until none is missing."""
        if self._received() > self.size:
            self.part.unlink()  # no prefix of the published file
        furthest, failures = self._received(), 0
        while self._received() < self.size:
            try:
                self._append(self._received())
            except _Lost as lost:
                if lost.part_is_useless:
                    self.part.unlink(missing_ok=True)
                if self._received() > furthest:
                    furthest, failures = self._received(), 0
                if failures == len(self.pauses):
                    raise DownloadFailed(
                        f"{self.url} could not be fetched: {lost} ({failures + 1} tries, "
                        f"{self._received():,} of {self.size:,} bytes are here). "
                        f"Check the network and run the same command again, or {BY_HAND}."
                    ) from lost
                self._wait(self.pauses[failures])
                failures += 1

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, POLL))

    def _append(self, offset: int) -> None:
        """Make one request for the bytes from ``offset`` on, and append what comes."""
        received = offset
        with self.part.open("ab") as file:
            with contextlib.closing(self._body(offset)) as body:
                for chunk in body:
                    file.write(chunk)
                    file.flush()  # the size of the part is what the messages tell
                    received += len(chunk)
                    self.report(received, self.size)
            os.fsync(file.fileno())

    def _body(self, offset: int) -> Generator[bytes]:
        """Yield the answer's bytes from ``offset`` on as another thread receives them.

        Looking up a name and waiting for a silent server cannot be interrupted; in a thread of
        their own they hold up neither a stop signal nor the deadline.
        """
        parcels: queue.Queue[bytes | Exception] = queue.Queue(maxsize=16)
        abandoned = threading.Event()

        def send(parcel: bytes | Exception) -> None:
            while not abandoned.is_set():
                with contextlib.suppress(queue.Full):
                    parcels.put(parcel, timeout=POLL)
                    break

        def receive() -> None:
            try:
                for chunk in _answer(self.url, self.size, offset, self.read_timeout):
                    send(chunk)
                    if abandoned.is_set():
                        return
                send(b"")
            except Exception as error:  # raised again by the caller's thread
                send(error)

        threading.Thread(target=receive, name="hpo-download", daemon=True).start()
        try:
            while True:
                self._check()
                try:
                    parcel = parcels.get(timeout=POLL)
                except queue.Empty:
                    continue
                if isinstance(parcel, Exception):
                    raise parcel
                if not parcel:
                    return
                yield parcel
        finally:
            abandoned.set()

    def _verify(self) -> None:
        actual = hashlib.md5(self.part.read_bytes(), usedforsecurity=False).hexdigest()
        if actual != self.md5:
            self.part.unlink()
            raise DownloadFailed(
                f"What came from {self.url} has MD5 {actual}, the published file has {self.md5}; "
                f"it was deleted. Run the same command to fetch it afresh, or {BY_HAND}."
            )


def _answer(url: str, size: int, offset: int, read_timeout: float) -> Iterator[bytes]:
    """Yield the bytes of the file from ``offset`` to its end, from one request."""
    headers = {"User-Agent": "hpo"} | ({"Range": f"bytes={offset}-"} if offset else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=read_timeout) as response:
            position = _start(response, url, size, offset)
            while position < size:
                chunk = response.read1(min(CHUNK, size - position))
                if not chunk:
                    raise _Lost("the connection was cut")
                # A server that ignores Range sends all again; what is here already is passed over.
                if fresh := chunk[max(0, offset - position) :]:
                    yield fresh
                position += len(chunk)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"HTTP {error.code} ({error.reason})"
        no_such_part = error.code == 416 and offset > 0  # the server's file ends before ours does
        if no_such_part or error.code in PASSING_STATUSES:
            raise _Lost(f"it answered {answer}", part_is_useless=no_such_part) from error
        raise DownloadFailed(
            f"{url} answered {answer} instead of a file of {size:,} bytes. Perhaps it has moved: "
            f"{BY_HAND}."
        ) from error
    except (OSError, HTTPException) as error:
        raise _Lost(_reason(error, url, read_timeout)) from error


def _start(response: HTTPResponse, url: str, size: int, offset: int) -> int:
    """Return where in the file the answer begins: at ``offset`` or before."""
    if response.status == 206:
        content_range = response.headers.get("Content-Range", "")
        stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        if stated is None or int(stated[1]) > offset:
            raise _Lost(f"it answered with the range {content_range!r}", part_is_useless=True)
        start, total = int(stated[1]), stated[2]
    else:
        start, total = 0, response.headers.get("Content-Length", "*")
    if total.isdigit() and int(total) != size:
        raise DownloadFailed(
            f"{url} offers {int(total):,} bytes, the published file has {size:,}; nothing was "
            f"fetched. Perhaps a login page answers in its place: {BY_HAND}."
        )
    return start


def _reason(error: Exception, url: str, read_timeout: float) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, socket.gaierror):
        return f"the name {urllib.request.Request(url).host} was not found, is there a network?"
    if isinstance(cause, TimeoutError):
        return f"the server was silent for {read_timeout:g} s"
    return str(cause) or type(cause).__name__
