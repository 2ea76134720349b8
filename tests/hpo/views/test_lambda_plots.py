"""The picture of accuracy against lambda shows what `hpo best` says, and joins nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo.views.lambda_plots import Grid, figure_of_lambda
from tests.hpo.views.pictures import legend_of, line, lines, png_size, save

#: Cell 1 is cut after the first cycle, cell 3 after the second, cell 4 diverged.
COARSE = Grid(
    name="coarse",
    lambdas=(1e-1, 1e-5, 1e-3, 1e-4, 1e-2),
    seeds={0: [0.30, 0.34], 2: [0.62, 0.60]},
    means={0: 0.32, 2: 0.61},
    intervals={0: (0.28, 0.36), 2: (0.57, 0.65)},
    training={0: 0.35, 2: 0.70},
    cut={1: (1, 0.5), 3: (2, 0.55)},
    diverged=[4],
    best=2,
    contenders=[2],
    length="200 updates",
)
FINE = replace(
    COARSE, name="fine", lambdas=(2e-4, 5e-4, 1e-3, 2e-3, 4e-3), contenders=[0, 2], diverged=[]
)
ENDED = "trained to the end (200 updates), mean of 2 seeds"
CUT = "cut after the cycle of that number, at its value there"


def panels(*grids: Grid) -> list[Any]:
    return list(figure_of_lambda(grids, title="coarse\ndigits", training="(running mean)").axes)


def test_only_cells_that_were_trained_to_the_end_are_joined_in_the_order_of_lambda() -> None:
    joined = [
        list(one.get_xdata()) for one in lines(panels(COARSE)[0]) if one.get_linestyle() != "None"
    ]

    assert joined[0] == [1e-3, 1e-1]
    assert not {1e-5, 1e-4} & {x for xs in joined for x in xs}
    assert list(line(panels(COARSE)[0], ENDED).get_ydata()) == [0.61, 0.32]


def test_cut_cells_are_open_marks_at_the_value_of_their_own_cycle() -> None:
    axes = panels(COARSE)[0]
    marks = line(axes, CUT)

    assert (marks.get_linestyle(), marks.get_markerfacecolor()) == ("None", "none")
    assert list(zip(*marks.get_data(), strict=True)) == [(1e-5, 0.5), (1e-4, 0.55)]
    assert {(a.get_text(), a.xy) for a in axes.texts} == {("1", (1e-5, 0.5)), ("2", (1e-4, 0.55))}


def test_every_seed_is_a_dot_and_every_mean_has_its_interval() -> None:
    axes = panels(COARSE)[0]

    dots = set(zip(*line(axes, "one seed").get_data(), strict=True))
    assert dots == {(1e-1, 0.30), (1e-1, 0.34), (1e-3, 0.62), (1e-3, 0.60)}
    (bars,) = axes.containers
    ends = [segment[:, 1].tolist() for segment in bars.lines[2][0].get_segments()]
    assert ends == [pytest.approx([0.57, 0.65]), pytest.approx([0.28, 0.36])]


def test_one_seed_is_drawn_once_and_named_as_no_mean() -> None:
    axes = panels(replace(COARSE, seeds={0: [0.32], 2: [0.61]}))[0]

    assert line(axes, "trained to the end (200 updates)") is not None
    assert "one seed" not in [one.get_label() for one in lines(axes)]


def test_the_star_stands_on_the_mean_of_the_best_cell() -> None:
    star = line(panels(COARSE)[0], "best: λ = 0.001, accuracy 0.6100")

    assert (list(star.get_xdata()), list(star.get_ydata())) == ([1e-3], [0.61])


def test_what_cannot_be_told_from_the_best_is_shaded_and_nothing_else() -> None:
    def shaded(grid: Grid) -> list[tuple[float, float]]:
        return [(p.get_x(), p.get_x() + p.get_width()) for p in panels(grid)[0].patches]

    both = shaded(replace(COARSE, contenders=[2, 3]))
    assert shaded(COARSE) == []  # the best alone
    middles = [10**-4.5, 10**-3.5, 10**-2.5]
    assert both == [pytest.approx((middles[0], middles[2]))]  # neighbours in one piece
    apart = shaded(replace(COARSE, contenders=[0, 2]))
    assert [x for pair in apart for x in pair] == pytest.approx(
        [10**-3.5, 10**-2.5, 10**-1.5, 10**-0.5]
    )


def test_training_accuracy_stands_beside_it_on_the_same_lambdas() -> None:
    validation, training = panels(COARSE)

    assert validation.get_ylabel() == "validation accuracy"
    assert training.get_ylabel() == "training accuracy (running mean)"
    (found,) = lines(training)
    assert list(zip(*found.get_data(), strict=True)) == [(1e-3, 0.70), (1e-1, 0.35)]
    assert validation.get_xlim() == training.get_xlim()
    assert len(panels(replace(COARSE, training={}))) == 1


def test_coarse_and_fine_in_one_picture_are_named_and_told_apart_without_colour() -> None:
    axes = panels(COARSE, FINE)[0]
    one, two = (line(axes, f"{name}: {ENDED}") for name in ("coarse", "fine"))

    assert list(two.get_xdata()) == [2e-4, 1e-3]
    assert one.get_color() != two.get_color()
    assert (one.get_linestyle(), one.get_marker()) != (two.get_linestyle(), two.get_marker())
    names = legend_of(figure_of_lambda([COARSE, FINE], title="fine"))
    assert "cannot be told from the best of fine at 95 %" in names


def test_diverged_cells_are_crosses_at_the_bottom_of_the_page() -> None:
    axes = panels(COARSE)[0]
    crosses = line(axes, "diverged")
    inches = crosses.get_transform().transform(np.column_stack(crosses.get_data()))

    assert list(crosses.get_xdata()) == [1e-2]
    assert axes.transAxes.inverted().transform(inches)[:, 1] == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("lambdas", "scale"), [((1e-5, 1e-1), "log"), ((0.0, 1e-2), "linear"), ((1e-3, 3e-3), "linear")]
)
def test_wide_grids_are_logarithmic_and_others_and_zero_are_not(
    lambdas: tuple[float, ...], scale: str
) -> None:
    grid = Grid(name="two", lambdas=lambdas, seeds={}, means={0: 0.5, 1: 0.4})

    assert panels(grid)[0].get_xscale() == scale


@pytest.mark.parametrize("name", ["$x_{", "<script>", "a\x1b[31m\nb", "n" * 10_000, "=cmd()"])
def test_hostile_names_are_written_as_they_are_and_stay_on_the_page(
    name: str, tmp_path: Path
) -> None:
    grids = [replace(COARSE, name=name), FINE]
    figure = figure_of_lambda(grids, title=f"{name}: accuracy\ndigits")

    assert save(tmp_path / "a.png", figure_of_lambda, grids, title=f"{name}: accuracy\ndigits")
    assert png_size(tmp_path / "a.png") == (1350, 580)
    assert figure._suptitle is not None  # matplotlib gives it no public name
    assert max(map(len, figure._suptitle.get_text().split("\n"))) < 120
    assert all(len(text) < 120 for text in legend_of(figure))


def test_a_study_of_which_nothing_is_done_is_drawn() -> None:
    empty = Grid(name="none", lambdas=(1e-3, 1e-2), seeds={}, means={}, diverged=[0, 1])

    assert list(line(panels(empty)[0], "diverged").get_xdata()) == [1e-3, 1e-2]


def test_of_thousands_of_cells_a_picture_has_few_pieces() -> None:
    n = 5000
    many = Grid(
        name="many",
        lambdas=[1e-5 * 1.01**k for k in range(n)],
        seeds={k: [0.5] for k in range(n)},
        means=dict.fromkeys(range(0, n, 2), 0.5),
        intervals=dict.fromkeys(range(0, n, 50), (0.4, 0.6)),
        cut=dict.fromkeys(range(1, n, 2), (1, 0.3)),
        best=0,
        contenders=range(n),
    )
    (axes,) = panels(many)

    assert len(axes.patches) == 1
    assert not axes.texts
    assert len(axes.lines) < 10
    assert "95 % interval, for other images only, of 100 cells" in [
        one.get_label() for one in axes.containers
    ]
