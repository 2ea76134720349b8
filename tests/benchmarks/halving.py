"""What halving after the first cycle costs, and whether `hpo best` says what it risked.

Networks of the fitted generator are compared after their first cycle, and those that go on have their
truth after the second.
"""

import numpy as np
from latent import Population, Search
from real_bits import N_CELLS, N_CYCLES, kept, part

from hpo.judging import comparisons, cuts
from hpo.judging.statistics import layout_of
from hpo.search.generations import n_kept

FEW = 0.001
KINDS = ("8 lambdas", "8 lambdas, close", "8 cells, drawn, deviation 1")
CONFIDENCES = (0, 0.5, 0.8, 0.9, 0.95)


def population(kind: str, rng: np.random.Generator) -> Population:
    """Return cells after the first cycle and, after them, the same cells after the second."""
    found = kept().population
    if kind == KINDS[0]:
        return found
    near = np.arange(N_CELLS) % 5  # small lambdas, three of them twice, with seeds of their own
    both = part(found, np.concatenate((near, N_CELLS + near)))
    same = np.where(both.same_seed > 0.9999, 0.96, both.same_seed)
    within = np.kron(np.ones((N_CYCLES, N_CYCLES)), np.eye(N_CELLS)) == 1
    same[within] = both.same_seed[within]
    if kind == KINDS[1]:
        return Population(both.accuracies, same, both.other_seed)
    early, late = 0.01 * rng.multivariate_normal((0, 0), ((1, 0.62), (0.62, 1)), N_CELLS).T
    return Population(0.43 + np.concatenate((early, late)), same, both.other_seed)


def row(kind: str, confidence: float, n_replicates: int, n: int, seed: int) -> str:
    """Return what came of searches that are halved so."""
    rng = np.random.default_rng(seed)
    n_on, kept_there, kept_end, lost, told_there, told_end, n_told = [], [], [], [], [], [], []
    for _ in range(n):
        cells = population(kind, rng)
        bits = Search(cells, n_replicates, FEW, 0.0).hits(rng)[:N_CELLS]
        there, end = cells.accuracies[:N_CELLS], cells.accuracies[N_CELLS:]
        layout = layout_of(bits)
        ranked = np.argsort(-layout.means, kind="stable").tolist()
        on = set(ranked[: n_kept(N_CELLS, 2)])
        if confidence:
            compared = {cell: list(bits[cell]) for cell in range(N_CELLS)}
            least = ranked[n_kept(N_CELLS, 2) - 1]
            on = set(range(N_CELLS)) - (cuts.surely_behind(compared, least, confidence) - on)
        named = set(comparisons.contenders(layout)) - on
        n_on.append(len(on))
        kept_there.append(int(there.argmax()) in on)
        kept_end.append(int(end.argmax()) in on)
        lost.append(end.max() - max(end[cell] for cell in on))
        told_there.append(int(there.argmax()) in on | named)
        told_end.append(int(end.argmax()) in on | named)
        n_told.append(len(named))
    saved = (N_CELLS - np.mean(n_on)) / N_CELLS / N_CYCLES
    return (
        f"| {kind} | {n_replicates} | {confidence or 'none'} | {np.mean(n_on):.1f} | {saved:.0%} | "
        f"{np.mean(kept_there):.1%} | {np.mean(kept_end):.1%} | {100 * np.mean(lost):.2f} | "
        f"{np.mean(n_told):.1f} | {np.mean(told_there):.1%} | {np.mean(told_end):.1%} |"
    )


def print_tables(n: int) -> None:
    """Print what halving costs."""
    print(
        "\n| cells | R | confidence | go on, of 8 | updates saved | best there goes on "
        "| best in the end goes on | points lost | cells named | best there told | best in the end told |"
    )
    print("|" + "---|" * 11)
    for kind in KINDS:
        for n_replicates in (1, 3):
            for confidence in CONFIDENCES:
                print(row(kind, confidence, n_replicates, n // 2, seed=1), flush=True)
