"""Pictures are real files, complete or absent, and show each value where it belongs."""

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo.errors import OutputError
from hpo.views import plots
from hpo.views.plots import Curve

NAN, INF = float("nan"), float("inf")
UPDATES = [50 * k for k in range(1, 21)]  # one cycle of n_s = 500
QUANTITIES = ("cost", "loss", "accuracy")


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
    plots.save_curves(path, curve, title="final", cycle_ends=[1000], test_accuracy=0.507)


def save_example_rate(path: Path) -> None:
    plots.save_learning_rate(path, [0.1, 0.2, 0.1], eta_min=0.1, eta_max=0.2, title="rate")


def save_example_weights(path: Path) -> None:
    w1 = np.random.default_rng(0).normal(size=(3072, 50)).astype(np.float32)
    plots.save_first_layer(path, w1, (3, 32, 32), title="weights")


def save_example_lambdas(path: Path) -> None:
    lambdas, accuracies = [1e-5, 1e-3, 1e-1], [0.51, 0.52, 0.2]
    plots.save_accuracy_against_lambda(
        path, lambdas, accuracies, title="coarse", best=1, logarithmic=True
    )


def save_example_study(path: Path) -> None:
    curves = [Curve(UPDATES, empty(), falling(start=2 + k / 10)) for k in range(24)]
    labels = [f"cell {k}" for k in range(24)]
    plots.save_study_curves(path, curves, labels, title="joint", cycle_ends=[1000])


