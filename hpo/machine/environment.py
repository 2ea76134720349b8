"""What a result may depend on beside its definition: versions, and the BLAS in use."""

import platform
from functools import cache

from hpo.machine.version import version


@cache
def environment() -> dict[str, str]:
    """Return versions and BLAS kernels; equal ones promise equal bits."""
    import numpy as np
    import scipy

    kernels = {f"{info} {architecture}" for info, architecture in _blas()}
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": platform.machine(),
        "blas": ", ".join(sorted(kernels)),
    }


@cache
def versions() -> dict[str, str]:
    """Return what all workers of a study must have in common, whatever their processors are."""
    import numpy as np

    blas = ", ".join(sorted({info for info, _ in _blas()}))
    return {"hpo": version(), "NumPy": np.__version__, "BLAS": blas}


@cache
def _blas() -> tuple[tuple[str, str], ...]:
    """Return kind and version of each BLAS that is loaded, and for which processor it is built."""
    import threadpoolctl

    from model.blas import blas

    blas()  # loads it, so that it is listed
    return tuple(
        (f"{info.get('internal_api')} {info.get('version')}", str(info.get("architecture")))
        for info in threadpoolctl.threadpool_info()
        if info.get("user_api") == "blas"
    )
