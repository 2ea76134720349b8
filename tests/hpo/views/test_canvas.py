"""Pictures are the same and are drawn, whatever the user has set for matplotlib."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from hpo.views import plots
from tests.hpo.views.pictures import save

DRAW = """
import sys
from pathlib import Path
from hpo.views import figures, plots
draw = lambda: plots.figure_of_learning_rate(
    [0.01, 0.1, 0.01], eta_min=0.01, eta_max=0.1, title="Rate $x_1$", cycle_ends=[2]
)
figures.save(Path(sys.argv[1]), draw)
"""
BOUNDS: dict[str, Any] = {
    "eta_min": 0.01,
    "eta_max": 0.1,
    "title": "Rate $x_1$",
    "cycle_ends": [2],
}
#: What people have in a matplotlibrc.
SETTINGS = [
    {"text.usetex": True},
    {"font.family": ["Comic Sans MS"], "font.size": 30.0},
    {"savefig.bbox": "tight", "savefig.dpi": 300, "savefig.transparent": True},
    {"axes.facecolor": "black", "lines.linewidth": 9.0, "figure.constrained_layout.use": False},
    {"path.sketch": (1, 100, 2), "axes.unicode_minus": False, "axes.formatter.use_locale": True},
]


def draw(path: Path) -> bytes:
    save(
        path,
        plots.figure_of_learning_rate,
        [0.01, 0.1, 0.01],
        eta_min=0.01,
        eta_max=0.1,
        title="Rate $x_1$",
        cycle_ends=[2],
    )
    return path.read_bytes()


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: next(iter(settings)))
def test_what_the_user_set_changes_no_picture_and_is_kept(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    plain = draw(tmp_path / "plain.png")
    with mpl.rc_context(settings):
        assert draw(tmp_path / "own.png") == plain
        assert {name: mpl.rcParams[name] for name in settings} == settings


def drawn(folder: Path, path: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Draw in a process of its own, which has not imported matplotlib yet."""
    environ = {**os.environ, "HPO_CACHE": str(folder / "cache"), **environ}
    return subprocess.run(
        [sys.executable, "-c", DRAW, path], cwd=folder, env=environ, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "where",
    [
        "MPLBACKEND",
        "here",
        *(pytest.param(w, marks=pytest.mark.long) for w in ("MATPLOTLIBRC", "broken", "nowhere")),
    ],
)
def test_no_setting_keeps_a_picture_from_being_drawn(tmp_path: Path, where: str) -> None:
    environ, file = {}, tmp_path / "a file"
    file.write_text("text.usetex: True\nbackend: nonsense\nfont.size: 30\n")
    if where == "MPLBACKEND":
        environ = {"MPLBACKEND": "no such backend"}
    elif where == "MATPLOTLIBRC":
        environ = {"MATPLOTLIBRC": str(file)}
    elif where == "here":
        file.rename(tmp_path / "matplotlibrc")
    elif where == "broken":
        (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe: nothing")
    else:  # no folder can be made below a file
        environ = {"HPO_CACHE": f"{file}/cache", "MPLCONFIGDIR": f"{file}/mpl", "HOME": str(file)}
        environ |= {"TMPDIR": f"{file}/tmp", "XDG_CACHE_HOME": f"{file}/x"}

    done = drawn(tmp_path, tmp_path / "picture.png", **environ)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "picture.png").read_bytes() == draw(tmp_path / "plain.png")
