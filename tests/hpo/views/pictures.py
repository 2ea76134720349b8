"""Curves that are made up, and what a picture of them shows."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo.views import figures, plots
from hpo.views.plots import Curve

NAN, INF = float("nan"), float("inf")
UPDATES = [50 * k for k in range(1, 21)]  # one cycle of n_s = 500
QUANTITIES = ("cost", "loss", "accuracy")


def save(path: Path, draw: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """Draw a picture in our looks and write it, as a study's are."""
    return figures.save(path, lambda: draw(*args, **kwargs))


def part(cost: list[float]) -> dict[str, list[float]]:
    return {"cost": cost, "loss": cost, "accuracy": [0.3 + 0.01 * k for k in range(len(cost))]}


def falling(n: int = 20, start: float = 2.3) -> dict[str, list[float]]:
    return part([start * 0.97**k for k in range(n)])


def curve_of(costs: list[float]) -> Curve:
    return Curve(UPDATES[: len(costs)], part(costs), part(costs))


def empty() -> dict[str, list[float]]:
    return {quantity: [] for quantity in QUANTITIES}


def png_size(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG file, after checking every chunk and all its pixels."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    position, names, pixels = 8, [], b""
    while position < len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        chunk = content[position + 4 : position + 8 + length]
        (checksum,) = struct.unpack(">I", content[position + 8 + length : position + 12 + length])
        assert zlib.crc32(chunk) == checksum
        names.append(chunk[:4])
        pixels += chunk[4:] if chunk[:4] == b"IDAT" else b""
        position += 12 + length
    width, height = struct.unpack(">II", content[16:24])
    assert (names[0], names[-1]) == (b"IHDR", b"IEND")
    assert len(zlib.decompress(pixels)) == height * (4 * width + 1)  # RGBA, a filter byte a row
    return width, height


def lines(axes: Any) -> list[Any]:
    return list(axes.get_lines())


def line(axes: Any, label: str) -> Any:
    (found,) = (one for one in lines(axes) if one.get_label() == label)
    return found


def legend_of(figure: Any) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def save_example_curves(path: Path) -> None:
    curve = Curve(UPDATES, falling(), falling())
    save(path, plots.figure_of_curves, curve, title="final", cycle_ends=[1000], test_accuracy=0.507)


def save_example_rate(path: Path) -> None:
    save(
        path, plots.figure_of_learning_rate, [0.1, 0.2, 0.1], eta_min=0.1, eta_max=0.2, title="rate"
    )
