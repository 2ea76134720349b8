"""What a user asks for in one piece: which study, on which images, and what shall differ from its file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from hpo.definition import amounts, lookup
from hpo.definition.amounts import Amount
from hpo.definition.study import StudyDefinition, study_name

if TYPE_CHECKING:
    from hpo.data.source import Source
    from model.data import Dataset


class Asked(TypedDict, total=False):
    """The fields of a `Request` but for its study."""

    data: str | Path
    name: str | None
    parent: str | None
    cell: int | None
    protocol: str | None
    train_metrics: str | None
    seed: int | None
    pruner: str | None
    replicates: int | None
    sampler: str | None
    budget: int | None
    budget_epochs: float | None
    budget_minutes: float | None


@dataclass(frozen=True, kw_only=True)
class Request:
    """A study as it is asked for; what is None is as the study's file says.

    >>> import hpo
    >>> hpo.Request(study="coarse", data="digits", replicates=3).definition.replicates
    3
    """

    #: A name in ``studies/``, a dotted path, a file with a ``STUDY``, or the definition itself.
    study: str | Path | StudyDefinition
    #: ``cifar10``, ``digits``, a folder or archive of CIFAR-10, or an ``.npz`` file.
    data: str | Path = "digits"
    #: Name in the storage, instead of the definition's.
    name: str | None = None
    #: Stored study to derive this one from.
    parent: str | None = None
    #: Cell of the parent to go on from, not its best one.
    cell: int | None = None
    protocol: str | None = None
    train_metrics: str | None = None
    seed: int | None = None
    pruner: str | None = None
    replicates: int | None = None
    sampler: str | None = None
    #: Updates that a search may make, all networks together, or
    budget: int | None = None
    #: epochs, each of as many updates as the data have mini-batches, or
    budget_epochs: float | None = None
    #: minutes, which are turned into updates once, by what is measured before the study is stored.
    budget_minutes: float | None = None

    @cached_property
    def definition(self) -> StudyDefinition:
        """The definition with what was asked for.

        Raises:
            HpoError: There is none of that name, or a value is none.
        """
        definition = self.study
        if not isinstance(definition, StudyDefinition):
            definition = lookup.definition(str(definition))
        self._amount(definition)
        return definition.changed(
            self.protocol,
            train_metrics=self.train_metrics,
            seed=self.seed,
            pruner=self.pruner,
            replicates=self.replicates,
            sampler=self.sampler,
            budget=self.budget,
        )

    def _amount(self, definition: StudyDefinition) -> Amount | None:
        return amounts.asked(definition, self.budget, self.budget_epochs, self.budget_minutes)

    def ordered(self, dataset: "Dataset", source: "Source | None" = None) -> "Order":
        """Return the request with its images at hand."""
        given = (self.budget, self.budget_epochs, self.budget_minutes)
        in_hand = isinstance(self.study, StudyDefinition)
        return Order(
            self.definition,
            dataset,
            source,
            self.name,
            self.parent,
            self.cell,
            amount=self._amount(self.definition),
            # That of a file is for new studies; a definition in hand is as good as said.
            is_budget_said=given != (None,) * 3 or in_hand,
            is_sampler_said=self.sampler is not None or in_hand,
            is_in_hand=in_hand,
        )

    def order(
        self,
        find: "Callable[[str], Source]",
        environ: Mapping[str, str],
        notify: Callable[[str], None],
    ) -> "Order":
        """Return the request with its images, which are fetched and prepared if need be.

        Args:
            find: Says where the images are that ``data`` names.
            environ: The environment, for HPO_CACHE.

        Raises:
            HpoError: As `definition`, or there are no such images.
        """
        from hpo.data import prepared

        _ = self.definition  # a mistake in it is told before images are read or fetched
        source = find(str(self.data))
        dataset = prepared.training(source, environ, notify)
        return replace(self.ordered(dataset, source), environ=dict(environ))


@dataclass(frozen=True)
class Order:
    """A request that can be carried out: its definition, and its images at hand."""

    definition: StudyDefinition
    dataset: "Dataset"
    #: Where other processes find the images, and where those of the test are.
    source: "Source | None" = None
    name: str | None = None
    parent: str | None = None
    cell: int | None = None
    #: The environment of the processes that look for the images, for HPO_CACHE.
    environ: Mapping[str, str] = field(default_factory=dict)
    #: The budget that was asked for, where it was not in updates.
    amount: Amount | None = None
    #: Whether somebody asked for the budget: then a stored study may grow to it.
    is_budget_said: bool = True
    #: The same in epochs of the data, where the study's file has it so.
    budget_epochs: float | None = None
    #: Whether somebody asked for the sampler: else a stored study keeps an older default.
    is_sampler_said: bool = True
    #: Whether the definition was given as an object, which is as good as all of it said.
    is_in_hand: bool = True

    def __post_init__(self) -> None:
        space = self.definition.space
        if space is not None and space.budget_epochs is not None:
            from hpo.training.trainer import facts

            n = facts(self.dataset, self.definition).n_training
            settled = replace(self.definition, space=space.settled(n // self.definition.batch_size))
            object.__setattr__(self, "definition", settled)
            object.__setattr__(self, "budget_epochs", space.budget_epochs)

    def with_budget(self, budget: int) -> "Order":
        """Return the order with a budget of so many updates."""
        return replace(self, definition=self.definition.changed(budget=budget))

    @property
    def study_name(self) -> str:
        """The name of the study in the storage."""
        if self.name is not None:
            return self.name
        return study_name(self.definition, self.dataset.name)
