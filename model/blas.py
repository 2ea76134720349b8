"""SciPy's BLAS without the rest of ``scipy.linalg``, whose import takes 0.1 s of each process."""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any

NAME = "scipy.linalg._fblas"  #: the compiled module, under the name by which SciPy finds it later


def blas() -> Any:
    """Return what has ``sgemm`` and ``dgemm``: all of ``scipy.linalg.blas``, as BLAS has it."""
    if NAME not in sys.modules:
        import scipy

        spec = PathFinder.find_spec(NAME, [f"{path}/linalg" for path in scipy.__path__])
        if spec is None or spec.loader is None:  # a SciPy that keeps it elsewhere
            import scipy.linalg.blas

            return scipy.linalg.blas
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[NAME] = module
    return sys.modules[NAME]
