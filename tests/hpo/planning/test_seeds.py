"""More seeds for a search that is over: who gets them, what they cost, and how that is said."""

import re
from dataclasses import replace

import pytest

from hpo.commands import estimate, running
from hpo.commands.request import Order
from hpo.database import outcomes
from hpo.database.storage import Storage
from hpo.errors import DefinitionChanged
from hpo.mirror import study as studies
from hpo.planning import seeds
from hpo.views import report
from model.data import digits
from tests.hpo.search.made_up import accuracy, cut_results, results, searched
from tests.hpo.small_search import HALVED, QUICK, RunSearch, Watcher

CUT = replace(HALVED, space=replace(HALVED.space, sampler="random", budget=4000, finalists=0))


def test_the_finalists_of_a_race_get_them() -> None:
    *_, last = searched(QUICK, accuracy)
    wanted = last.search.replicates + 2

    grown = seeds.seeded("mine", last, results(last, accuracy), wanted)

    assert grown.search.finalists == last.search.finalists
    assert [grown.replicates_of(cell) for cell in grown.search.finalists] == [wanted] * 3
    a_round = sum(last.recipe(cell).n_updates for cell in last.search.finalists)
    assert seeds.price(last, grown) == 2 * a_round


def test_without_a_race_the_best_four_get_them() -> None:
    *_, last = searched(CUT.space, accuracy, definition=CUT)
    found = cut_results(last, accuracy)

    grown = seeds.seeded("mine", last, found, 3)

    whole = {r.slot.cell: r.value for r in found if r.outcome == "complete"}
    best = sorted(whole, key=lambda cell: (-whole[cell], cell))[:4]
    assert grown.search.finalists == tuple(sorted(best))
    assert seeds.seeded("mine", grown, found, 2) == grown  # never fewer


def test_a_search_that_is_not_over_gets_none() -> None:
    early = searched(QUICK, accuracy)[1]

    with pytest.raises(DefinitionChanged, match="replicates: stored 1, asked for 2"):
        seeds.seeded("mine", early, [], 2)


@pytest.mark.long
def test_a_dry_run_says_what_they_cost_and_so_does_the_advice_of_best(
    storage: Storage, run_search: RunSearch
) -> None:
    study = run_search(CUT).study
    before = storage.read(lambda c: outcomes.results_of(c, study.uuid))
    stored = storage.read(lambda c: studies.stored(c, "mine-digits"))
    best = storage.read(lambda c: report.best(report.read(c, stored), report.judged(c, stored)))
    order = Order(replace(CUT, replicates=2), digits())

    told = estimate.describe(order, storage.url, lambda _: None, 1)
    outcome = running.run(order, storage, Watcher(), lambda: False)

    after = storage.read(lambda c: outcomes.results_of(c, study.uuid))
    made = sum(r.n_updates for r in after) - sum(r.n_updates for r in before)
    assert 0 < made < 4 * 400
    assert f"updates: {made:,} to make" in told
    assert re.search(r"^seeds:   for cells [\d, ]+, 2 each$", told, re.MULTILINE)
    advice = (
        "`hpo run mine --data digits --sampler random --budget 4000 --replicates 2` trains cells"
    )
    assert advice in best
    assert f" with more seeds, {made:,} updates" in best
    assert outcome.after.is_complete
    again = running.run(order, storage, Watcher(), lambda: False)
    assert again.before.is_complete


def test_advice_of_an_unfinished_search_repeats_its_options(
    storage: Storage, run_search: RunSearch
) -> None:
    run_search(replace(CUT, seed=3, pruner="halving:eta=3"), Watcher(stop_after=1), name="other")
    stored = storage.read(lambda c: studies.stored(c, "other"))

    with pytest.raises(report.NoResult) as told:
        storage.read(lambda c: report.best(report.read(c, stored)))

    assert (
        "Run `hpo run mine --data digits --name other --seed 3 --pruner halving:eta=3 --sampler random "
        "--budget 4000`."
    ) in str(told.value)
