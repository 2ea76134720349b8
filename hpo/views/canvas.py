"""Matplotlib with its own defaults: pictures look the same whatever the user has set for theirs.

A notebook's MPLBACKEND, a matplotlibrc (with usetex, fonts, colours) and folders that cannot be
written neither change a picture nor keep it from being drawn.
"""

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NOWHERE = os.devnull  #: a folder in which nothing can be kept


@contextmanager
def own_settings() -> Iterator[None]:
    """Draw and write a picture by matplotlib's defaults; what was set before comes back."""
    matplotlib: Any = sys.modules.get("matplotlib") or _imported()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def _imported() -> Any:
    """Import matplotlib as if the user had set nothing, and its list of fonts from our cache."""
    found = importlib.util.find_spec("matplotlib")
    places = (found.submodule_search_locations or []) if found else []
    defaults = Path(*places[:1], "mpl-data")
    fonts = _folder_for_fonts()
    ours = {"MATPLOTLIBRC": str(defaults / "matplotlibrc"), "MPLBACKEND": "agg"}
    ours["MPLCONFIGDIR"] = fonts or NOWHERE
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # nobody can act on what it says
    try:
        with _within(defaults):  # it reads a matplotlibrc in the current folder first
            matplotlib: Any = importlib.import_module("matplotlib")
            if fonts is None:  # it would insist on a temporary folder
                matplotlib.get_cachedir = matplotlib.get_configdir = lambda: NOWHERE
            importlib.import_module("matplotlib.font_manager")
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
    return matplotlib


def _folder_for_fonts() -> str | None:
    from hpo.data.sources import cache_folder
    from hpo.machine import cache

    try:
        folder = cache.opened(cache_folder(os.environ) / "matplotlib")
    except (OSError, cache.Untrusted):
        return None
    return str(folder) if os.access(folder, os.W_OK) else None


@contextmanager
def _within(folder: Path) -> Iterator[None]:
    try:
        here = os.open(".", os.O_RDONLY)
        os.chdir(folder)
    except OSError:  # what cannot be entered holds no settings that could be read
        yield
        return
    try:
        yield
    finally:
        os.fchdir(here)
        os.close(here)
