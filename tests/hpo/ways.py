"""Ways over TCP to a PostgreSQL server, which can be cut."""

import ctypes
import socket
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

SO_ATTACH_FILTER = 26  #: of Linux: a program that says how much of a packet is taken in
NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)  #: that program: return 0


class Way:
    """The way from a host to a server's socket: it can be shut, or forget whom it led through."""

    def __init__(self, server: Any) -> None:
        self._server = _socket_of(server)
        self._ends: set[socket.socket] = set()
        self._forgotten: set[socket.socket] = set()
        self._here = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._here.getsockname()[1]}/postgres"
        self.is_open = threading.Event()
        self.is_open.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._here.accept()
            except OSError:
                return
            other = socket.socket(socket.AF_UNIX)
            try:
                other.connect(str(self._server))
            except OSError:  # it is restarted
                other.close()
                one.close()
                continue
            self._ends |= {one, other}
            for source, target in ((one, other), (other, one)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while told := source.recv(65536):
                self.is_open.wait()
                if not {source, target} & self._forgotten:
                    target.sendall(told)
        except OSError:
            pass
        finally:
            if not {source, target} & self._forgotten:
                _close(source)
                _close(target)

    def forget(self) -> None:
        """Be as dead to the connections that there are, which are told nothing; new ones get through."""
        self._forgotten |= self._ends
        for end in self._forgotten:
            if end.fileno() >= 0:  # it is not closed
                _drop_packets(end)

    def close(self) -> None:
        _close(self._here)
        self.is_open.set()
        for end in self._forgotten:
            _close(end)


def can_forget() -> bool:
    """Tell whether the system drops packets for who asks."""
    try:
        with socket.socket() as one:
            _drop_packets(one)
    except OSError:
        return False
    return sys.platform == "linux"


def _drop_packets(end: socket.socket) -> None:
    program = ctypes.create_string_buffer(NOTHING, len(NOTHING))
    told = struct.pack("@HP", 1, ctypes.addressof(program))
    end.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, told)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)  # which wakes who accepts or receives; closing does not
    end.close()


def _socket_of(server: Any) -> Path:
    address = sa.make_url(server.get_uri())
    folder = str(address.query.get("host") or address.host)
    return Path(folder) / f".s.PGSQL.{address.port or 5432}"
