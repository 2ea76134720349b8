"""Which cells are compared, and over how many replicates."""

from hpo.experiment.records import Slot
from hpo.judging import ranking
from tests.hpo.search.made_up import accuracy, results, searched
from tests.hpo.small_search import QUICK


def test_a_finalist_that_diverges_with_another_seed_is_out() -> None:
    *_, last = searched(QUICK, accuracy)
    assert last.search is not None
    first, *others = last.search.finalists

    found = results(last, lambda slot: None if slot == Slot(first, 1) else accuracy(slot))
    assert ranking.compared(found, last) == (others, last.replicates)
    late = [r for r in found if r.slot != Slot(others[0], last.replicates - 1)]
    assert ranking.compared(late, last) == (others, last.replicates - 1)  # as many as all have

    none_left = results(last, lambda slot: None if slot.replicate else accuracy(slot))
    cells, n_replicates = ranking.compared(none_left, last)
    assert n_replicates == 1
    assert not set(cells) & set(last.search.finalists)
    assert ranking.best_cell(none_left, last) in cells
