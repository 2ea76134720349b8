"""One calm screen of a run: a row a cell, the best so far, the rate and the time left."""

import math
from typing import TYPE_CHECKING

from hpo.experiment.records import Outcome, State, short
from hpo.machine.printable import printable
from hpo.views.duration import in_words
from hpo.views.standing import SlotStanding, Standing

if TYPE_CHECKING:
    from rich.console import Group

MOST = 10  #: rows
BLOCKS = "▁▂▃▄▅▆▇█"
NARROW = 80  #: columns below which there is no sparkline
WIDE = 120  #: columns from which a sparkline has twice the width
ROOMY = 140  #: columns from which the whole names of several parameters have room
#: Of several parameters, where there is no room for their names.
SHORT = {
    "eta_max": "eta",
    "normalisation": "norm",
    "flip_probability": "flip",
    "batch_size": "batch",
    "n_cycles": "cycles",
    "n_s_epochs": "epochs",
    "eta_min_share": "eta_min",
}


def drawn(standing: Standing, width: int) -> "Group":
    """Return the screen of a run for a terminal of so many columns."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    names = standing.experiment.parameters
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, pad_edge=False)
    table.add_column("cell", justify="right", no_wrap=True)
    is_crowded = len(names) > 1 and width < ROOMY
    cells = shown(standing)
    called = [SHORT.get(name, name) if is_crowded else name for name in names]
    searched = _aligned([called, *(_searched(standing, cell) for cell in cells)])
    table.add_column(searched[0], ratio=1, no_wrap=True, overflow="ellipsis", min_width=9)
    table.add_column("cycle", no_wrap=True)
    table.add_column("accuracy", no_wrap=True)
    n_blocks = 0 if width < NARROW or is_crowded else 10 if width < WIDE else 20
    if n_blocks:
        table.add_column("", no_wrap=True, width=n_blocks)
    table.add_column("state", no_wrap=True, overflow="ellipsis", max_width=width // 2)
    for cell, values in zip(cells, searched[1:], strict=True):
        number, *rest, state = _row(standing, cell, n_blocks)
        state = _in_short(state) if is_crowded else state
        table.add_row(*map(Text, (number, values, *rest, state)))
    lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in summary(standing, width)]
    n_more = len(standing.experiment.cells) - len(cells)
    more = [Text(f"and {n_more} more")] if n_more > 0 else []
    return Group(table, *more, *lines)


def shown(standing: Standing) -> list[int]:
    """Return the cells that have a row, in order: those in training first, then the best."""
    n = len(standing.experiment.cells)
    chosen = sorted(range(n), key=lambda cell: _weight(standing, cell))[:MOST]
    return sorted(chosen)


def summary(standing: Standing, width: int) -> list[str]:
    """Return the lines below the rows: what is best so far, how fast it goes, what is left."""
    n = standing.n_workers
    workers = "1 worker" if n == 1 else f"{n} workers" if n else "no worker"
    done = f"{standing.name}: {standing.n_done} of {standing.experiment.n_slots} done"
    if not standing.is_complete:
        done += f", {workers}"
    best = "best so far: "
    best += best_so_far(standing, width - len(best))
    return [printable(done), best, pace(standing)]


def best_so_far(standing: Standing, width: int | None = None) -> str:
    """Return the best accuracy with its cell and as much of what is searched as has room."""
    best = standing.best
    if best is None:
        return "none yet"
    n = standing.experiment.replicates_of(best.cell)
    told = f"{best.accuracy:.4f} at cell {best.cell}"
    if not best.n_seeds:
        told = f"{best.accuracy:.4f} in training at cell {best.cell}"
    elif n > 1:
        told += f", {best.n_seeds} of {n} seeds"
    values = list(zip(standing.experiment.parameters, _searched(standing, best.cell), strict=True))
    whole = [f"{name} {value}" for name, value in values]
    brief = [f"{SHORT.get(name, name)} {value}" for name, value in values]
    fewer = [
        f"{', '.join(brief[:k])} and {len(brief) - k} more" for k in range(len(brief) - 1, 0, -1)
    ]
    for searched in (", ".join(whole), ", ".join(brief), *fewer):
        if width is None or len(told) + len(searched) + 3 <= width:
            return f"{told} ({searched})"
    return told


def pace(standing: Standing) -> str:
    """Return updates made and left, a second, and the time that they take."""
    trained, left = standing.n_trained, standing.n_left
    text = f"{trained:,} of {trained + left:,} updates"
    rate, seconds = standing.rate, standing.seconds_left
    if rate is None or seconds is None or not left:
        return text
    return f"{text}, {rate:,.0f} a second, about {in_words(seconds)} left"


def cycle_of(standing: Standing, cell: int) -> int:
    """Return the cycle of the last update that was made, from 1; it never falls."""
    in_cycle = 2 * standing.experiment.recipe(cell).n_s
    return max(1, *(-(-slot.n_updates // in_cycle) for slot in standing.of_cell(cell)))


def state_of(standing: Standing, cell: int) -> str:
    """Return in words where a cell stands."""
    own = standing.of_cell(cell)
    for slot in own:
        if slot.outcome == Outcome.PRUNED:
            value = "" if slot.value is None else f" at {slot.value:.4f}"
            return f"pruned there{value}"
        if slot.outcome == Outcome.DIVERGED:
            return "diverged"
    if all(slot.outcome == Outcome.COMPLETE for slot in own):
        return "done"
    of = f", {sum(s.outcome is not None for s in own)} of {len(own)} seeds" if own[1:] else ""
    if any(slot.state == State.RUNNING for slot in own):
        return f"training{of}"
    for slot in own:
        if slot.state == State.PAUSED:
            return f"waits at the end of cycle {_cycles(standing, cell, slot)}"
    return f"waiting{of}"


def sparkline(values: list[float], n: int) -> str:
    """Return the last ``n`` values as blocks, between the lowest and the highest of all.

    >>> sparkline([0.1, 0.2, 0.45], 5)
    '▁▃█'
    """
    values = [value for value in values if math.isfinite(value)]
    if not values or not n:
        return ""
    low, span = min(values), max(values) - min(values)
    step = max(1, -(-len(values) // n))
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round(top * (v - low) / span) if span else 0] for v in values[::-step])[
        ::-1
    ]


def _searched(standing: Standing, cell: int) -> list[str]:
    own = standing.experiment.cells[cell]
    return [short(v) if isinstance(v, float) else printable(v) for v in own.values()]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return each row as one text, in which equal things stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [" ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _in_short(state: str) -> str:
    """Return where a cell stands without the cycle and the accuracy, which have columns."""
    kind, _, seeds = state.partition(", ")
    kind = kind.replace("pruned there", "pruned").partition(" at ")[0]
    return f"{kind} {seeds.removesuffix(' seeds').replace(' of ', '/')}".rstrip()


def _row(standing: Standing, cell: int, n_blocks: int) -> list[str]:
    own = standing.of_cell(cell)
    recipe = standing.experiment.recipe(cell)
    front = max(own, key=lambda slot: (slot.outcome is None, len(slot.curve)))
    values = [slot.accuracy for slot in own if slot.accuracy is not None]
    accuracy = f"{math.fsum(values) / len(values):.4f}" if values else "-"
    row = [str(cell), f"{cycle_of(standing, cell)}/{recipe.n_cycles}", accuracy]
    if n_blocks:
        row.append(sparkline([front.curve[at] for at in sorted(front.curve)], n_blocks))
    return [*row, state_of(standing, cell)]


def _weight(standing: Standing, cell: int) -> tuple[bool, float, int]:
    own = standing.of_cell(cell)
    is_training = any(slot.state in (State.RUNNING, State.PAUSED) for slot in own)
    return not is_training, -max((slot.accuracy or 0.0) for slot in own), cell


def _cycles(standing: Standing, cell: int, slot: SlotStanding) -> int:
    return slot.n_updates // (2 * standing.experiment.recipe(cell).n_s)
