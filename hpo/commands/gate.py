"""Who may ask a page that we serve for what: this machine alone, and only to look.

A browser asks on behalf of any page that is open in it. A foreign page that has made its name point
to this machine is known by the Host header, one that sends a form or a script's request by Origin.
"""

import io
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
Respond = Callable[..., Any]
App = Callable[[Environ, Respond], Iterable[bytes]]

LOOKING = ("GET", "HEAD")
#: What may be looked at; whatever else a later dashboard offers is refused until it is known.
PAGES = re.compile(
    r"/|/dashboard(/.*)?|/api/meta|/api/studies(/\d+(/param_importances|/plot/\w+)?)?"
    r"|/csv/\d+|/favicon\.ico|/static/.*|/artifacts/.*",
    re.DOTALL,
)
ABOUT_ONE = re.compile(r"/(?:api/studies|csv)/(\d{1,9})(?:/|$)")  #: with all its trials
READ_ONLY = (
    "This dashboard only shows studies, so nothing was changed. `hpo dashboard --allow-edit` lets "
    "it write."
)
STRANGE_HOST = "This dashboard answers only to the address that `hpo dashboard` names: {}."
STRANGE_PAGE = "Another page asked this dashboard to change something; nothing was changed."
NO_PAGE = "There is no such page here; the dashboard is at /dashboard."
SAFE = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),  # no foreign page shows it as a part of itself
    ("Referrer-Policy", "no-referrer"),
]
#: An artifact is somebody's file: what it says as a page or a script is never run.
INERT = [
    (
        "Content-Security-Policy",
        "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'",
    )
]


def _nothing() -> None:
    pass


def hosts_of(port: int) -> set[str]:
    """Return the names under which this machine alone reaches a port of its own."""
    names = ("127.0.0.1", "localhost", "[::1]")
    hosts = {f"{name}:{port}" for name in names}
    return hosts | (set(names) if port == 80 else set())  # which browsers leave out


class Gate:
    """A WSGI application in front of another one, which refuses what must not reach it."""

    def __init__(
        self,
        app: App,
        port: int,
        *,
        allow_edit: bool = False,
        notify: Callable[[str], None] = lambda _: None,
        after: Callable[[], None] = _nothing,
        too_large: Callable[[int], str | None] = lambda _: None,
    ) -> None:
        """Stand before ``app``.

        Args:
            port: That it is served at.
            allow_edit: Let through what changes something.
            notify: Is told once what failed inside.
            after: Is called after every answer, in the thread that gave it.
            too_large: Says why a study is not shown, by its number; None for one that is.
        """
        self._app, self._after, self._notify = app, after, notify
        self._allow_edit = allow_edit
        self._hosts = hosts_of(port)
        self._too_large = too_large
        self._address = f"http://127.0.0.1:{port}/"
        self._told: set[str] = set()

    def __call__(self, environ: Environ, respond: Respond) -> Iterable[bytes]:
        """Answer a request."""
        refusal = self._refusal(environ)
        if refusal is not None:
            return _refused(*refusal, environ, respond)
        environ.setdefault("HTTP_ACCEPT_ENCODING", "")  # the page takes it to be always there
        environ["wsgi.errors"] = told = io.StringIO()  # a traceback is for nobody
        try:
            answer = self._app(environ, _with_headers(respond, environ))
            try:
                return [b"".join(answer)]
            finally:
                getattr(answer, "close", _nothing)()  # of a file that was sent
        finally:
            self._after()
            self._tell(told.getvalue())

    def _refusal(self, environ: Environ) -> tuple[str, str] | None:
        """Return status and sentence, or None for what may pass."""
        if str(environ.get("HTTP_HOST", "")).lower() not in self._hosts:
            return "421 Misdirected Request", STRANGE_HOST.format(self._address)
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if method in LOOKING and PAGES.fullmatch(path.rstrip("/") or "/"):
            study = ABOUT_ONE.match(path)
            reason = self._too_large(int(study[1])) if study else None
            return None if reason is None else ("413 Content Too Large", reason)
        if method in LOOKING:
            return "404 Not Found", NO_PAGE
        if not self._allow_edit:
            return "405 Method Not Allowed", READ_ONLY
        origin = environ.get("HTTP_ORIGIN")
        is_ours = origin is None or str(origin).lower().removeprefix("http://") in self._hosts
        is_same = environ.get("HTTP_SEC_FETCH_SITE", "same-origin") in ("same-origin", "none")
        return None if is_ours and is_same else ("403 Forbidden", STRANGE_PAGE)

    def _tell(self, traceback: str) -> None:
        lines = traceback.strip().splitlines()
        if lines and lines[-1] not in self._told:
            self._told.add(lines[-1])
            self._notify(f"The dashboard failed at something: {lines[-1][:300]}")


def _with_headers(respond: Respond, environ: Environ) -> Respond:
    is_artifact = str(environ.get("PATH_INFO", "")).startswith("/artifacts/")
    ours = SAFE + INERT if is_artifact else SAFE
    named = {name.lower() for name, _ in ours} | {"access-control-allow-origin"}

    def responding(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        theirs = [header for header in headers if header[0].lower() not in named]
        return respond(status, theirs + ours, *error)

    return responding


def _refused(status: str, sentence: str, environ: Environ, respond: Respond) -> Iterable[bytes]:
    """Answer as the dashboard's own page expects it, which then shows the sentence."""
    body = json.dumps({"reason": sentence}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if status.startswith("405"):
        headers.append(("Allow", ", ".join(LOOKING)))
    respond(status, headers + SAFE)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
