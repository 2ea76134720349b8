"""What a user asks for in one piece: which study, on which images, and what shall differ from its file."""

from dataclasses import dataclass
from pathlib import Path

from hpo.definition import lookup
from hpo.definition.study import StudyDefinition


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

    @property
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
