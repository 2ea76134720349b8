"""A small data set in a file, and what the cache keeps of it."""

from pathlib import Path

import numpy as np

from hpo.data.source import Source

Environment = dict[str, str]


def written(path: Path, seed: int = 0) -> Source:
    """An .npz of 40 small images."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (40, 4, 4), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(40) % 3)
    return Source(spec=f"npz:{path}", name=path.stem)


def entries(environ: Environment) -> list[Path]:
    return sorted(e for e in (Path(environ["HPO_CACHE"]) / "prepared").iterdir() if e.is_dir())


def is_mapped(images: np.ndarray) -> bool:
    while isinstance(images.base, np.ndarray):
        images = images.base
    return type(images.base).__name__ == "mmap"
