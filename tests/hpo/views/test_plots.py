"""Pictures are real files, complete or absent, and show each value where it belongs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpo.errors import OutputError
from hpo.views import plots
from hpo.views.plots import Curve
from tests.hpo.views.pictures import (
    INF,
    NAN,
    QUANTITIES,
    UPDATES,
    curve_of,
    empty,
    falling,
    legend_of,
    line,
    lines,
    part,
    png_size,
    save,
    save_example_curves,
    save_example_rate,
)


def save_example_weights(path: Path) -> None:
    w1 = np.random.default_rng(0).normal(size=(3072, 50)).astype(np.float32)
    save(path, plots.figure_of_first_layer, w1, (3, 32, 32), title="weights")


def save_example_study(path: Path) -> None:
    curves = [Curve(UPDATES, empty(), falling(start=2 + k / 10)) for k in range(24)]
    labels = [f"cell {k}" for k in range(24)]
    save(path, plots.figure_of_study_curves, curves, labels, title="joint", cycle_ends=[1000])


EXAMPLES = [
    (save_example_curves, (1400, 450)),
    (save_example_rate, (1200, 500)),
    (save_example_weights, (1400, 765)),
    (save_example_study, (1400, 550)),
]


@pytest.mark.parametrize(("save", "size"), EXAMPLES)
def test_a_picture_is_a_whole_png_of_the_stated_size(
    save: Callable[[Path], None], size: tuple[int, int], tmp_path: Path
) -> None:
    save(tmp_path / "new" / "folder" / "picture.png")

    assert png_size(tmp_path / "new" / "folder" / "picture.png") == size
    assert [file.name for file in tmp_path.rglob("*.*")] == ["picture.png"]  # nothing left over


@pytest.mark.parametrize(("save", "size"), EXAMPLES)
def test_equal_input_gives_equal_bytes(
    save: Callable[[Path], None], size: tuple[int, int], tmp_path: Path
) -> None:
    save(tmp_path / "one.png")
    save(tmp_path / "two.png")

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_other_input_gives_other_bytes(tmp_path: Path) -> None:
    for start in (2.3, 2.2):
        curve = Curve(UPDATES, falling(start=start), falling(start=start))
        save(tmp_path / f"{start}.png", plots.figure_of_curves, curve, title="final")

    assert (tmp_path / "2.3.png").read_bytes() != (tmp_path / "2.2.png").read_bytes()


def test_another_process_draws_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hpo.views import figures, plots; "
        "figures.save(Path(sys.argv[1]), lambda: plots.figure_of_learning_rate("
        "[0.1, 0.2, 0.1], eta_min=0.1, eta_max=0.2, title='rate'))"
    )
    root = Path(plots.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], cwd=root, check=True)
    save_example_rate(tmp_path / "b.png")

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_importing_plots_does_not_load_matplotlib_and_drawing_never_loads_pyplot(
    tmp_path: Path,
) -> None:
    code = (
        "import sys; from pathlib import Path; from hpo.views import figures, plots; "
        "assert 'matplotlib' not in sys.modules; "
        "figures.save(Path(sys.argv[1]), lambda: plots.figure_of_learning_rate("
        "[0.1], eta_min=0, eta_max=1, title='rate')); "
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    root = Path(plots.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], cwd=root, check=True)


def test_each_value_is_drawn_at_its_own_update() -> None:
    curve = Curve(UPDATES, falling(start=2.0), falling(start=2.3))
    panels = plots.figure_of_curves(curve, title="run", training_label="running").axes

    assert [axes.get_ylabel() for axes in panels] == list(QUANTITIES)
    for axes, quantity in zip(panels, QUANTITIES, strict=True):
        assert list(line(axes, "running").get_xdata()) == UPDATES  # from 50 on, not from 0
        assert list(line(axes, "running").get_ydata()) == curve.training[quantity]
        assert list(line(axes, "validation").get_xdata()) == UPDATES
        assert list(line(axes, "validation").get_ydata()) == curve.validation[quantity]


def test_cycle_ends_and_test_accuracy_are_named_once() -> None:
    figure = plots.figure_of_curves(
        Curve(UPDATES, falling(), falling()),
        title="run",
        cycle_ends=[500, 1000],
        test_accuracy=0.50704,
    )

    assert sorted(legend_of(figure)) == [
        "end of a cycle",
        "test accuracy 0.5070",
        "training",
        "validation",
    ]
    for axes in figure.axes:
        dotted = [one.get_xdata()[0] for one in lines(axes) if one.get_linestyle() == ":"]
        assert dotted == [500, 1000]
    assert list(line(figure.axes[2], "test accuracy 0.5070").get_ydata()) == [0.50704, 0.50704]


@pytest.mark.parametrize(
    ("costs", "highest"),
    [
        ([2.0, 1.5, 1.0], 2.0),  # ordinary: everything is shown
        ([9.0, 0.1, 0.01], 9.0),  # a steep fall is ordinary too
        ([4e7, 2.0, 1.5, 1.0], 2.0),  # one huge value does not flatten the others
        ([2.0, 1.5, 1e30, INF, NAN], 2.0),  # on its way to diverging
        ([NAN, 2.0, 1.5], 2.0),
        ([60.0, 50.0, 40.0], 60.0),  # all high, none beyond the rest
    ],
)
def test_the_cost_axis_starts_at_0_and_ends_above_the_highest_ordinary_value(
    costs: list[float], highest: float
) -> None:
    axes = plots.figure_of_curves(curve_of(costs), title="run").axes[0]

    assert axes.get_ylim() == pytest.approx((0, 1.08 * highest))
    finite = [cost for cost in costs if np.isfinite(cost)]
    hidden = f"off the scale: up to {max(finite):.3g}" if max(finite) > highest else ""
    assert axes.get_title(loc="right") == hidden


def test_the_cost_axis_holds_both_curves() -> None:
    curve = Curve([50, 100], part([1.0, 0.5]), part([2.0, 3.0]))

    assert plots.figure_of_curves(curve, title="run").axes[0].get_ylim()[1] > 3


@pytest.mark.parametrize(
    "curve",
    [
        Curve(UPDATES, empty(), falling()),  # training was not measured
        Curve(UPDATES, {}, falling()),
        Curve([50], falling(1), falling(1)),  # one log point
        Curve([], empty(), empty()),  # none yet
        curve_of([NAN, NAN, NAN]),  # diverged at once
        curve_of([0.0, 0.0]),  # learnt by heart
        curve_of([1.7e308, 1.7e308, 1.7e308]),
        curve_of([2.0, 1e200, INF]),
        Curve(UPDATES, empty(), {"cost": np.ones(20), "accuracy": [None] * 20}),
    ],
)
def test_incomplete_curves_are_drawn_without_a_warning(curve: Curve, tmp_path: Path) -> None:
    save(tmp_path / "a.png", plots.figure_of_curves, curve, title="run", test_accuracy=NAN)
    save(tmp_path / "b.png", plots.figure_of_study_curves, [curve], ["cell 0"], title="study")

    assert png_size(tmp_path / "a.png") == (1400, 450)
    assert png_size(tmp_path / "b.png") == (1400, 550)


def test_a_single_log_point_has_a_marker() -> None:
    axes = plots.figure_of_curves(Curve([50], falling(1), falling(1)), title="run").axes[0]

    assert line(axes, "validation").get_marker() == "o"


@pytest.mark.parametrize("title", ["costs $5 and $", "名前", "a_b^c " * 100, "", "x" * 400])
def test_any_title_can_be_drawn(title: str, tmp_path: Path) -> None:
    save(
        tmp_path / "a.png", plots.figure_of_learning_rate, [0.1], eta_min=0, eta_max=1, title=title
    )

    assert png_size(tmp_path / "a.png") == (1200, 500)


def test_rates_are_drawn_from_update_0_between_their_bounds() -> None:
    rates = [1e-5, 0.05, 0.1, 0.05]
    figure = plots.figure_of_learning_rate(
        rates, eta_min=1e-5, eta_max=0.1, title="rate", cycle_ends=[4]
    )
    (axes,) = figure.axes

    assert list(line(axes, "learning rate").get_xdata()) == [0, 1, 2, 3]
    assert list(line(axes, "learning rate").get_ydata()) == rates
    assert set(line(axes, "eta_max = 0.1").get_ydata()) == {0.1}
    assert set(line(axes, "eta_min = 1e-05").get_ydata()) == {1e-5}
    assert axes.get_ylim()[0] < 1e-5
    assert axes.get_ylim()[1] > 0.1


@pytest.mark.parametrize(("rates", "eta"), [([], 0.1), ([0.001] * 3, 0.001), ([0.0], 0.0)])
def test_a_constant_rate_or_none_at_all_can_be_drawn(
    rates: list[float], eta: float, tmp_path: Path
) -> None:
    save(
        tmp_path / "a.png",
        plots.figure_of_learning_rate,
        rates,
        eta_min=eta,
        eta_max=eta,
        title="rate",
    )

    assert png_size(tmp_path / "a.png") == (1200, 500)


@pytest.mark.parametrize("place", ["file/picture.png", "file/folder/picture.png", "folder"])
def test_a_place_that_cannot_be_written_is_one_sentence(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()

    named = place.removesuffix("/picture.png")  # what is in the way
    with pytest.raises(
        OutputError, match=rf"^Cannot write .*{named}: .*(Check the path: .*|another place)\.$"
    ):
        save_example_rate(tmp_path / place)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_full_disk_leaves_the_old_picture_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.png"
    save_example_rate(path)
    before = path.read_bytes()

    def is_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", is_full)
    with pytest.raises(OutputError, match=r"No space left on device\. Free some space"):
        save_example_curves(path)
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]
    assert path.read_bytes() == before


def test_a_picture_replaces_the_one_before(tmp_path: Path) -> None:
    save_example_rate(tmp_path / "picture.png")
    save_example_curves(tmp_path / "picture.png")

    assert png_size(tmp_path / "picture.png") == (1400, 450)
