"""A server on this machine that misbehaves on request."""

import hashlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hpo.data.download import fetch

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes: several chunks
MD5 = hashlib.md5(CONTENT).hexdigest()
NO_PAUSES = (0.0, 0.0)


class Server(ThreadingHTTPServer):
    """Serves CONTENT, and does as its attributes say; `asked` lists each request's Range."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.knows_ranges = True
        self.states_length = True
        self.statuses: list[int] = []  # answers to give first instead of the content
        self.cuts: list[int] = []  # bytes after which each of the first answers breaks off
        self.silent_after: int | None = None  # bytes after which nothing more comes
        self.delay = 0.0  # seconds before the content
        self.content_range: str | None = None  # a wrong header to send
        self.asked: list[str | None] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/archive.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers["Range"]
        server.asked.append(asked)
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        start = int(asked[len("bytes=") : -1]) if asked and server.knows_ranges else 0
        size = len(server.content)
        if start >= size:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            stated = server.content_range or f"bytes {start}-{size - 1}/{size}"
            self.send_header("Content-Range", stated)
        if server.states_length:
            self.send_header("Content-Length", str(size - start))
        self.end_headers()
        server.over.wait(server.delay)
        end = start + server.cuts.pop(0) if server.cuts else size
        if server.silent_after is not None:
            self.wfile.write(server.content[start : server.silent_after])
            self.wfile.flush()
            server.over.wait()
            return
        self.wfile.write(server.content[start:end])

    def log_message(self, format: str, *args: object) -> None:
        del format, args


def part_of(destination: Path) -> Path:
    return destination.with_name("archive.tar.gz.part")


def get(url: str, destination: Path, *, stop: Callable[[], bool] = lambda: False) -> None:
    fetch(
        url,
        destination,
        md5=MD5,
        size=len(CONTENT),
        stop=stop,
        read_timeout=0.2,
        pauses=NO_PAUSES,
    )
