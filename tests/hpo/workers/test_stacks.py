"""Which cells share a stack."""

from tests.hpo.small_search import RunSearch, Watcher


def test_only_networks_that_see_the_same_inputs_share_a_stack(run_search: RunSearch) -> None:
    watcher = Watcher()
    experiment = run_search(watcher=watcher).study.experiment

    assert max(map(len, watcher.stacks)) > 1
    for cells in watcher.stacks:
        assert len({experiment.recipe(cell).inputs for cell in cells}) == 1
    together = [
        cells
        for cells in watcher.stacks
        if len({experiment.recipe(cell).n_s for cell in cells}) > 1
    ]
    assert together  # other lambdas, rates and lengths do


def test_later_generations_share_stacks_after_an_interruption(run_search: RunSearch) -> None:
    run_search(watcher=Watcher(70))
    watcher = Watcher()

    run_search(watcher=watcher)

    assert max(map(len, watcher.stacks)) > 1
