"""What a user asks for in one piece: which study, on which images, and what shall differ from its file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from hpo.definition import lookup
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


@dataclass(frozen=True, kw_only=True)
class Request:
    """A study as it is asked for; what is None is as the study's file says."""

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
    budget: int | None = None

    @cached_property
    def definition(self) -> StudyDefinition:
        """The definition with what was asked for.

        Raises:
            HpoError: There is none of that name, or a value is none.
        """
        definition = self.study
        if not isinstance(definition, StudyDefinition):
            definition = lookup.definition(str(definition))
        return definition.changed(
            self.protocol,
            train_metrics=self.train_metrics,
            seed=self.seed,
            pruner=self.pruner,
            replicates=self.replicates,
            sampler=self.sampler,
            budget=self.budget,
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

        definition = self.definition  # a mistake in it is told before images are read or fetched
        source = find(str(self.data))
        dataset = prepared.training(source, environ, notify)
        return Order(
            definition, dataset, source, self.name, self.parent, self.cell, environ=dict(environ)
        )


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

    @property
    def study_name(self) -> str:
        """The name of the study in the storage."""
        if self.name is not None:
            return self.name
        return study_name(self.definition, self.dataset.name)
