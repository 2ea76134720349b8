"""Where Python looks for modules: not where the user happens to be, except while a study is loaded.

What lies in the current folder may be called ``optuna.py`` or ``model.py`` and is not meant for
us. Python brings that folder in by itself only for ``python -m``, but an empty part of PYTHONPATH,
as in ``PYTHONPATH=$PYTHONPATH:/mine``, means it too.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from hpo.errors import HpoError

OURS = ("hpo", "model", "studies")
#: Libraries whose names files of users have had.
LIBRARIES = (
    *("numpy", "scipy", "sqlalchemy", "optuna", "alembic", "matplotlib", "pandas", "PIL"),
    *("threadpoolctl", "platformdirs", "filelock", "psycopg", "typer", "rich"),
)
_left_out: list[str] = []  #: what the user put into the path and we took out


def keep_to_ours() -> None:
    """Import nothing from the current folder or from beside the script, from now on."""
    unwanted = {_real(folder) for folder in (current_folder(), _of_script()) if folder}
    standard = os.path.dirname(os.__file__)
    n_given = sys.path.index(standard) if standard in sys.path else 0
    for folder in sys.path[:n_given]:  # what stands behind the standard library was installed
        if not folder or _real(folder) in unwanted:
            sys.path.remove(folder)
            _left_out.append(folder)
    _bind_ours()


@cache
def refuse_strangers() -> None:
    """Bind our packages, and refuse a user's file that has the name of one, or of a library's.

    For Python programs that import us: their folder is on the path, and is theirs.

    Raises:
        HpoError: There is such a file where the program or the current folder is.
    """
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for name in OURS:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if file and not os.path.abspath(file).startswith(os.path.join(root, name)):
            raise HpoError(
                f"{file} is imported as {name!r}, which is the name of a package of hpo's. Give it "
                "another name."
            )
    _bind_ours()
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    folders = {_real(current_folder()), os.path.dirname(_real(main or ""))} - {""}
    for name in LIBRARIES:
        file = _found(name)
        place = os.path.dirname(file)
        place = os.path.dirname(place) if os.path.basename(file) == "__init__.py" else place
        if file and _real(place) in folders and "site-packages" not in place:
            raise HpoError(
                f"{file} has the name of a library that hpo needs, and would be taken for it. Give it "
                "another name."
            )


def _found(name: str) -> str:
    """Return the file of a module, without importing it; nothing if there is none."""
    module = sys.modules.get(name)
    try:
        spec = module.__spec__ if module else importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return ""
    return str(spec.origin) if spec and spec.origin else ""


@contextmanager
def extended(folder: str) -> Iterator[None]:
    """Look for modules in ``folder`` too, after all other places, within the block.

    What was imported from there is forgotten afterwards: a neighbour of a study file that is named
    like a package that we import later must not take its place. Nothing is compiled into files.
    """
    _bind_ours()
    importlib.invalidate_caches()  # a file may have been written this moment
    path, modules, writes_none = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    added = [entry for entry in (*_left_out, folder) if entry and entry not in path]
    sys.path.extend(added)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_none
        for entry in added:
            if entry in sys.path:
                sys.path.remove(entry)
        for name in set(sys.modules) - modules:
            if _lies_in(name.partition(".")[0], added):
                sys.modules.pop(name, None)


def _lies_in(package: str, folders: list[str]) -> bool:
    """Tell whether a module or package that is imported lies right in one of the folders."""
    if package in OURS:  # where a checkout is the current folder
        return False
    module = sys.modules.get(package)
    places = list(getattr(module, "__path__", ()))
    places = places or [getattr(module, "__file__", None) or ""]
    return any(os.path.dirname(place) in folders for place in places)


def _bind_ours() -> None:
    """Import our packages from beside this one, whatever of their names lies elsewhere."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for name in OURS:
        if name in sys.modules:
            continue
        file = os.path.join(root, name, "__init__.py")
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None or not os.path.isfile(file):
            continue  # installed in another shape: Python finds it
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


def current_folder() -> str:
    """Return the current folder, or nothing where it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _of_script() -> str:
    """Return the folder of the script ``hpo``, which may hold other scripts of the user's."""
    script = sys.argv[0] if sys.argv else ""
    return os.path.dirname(_real(script)) if os.path.basename(script) == "hpo" else ""


def _real(path: str) -> str:
    """Return the path without links; nothing for one from a current folder that is gone."""
    try:
        return os.path.realpath(path) if path else ""
    except OSError:
        return ""
