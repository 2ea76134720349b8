"""A log of a program that runs for days: a line an event, as JSON or for people."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from hpo.machine.printable import printable

FORMATS = ("text", "json")


def logger(form: str) -> logging.Logger:
    """Return what writes to standard error, in one of `FORMATS`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    log = logging.getLogger("hpo")
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    return log


def note(log: logging.Logger, event: str, level: int = logging.INFO, **facts: Any) -> None:
    """Write that something happened, and what is known of it."""
    log.log(level, event, extra={"facts": facts})


class _Json(logging.Formatter):
    """Writes an object a line: time, level, event, and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info).splitlines()[-1]
        return json.dumps(told, default=str)


class _Text(logging.Formatter):
    """Writes time, event and facts as ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        facts = " ".join(f"{name}={value}" for name, value in getattr(record, "facts", {}).items())
        error = ""
        if record.exc_info:
            error = f" ({self.formatException(record.exc_info).splitlines()[-1]})"
        return printable(f"{moment} {record.getMessage()} {facts}".rstrip() + error)
