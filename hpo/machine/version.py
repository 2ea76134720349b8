"""Which hpo this is."""

from importlib import metadata

DISTRIBUTION = "hpo-stacks"  #: what is installed; `hpo` on the package index is somebody else's


def version() -> str:
    """Return the version that is installed."""
    return metadata.version(DISTRIBUTION)
