"""What a search says of its budget."""

from dataclasses import replace

import pytest

from hpo.experiment.records import StoredStudy
from hpo.search import generations
from hpo.views import report
from tests.hpo.search.made_up import accuracy, results, searched
from tests.hpo.small_search import QUICK


@pytest.mark.parametrize("finalists", [0, 3])
def test_a_search_that_leaves_more_than_3_percent_says_why(finalists: int) -> None:
    n_told = 0
    for budget in range(1500, 3500, 100):
        *_, last = searched(replace(QUICK, budget=budget, finalists=finalists), accuracy)
        found = results(last, accuracy)
        left = budget - generations.spent(last, found)

        said = report.table(report.StudyReport(StoredStudy("u", "mine", last), found, None, 0))

        raced = last.search is not None and last.search.finalists
        more = "round of the finalists" if raced else "cell that was proposed"
        why = f"\n{left:,} updates are left: each further {more} would cost more."
        assert said.endswith(why) == (left > 0.03 * budget)
        assert "updates are left" not in said or left > 0.03 * budget
        n_told += left > 0.03 * budget
    assert 0 < n_told < 20


def test_a_search_that_is_not_over_says_nothing_of_it() -> None:
    first = searched(QUICK, accuracy)[1]
    study = report.StudyReport(StoredStudy("u", "mine", first), results(first, accuracy), None, 0)

    assert "updates are left" not in report.table(study)