EXAMPLES = [
    (save_example_curves, (1400, 450)),
    (save_example_rate, (1200, 500)),
    (save_example_weights, (1400, 765)),
    (save_example_lambdas, (900, 550)),
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
        plots.save_curves(tmp_path / f"{start}.png", curve, title="final")

    assert (tmp_path / "2.3.png").read_bytes() != (tmp_path / "2.2.png").read_bytes()


def test_another_process_draws_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hpo.views import plots; "
        "plots.save_learning_rate(Path(sys.argv[1]), [0.1, 0.2, 0.1], eta_min=0.1, eta_max=0.2, "
        "title='rate')"
    )
    root = Path(plots.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], cwd=root, check=True)
    save_example_rate(tmp_path / "b.png")

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_importing_plots_does_not_load_matplotlib_and_drawing_never_loads_pyplot(
    tmp_path: Path,
) -> None:
    code = (
        "import sys; from pathlib import Path; from hpo.views import plots; "
        "assert 'matplotlib' not in sys.modules; "
        "plots.save_learning_rate(Path(sys.argv[1]), [0.1], eta_min=0, eta_max=1, title='rate'); "
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
    plots.save_curves(tmp_path / "a.png", curve, title="run", test_accuracy=NAN)
    plots.save_study_curves(tmp_path / "b.png", [curve], ["cell 0"], title="study")

    assert png_size(tmp_path / "a.png") == (1400, 450)
    assert png_size(tmp_path / "b.png") == (1400, 550)


def test_a_single_log_point_has_a_marker() -> None:
    axes = plots.figure_of_curves(Curve([50], falling(1), falling(1)), title="run").axes[0]

    assert line(axes, "validation").get_marker() == "o"


@pytest.mark.parametrize("title", ["costs $5 and $", "名前", "a_b^c " * 100, "", "x" * 400])
def test_any_title_can_be_drawn(title: str, tmp_path: Path) -> None:
    plots.save_learning_rate(tmp_path / "a.png", [0.1], eta_min=0, eta_max=1, title=title)

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
    plots.save_learning_rate(tmp_path / "a.png", rates, eta_min=eta, eta_max=eta, title="rate")

    assert png_size(tmp_path / "a.png") == (1200, 500)


def drawn_weights(w1: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
    figure = plots.figure_of_first_layer(w1, image_shape, title="weights")
    assert figure is not None
    (image,) = figure.axes[0].get_images()
    assert image.origin == "upper"
    assert not figure.axes[0].axison
    return np.asarray(image.get_array())


@pytest.mark.parametrize(
    ("image_shape", "flat_index"),
    [
        ((3, 4, 6), 1 * 24 + 0 * 6 + 5),  # channels first: green, row 0, column 5
        ((4, 6, 3), (0 * 6 + 5) * 3 + 1),  # channels last: the same pixel
    ],
)
def test_a_colour_weight_is_drawn_at_its_row_column_and_channel(
    image_shape: tuple[int, ...], flat_index: int
) -> None:
    w1 = np.zeros((72, 2), np.float32)
    w1[0, 0] = 1.0  # top left, red, of the first unit
    w1[flat_index, 1] = -2.0
    drawn = drawn_weights(w1, image_shape)

    first, second = drawn[:4, :6], drawn[:4, 7:13]  # a gap of one between them
    assert first[0, 0].tolist() == [255, 128, 128]
    assert (first.reshape(-1, 3)[1:] == 128).all()
    assert second[0, 5].tolist() == [128, 1, 128]
    assert (second == 128).sum() == 71
    assert (drawn[:, 6] == 255).all()


def test_a_grey_weight_is_drawn_upright() -> None:
    w1 = np.zeros((6, 1))
    w1[0, 0], w1[2, 0], w1[3, 0] = 1.0, 0.5, -1.0  # 2 rows of 3

    assert drawn_weights(w1, (2, 3)).tolist() == [[255, 128, 192], [1, 128, 128]]


def test_fifty_units_stand_in_five_rows_of_ten_in_order() -> None:
    w1 = np.zeros((16, 50))
    w1[0, 10] = 1.0  # the first unit of the second row

    drawn = drawn_weights(w1, (4, 4))
    assert drawn.shape == (5 * 5 - 1, 10 * 5 - 1)
    assert drawn[5, 0] == 255
    assert (drawn[5:9, 0:4] == 128).sum() == 15


def test_each_image_has_its_own_scale() -> None:
    w1 = np.array([[1e-6, 100.0], [-1e-6, 50.0]])

    assert plots.weight_images(w1, (1, 2)).tolist() == [  # type: ignore[union-attr]
        [[[255], [1]]],
        [[[255], [192]]],
    ]


@pytest.mark.parametrize("weight", [0.0, 3.0, -3.0, NAN, INF, 5e-324, 1.7e308])
@pytest.mark.parametrize("m", [1, 53])
def test_constant_or_lost_weights_are_drawn_without_a_warning(
    weight: float, m: int, tmp_path: Path
) -> None:
    w1 = np.full((64, m), weight)

    assert plots.save_first_layer(tmp_path / "w.png", w1, (8, 8), title="weights") is True
    png_size(tmp_path / "w.png")


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [
        ((64, 50), ()),  # flat rows
        ((64, 50), (64,)),
        ((64, 50), (8, 9)),  # other pixels than weights
        ((50, 5), (5, 5, 2)),  # two channels are no colours
        ((64, 0), (8, 8)),  # no units
    ],
)
def test_weights_that_are_no_images_are_not_drawn(
    shape: tuple[int, int], image_shape: tuple[int, ...], tmp_path: Path
) -> None:
    drawn = plots.save_first_layer(tmp_path / "w.png", np.ones(shape), image_shape, title="none")

    assert drawn is False
    assert list(tmp_path.iterdir()) == []


def test_accuracies_are_joined_in_the_order_of_lambda_without_the_missing() -> None:
    figure = plots.figure_of_accuracy_against_lambda(
        [1e-1, 1e-5, 1e-3, 1e-4, 1e-2],
        [0.2, 0.5, 0.6, None, NAN],
        title="joint",
        best=2,
        logarithmic=True,
    )
    (axes,) = figure.axes

    assert axes.get_xscale() == "log"
    assert list(line(axes, "validation accuracy").get_xdata()) == [1e-5, 1e-3, 1e-1]
    assert list(line(axes, "validation accuracy").get_ydata()) == [0.5, 0.6, 0.2]
    star = line(axes, "best: λ = 0.001, accuracy 0.6000")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([1e-3], [0.6])
    assert "best: λ = 0.001, accuracy 0.6000" in legend_of(figure)


def test_diverged_cells_are_crosses_at_the_bottom() -> None:
    (axes,) = plots.figure_of_accuracy_against_lambda(
        [0.1, 0.2, 0.3],
        [0.5, 0.4, None],
        title="fine",
        best=0,
        logarithmic=False,
        diverged=[False, True, True],
    ).axes

    crosses = line(axes, "diverged")
    assert (axes.get_xscale(), crosses.get_marker()) == ("linear", "x")
    assert list(crosses.get_xdata()) == [0.2, 0.3]
    heights = axes.transAxes.inverted().transform(
        crosses.get_transform().transform(np.column_stack(crosses.get_data()))
    )[:, 1]
    assert heights == pytest.approx(0.03)
    assert list(line(axes, "validation accuracy").get_xdata()) == [0.1]


@pytest.mark.parametrize(
    ("lambdas", "accuracies", "best", "diverged"),
    [
        ([], [], None, []),
        ([1e-3], [0.5], 0, []),
        ([1e-3, 1e-2], [None, NAN], None, [True, True]),  # nothing but diverged cells
        ([1e-3, 1e-2], [None, 0.5], 0, [True]),  # a best cell without a value, a short list
        ([0.0, 1e-2], [0.5, 0.5], 0, []),  # no place for 0 on a logarithmic axis
        ([1e-3, 1e-2], [1.0, 1.0], 0, []),
    ],
)
def test_incomplete_studies_are_drawn_without_a_warning(
    lambdas: list[float],
    accuracies: list[float | None],
    best: int | None,
    diverged: list[bool],
    tmp_path: Path,
) -> None:
    plots.save_accuracy_against_lambda(
        tmp_path / "a.png",
        lambdas,
        accuracies,
        title="coarse",
        best=best,
        logarithmic=True,
        diverged=diverged,
    )

    assert png_size(tmp_path / "a.png") == (900, 550)


@pytest.mark.parametrize("n", [1, 10, 11, 24, 100])
def test_a_study_shows_every_cell_and_names_them(n: int) -> None:
    curves = [Curve(UPDATES, empty(), falling(start=2 + k / n)) for k in range(n)]
    labels = [f"cell {k}" for k in range(n)]
    figure = plots.figure_of_study_curves(curves, labels, title="study", cycle_ends=[1000])
    accuracy, cost = figure.axes[:2]

    assert (accuracy.get_ylabel(), cost.get_ylabel()) == ("validation accuracy", "validation cost")
    cells = lines(cost)[1:]  # after the end of the cycle
    assert [list(cell.get_ydata()) for cell in cells] == [c.validation["cost"] for c in curves]
    assert len({cell.get_color() for cell in cells}) == n
    bars = figure.axes[2:]
    names = [text.get_text() for text in bars[0].get_yticklabels()] if bars else legend_of(figure)
    assert set(names) <= {*labels, "end of a cycle"}
    assert {labels[0], labels[-1]} <= set(names)
    assert n > 10 or set(labels) <= set(names)


@pytest.mark.parametrize("n", [10, 11])
def test_long_cell_names_stay_on_the_page(n: int) -> None:
    curves = [Curve(UPDATES, empty(), falling())] * n
    labels = [f"λ = 0.00{k}123, eta_max = 0.1, n_s = 900" for k in range(n)]
    figure = plots.figure_of_study_curves(curves, labels, title="study", cycle_ends=[1000])
    figure.savefig(io.BytesIO())

    written = [text for legend in figure.legends for text in legend.get_texts()]
    written += [text for axes in figure.axes[2:] for text in axes.get_yticklabels()]
    assert len(written) == 11
    for text in written:
        assert 0 < text.get_window_extent().x0 < text.get_window_extent().x1 <= 1400
    assert figure.axes[0].get_position().width > 0.25  # and leave room for the curves


def test_a_study_without_cells_can_be_drawn(tmp_path: Path) -> None:
    plots.save_study_curves(tmp_path / "a.png", [], [], title="study")

    assert png_size(tmp_path / "a.png") == (1400, 550)


def test_a_diverged_cell_does_not_flatten_the_other_cells() -> None:
    costs = [[2.0, 1.5, 1.2], [2.1, 1.6, 1.3], [2.2, 1e9, NAN]]
    figure = plots.figure_of_study_curves([curve_of(c) for c in costs], list("abc"), title="study")

    assert figure.axes[1].get_ylim()[1] == pytest.approx(1.08 * 2.2)


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
