"""Which cells share a stack."""

from tests.hpo.small_search import RunSearch, Watcher


def test_only_networks_of_one_width_with_the_same_mini_batches_share_a_stack(
    run_search: RunSearch,
) -> None:
    watcher = Watcher()
    experiment = run_search(watcher=watcher).study.experiment

    stacks = [[experiment.recipe(slot.cell) for slot in stack] for stack in watcher.stacks]
    assert max(map(len, stacks)) > 1
    for recipes in stacks:
        assert len({recipe.alike for recipe in recipes}) == 1
    together = [recipes for recipes in stacks if len({recipe.n_s for recipe in recipes}) > 1]
    assert together  # other lambdas, rates and lengths do


def test_later_generations_share_stacks_after_an_interruption(run_search: RunSearch) -> None:
    run_search(watcher=Watcher(70))
    watcher = Watcher()

    run_search(watcher=watcher)

    assert max(map(len, watcher.stacks)) > 1
