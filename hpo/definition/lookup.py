"""Study definitions by name (``coarse``), dotted path, or file."""

import importlib
import importlib.util
import os
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

from hpo.definition.study import StudyDefinition
from hpo.errors import DefinitionNotFound, HpoError
from hpo.machine.search_path import current_folder, extended

PACKAGE = "studies"


def definition(spec: str) -> StudyDefinition:
    """Return the ``STUDY`` that ``spec`` names.

    Args:
        spec: ``coarse`` for ``studies.coarse``, a dotted path, or a path that ends in ``.py``.

    Raises:
        DefinitionNotFound: There is no such module or file, it raises, or it has no ``STUDY``.
    """
    module = _from_file(Path(spec)) if spec.endswith(".py") else _from_module(spec)
    study = getattr(module, "STUDY", None)
    if not isinstance(study, StudyDefinition):
        what = "no STUDY" if study is None else f"a STUDY of type {type(study).__name__}"
        raise DefinitionNotFound(
            f"{spec} has {what}. A study file needs a line STUDY = StudyDefinition(...); "
            "studies/coarse.py is an example."
        )
    return study


def known() -> list[str]:
    """Return the names of the definitions that ship with hpo."""
    found = importlib.util.find_spec(PACKAGE)
    folders = found.submodule_search_locations if found else None
    return sorted(file.stem for folder in folders or () for file in Path(folder).glob("[a-z]*.py"))


def _no_study(spec: str) -> DefinitionNotFound:
    is_folder = spec and Path(spec).is_dir()
    what = f"{spec} is a folder" if is_folder else f"No study {spec!r}"
    return DefinitionNotFound(
        f"{what}. There are {', '.join(known())}; a dotted path or a file that ends in .py works too."
    )


def _from_module(spec: str) -> ModuleType:
    if os.sep in spec or not all(spec.split(".")):  # . and ./studies, which are no dotted paths
        raise _no_study(spec)
    name = spec if "." in spec else f"{PACKAGE}.{spec}"
    folder = current_folder() if "." in spec else ""
    try:
        with extended(folder), redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except HpoError as error:
        raise DefinitionNotFound(f"{spec} is not a valid study: {error}") from error
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise _no_study(spec) from None
        raise _raised(spec, error) from error
    except (Exception, SystemExit) as error:
        raise _raised(spec, error) from error


def _from_file(path: Path) -> ModuleType:
    if path.is_dir():
        raise _no_study(str(path))
    if not path.is_file():
        raise DefinitionNotFound(f"No study file {path}. Check the path.")
    # Under a name of its own, so that it hides no module, whatever it is called.
    found = importlib.util.spec_from_file_location(f"hpo_study_{path.stem}", path)
    if found is None or found.loader is None:
        raise DefinitionNotFound(f"{path} cannot be loaded as a Python file.")
    module = importlib.util.module_from_spec(found)
    folder = os.path.dirname(os.path.abspath(path))
    sys.modules[found.name] = module  # where dataclasses in it look themselves up
    try:
        with extended(folder), redirect_stdout(sys.stderr):  # our output may be read by a program
            found.loader.exec_module(module)
    except HpoError as error:
        raise DefinitionNotFound(f"{path} is not a valid study: {error}") from error
    except (Exception, SystemExit) as error:
        raise _raised(str(path), error, folder) from error
    finally:
        sys.modules.pop(found.name, None)
    return module


def _raised(spec: str, error: BaseException, folder: str = "") -> DefinitionNotFound:
    why = " ".join(str(error).split())
    own, frames = os.path.abspath(spec), traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if os.path.abspath(f.filename) == own]
    where = f" (line {lines[-1]})" if lines and not isinstance(error, SyntaxError) else ""
    told = f"{spec} raises {type(error).__name__} when it is loaded: {why}{where}. Mend the study file."
    name = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if name and folder and any(Path(folder, own).exists() for own in (name, f"{name}.py")):
        told += f" Is the {name} beside it meant? That name is taken by an installed package; rename it."
    return DefinitionNotFound(told)
