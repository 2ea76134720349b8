"""What a result may depend on beside its definition: versions, and the BLAS in use."""

import platform
from functools import cache


@cache
def environment() -> dict[str, str]:
    """Return versions and BLAS kernels; equal ones promise equal bits."""
    import numpy as np
    import scipy.linalg.blas  # so that its BLAS is loaded, and listed
    import threadpoolctl

    kernels = {
        f"{info.get('internal_api')} {info.get('version')} {info.get('architecture')}"
        for info in threadpoolctl.threadpool_info()
        if info.get("user_api") == "blas"
    }
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "machine": platform.machine(),
        "blas": ", ".join(sorted(kernels)),
    }
