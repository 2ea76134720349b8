"""The gate refuses what would take a browser, and us, too long."""

from collections.abc import Iterable
from typing import Any

import pytest

from hpo.commands.dashboard import MOST_TRIALS, _too_large
from hpo.commands.gate import Gate, hosts_of


def asked(gate: Gate, path: str) -> tuple[str, bytes]:
    told: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_HOST": "127.0.0.1:8080"}
    answer: Iterable[bytes] = gate(environ, lambda status, *_: told.append(status))
    return told[0], b"".join(answer)


def page(_: Any, respond: Any) -> list[bytes]:
    respond("200 OK", [])
    return [b"shown"]


@pytest.mark.parametrize("path", ["/api/studies/7", "/csv/7", "/api/studies/7/param_importances"])
def test_a_study_of_too_many_trials_is_refused_with_what_shows_it(path: str) -> None:
    gate = Gate(page, 8080, too_large=lambda study: _too_large(MOST_TRIALS + (study == 7)))
    status, told = asked(gate, path)
    assert status == "413 Content Too Large"
    assert b"20,001 trials" in told
    assert b"hpo report" in told
    assert asked(gate, path.replace("7", "8")) == ("200 OK", b"shown")
    assert asked(gate, "/api/studies") == ("200 OK", b"shown")


def test_a_machine_has_its_own_names_alone() -> None:
    assert hosts_of(80) == {"127.0.0.1:80", "localhost:80", "[::1]:80"} | {
        "127.0.0.1", "localhost", "[::1]",
    }  # fmt: skip
    assert "127.0.0.1" not in hosts_of(8080)
