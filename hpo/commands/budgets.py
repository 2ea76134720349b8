"""Budgets in epochs and in minutes, which are turned into updates once, before a study is stored."""

import math
from collections.abc import Callable
from dataclasses import replace

from hpo.commands import speed
from hpo.commands.request import Order
from hpo.database.onlooker import looking
from hpo.errors import BudgetChanged
from hpo.experiment.budgets import enlarged, given, largest
from hpo.experiment.experiment import Experiment
from hpo.experiment.resolution import resolve
from hpo.mirror import study as studies
from hpo.training.cost import worth
from hpo.training.trainer import facts

MINUTE = 60.0  #: seconds
USUAL = 300_000  #: updates, the budget of a search that says none; of `joint` on all data before
DEFAULTS = ("tpe", "curves")  #: samplers of a space that names none: before, and now
HELD_OUT = ("joint", 5_000, 0.2)  #: a study that ships with hpo, with its images before, and now
FEW = 1_000_000  #: updates by which it is guessed how many workers there will be


def in_updates(
    order: Order, url: str, n_workers: int | None, notify: Callable[[str], None]
) -> Order:
    """Return an order whose budget is in updates, measuring how long they take if need be.

    Minutes that the stored study was already given are what they were then, so that the same
    command goes on with it; more of them add what is measured now.

    Args:
        n_workers: Processes that will train, or None for as many as are worth it.

    Raises:
        HpoError: There are no such images, or the database cannot be read.
    """
    amount, definition = order.amount, order.definition
    if amount is None or definition.space is None:
        return order
    stored = _stored(order, url)
    if stored is not None:  # whose images, and so epochs, may be those of before
        definition = compared(order, stored).definition
    experiment = resolve(definition, facts(order.dataset, definition))
    if amount.unit == "epochs":
        return order.with_budget(max(1, int(amount.number * experiment.per_epoch)))
    before, minutes = 0, 0.0
    if stored is not None and stored.search is not None:
        before, minutes = largest(stored), stored.search.minutes
    if minutes == amount.number:
        return order.with_budget(before)
    n = n_workers or worth(experiment, FEW)
    rate = speed.rate(experiment, order.dataset, n)
    if not 0 < minutes < amount.number:
        before, minutes = 0, 0.0
    budget = before + max(1, int((amount.number - minutes) * MINUTE * rate))
    notify(
        f"A budget of {amount.in_words()} is one of {budget:,} updates: {speed.of_workers(n)} would make "
        f"about {rate:,.0f} of them a second here."
    )
    return order.with_budget(budget)


def _stored(order: Order, url: str) -> Experiment | None:
    """Return the experiment of that name, if there is one."""
    with looking(url, lambda _: None) as storage:
        study = studies.find(storage, order.study_name) if storage else None
        return study.experiment if study else None


def settled(order: Order, name: str, stored: Experiment) -> Order:
    """Return the order with the budget that the stored study will have, which never gets smaller.

    Raises:
        BudgetChanged: It would get smaller, or nobody has said that it may grow.
    """
    space = order.definition.space
    if space is None or stored.search is None:
        return order
    present, asked = largest(stored), space.budget
    if order.amount is not None and order.amount.minutes == stored.search.minutes > 0:
        asked = present  # measured by another run at the same time
    if order.is_budget_said and asked < present:
        raise BudgetChanged(name, present, asked, is_said=True)
    if not order.is_budget_said:
        is_older = False
        if order.budget_epochs is not None:  # which were those of the images it has
            is_older = present == USUAL
            asked = max(1, math.floor(order.budget_epochs * stored.per_epoch))
        if asked not in given(stored) and not is_older:
            raise BudgetChanged(name, present, asked, is_said=False)
        asked = present
    return order.with_budget(asked)


def grown(order: Order, name: str, stored: Experiment) -> Experiment:
    """Return a stored search with the budget that it will have."""
    space = settled(order, name, stored).definition.space
    return stored if space is None else enlarged(stored, space.budget)


def compared(order: Order, stored: Experiment) -> Order:
    """Return the order with what is no difference between it and a stored study.

    That is its budget and, where nobody asks for another one, what was the default when it was
    stored: the sampler, and the validation images of `joint`.
    """
    space, asked = stored.definition.space, order.definition.space
    if space is None or asked is None:
        return order
    order = order.with_budget(space.budget)
    if not order.is_sampler_said and (space.sampler, asked.sampler) == DEFAULTS:
        order = replace(order, definition=order.definition.changed(sampler=space.sampler))
    before, now = stored.definition.n_validation, order.definition.n_validation
    if not order.is_in_hand and (order.definition.name, before, now) == HELD_OUT:
        order = replace(order, definition=order.definition.changed(n_validation=before))
    return order


def measured(experiment: Experiment, minutes: float) -> Experiment:
    """Return a new experiment that knows the minutes which its budget was reckoned from."""
    search = experiment.search
    if search is None or not minutes:
        return experiment
    return replace(experiment, search=replace(search, minutes=minutes))
