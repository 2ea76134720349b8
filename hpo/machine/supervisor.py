"""A word to who supervises this process, as systemd does: that it is ready, alive, or about to end."""

import os
import socket
from collections.abc import Mapping


class Supervisor:
    """The other end of ``$NOTIFY_SOCKET``; without one nothing is said."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.every = _seconds(environ) / 2  #: seconds between two words that it lives; 0 for none

    def tell(self, text: str) -> None:
        """Say ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1``; nobody who listens is no fault."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
                there.connect(address)
                there.send(text.encode())
        except OSError:
            return


def _seconds(environ: Mapping[str, str]) -> float:
    told = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(told) / 1e6 if told.isdecimal() and is_ours else 0.0
