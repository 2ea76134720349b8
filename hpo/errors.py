"""Everything that a user can do wrong, or meet, with one sentence for each.

The command line prints the message on stderr and exits with status 1. A message says what was
expected, what came, and what to do.
"""

import errno
import os
from pathlib import Path

#: Errors of the operating system that only come of writing,
OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
#: and what may help against each error.
ADVICE = {
    errno.ENOSPC: "Free some space or choose another place.",
    errno.EDQUOT: "Free some of your share of the disk or choose another place.",
    errno.EFBIG: "Raise the limit for the size of files, or choose another place.",
    errno.EACCES: "Ask for permission or choose another place.",
    errno.EPERM: "Ask for permission or choose another place.",
    errno.EROFS: "Nothing can be written there: choose another place.",
    errno.ENOENT: "Check the path.",
    errno.EEXIST: "Check the path: something else stands there.",
    errno.ENOTDIR: "Check the path: a file stands where a folder should be.",
    errno.EISDIR: "Check the path: a folder stands where a file should be.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "Mend the links, which lead in a circle.",
    errno.EMFILE: "Raise the limit for open files (ulimit -n).",
    errno.ENFILE: "End other programs: the machine has too many open files.",
    errno.EAGAIN: "End other programs, or try fewer --workers.",
    errno.ENOMEM: "Close other programs, or try fewer --workers.",
    errno.EIO: "Check the disk, and copy what is on it.",
    errno.ESTALE: "Mount the folder again.",
    errno.EBUSY: "End the program that holds it.",
}


class HpoError(Exception):
    """Base of every error that is the user's business and not a fault of the program.

    >>> import hpo
    >>> try:
    ...     hpo.Values(())
    ... except hpo.HpoError as error:
    ...     print(error)
    A grid needs at least one lambda.
    """


def reason_of(error: BaseException) -> str:
    """Return in one short line what an error says, for a sentence about something else."""
    text = " ".join(str(error).split())
    if not isinstance(error, HpoError):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= 300 else text[:297] + "..."


def is_of_one_study(error: Exception) -> bool:
    """Tell whether an error says nothing about other studies: not the database's, nor a stop."""
    if isinstance(error, DamagedRow):
        return True
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    is_interruption = type(error).__name__ == "Interrupted"
    return not (isinstance(error, StorageError) or is_interruption or "sqlalchemy" in modules)


class DataUnavailable(HpoError):
    """The images that were asked for are not on this machine and could not be fetched."""


class DownloadFailed(DataUnavailable):
    """The archive could not be fetched, or what arrived is not the published file."""


class DataChanged(HpoError):
    """The images are not those that the study is about."""

    def __init__(self, name: str, expected: str, found: str | None) -> None:
        told = "they were written to" if found is None else f"these have {found[:12]}..."
        super().__init__(
            f"The images of {name} were changed while they were used: the study is about those with "
            f"the fingerprint {expected[:12]}..., {told}. Nothing of the others was stored. Bring the "
            "old ones back and run the same command to go on."
        )


class MissingPackage(HpoError):
    """A library that only some need is not installed."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(
            f"{what} needs {package}, which is not installed. pip install {package} adds it."
        )


class MissingExtra(HpoError):
    """What an extra of ours installs is not there."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs what the extra {extra} installs: `make install EXTRAS={extra}` in our "
            f"folder, or pip install 'hpo-stacks[{extra}]', adds it."
        )


class PortTaken(HpoError):
    """A page cannot be served where it was asked for."""

    def __init__(self, port: int, why: str) -> None:
        super().__init__(
            f"Port {port} of this machine cannot be used ({why}). Name another one, for example "
            "--port 8081, or let --port 0 find a free one."
        )


class HostUnknown(HpoError):
    """Pages cannot be served at an address that is not this machine's."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"--host {host!r} is no address of this machine. Name one that is, for example 127.0.0.1, or "
            "0.0.0.0 for all that it has."
        )


class InvalidDefinition(HpoError):
    """A study definition does not describe a study."""


class DefinitionNotFound(HpoError):
    """No study definition under the name, dotted path or file that was given."""


class StorageError(HpoError):
    """The database cannot be opened, read or written."""


class DamagedRow(StorageError):
    """A row of the database is not what was written, or cannot be understood."""

    def __init__(self, what: str, fault: str) -> None:
        self.what = what
        self.fault = fault
        super().__init__(
            f"{what} is damaged in the database: {fault}. `hpo doctor` says what can be done about it."
        )


class StudyUnreadable(DamagedRow):
    """The row of a study is damaged, or says what only a newer hpo understands."""

    def __init__(self, name: str, reason: str) -> None:
        self.what, self.fault = name, reason
        StorageError.__init__(
            self,
            f"The study {name!r} cannot be read: {reason.rstrip('.')}. Restore a copy of the database, "
            f"upgrade hpo if a newer one wrote it, or remove it with `hpo delete {name}`.",
        )


class NotWrittenYet(StorageError):
    """A database in which hpo has not written anything yet."""


class StudyNotFound(HpoError):
    """No study of this name is in the storage."""

    def __init__(self, name: str, known: list[str]) -> None:
        listing = ", ".join(sorted(known)) or "none yet"
        super().__init__(
            f"No study named {name!r} in this storage (it holds: {listing}). "
            "Create it with `hpo run`, or check --storage."
        )


class StudyDeleted(HpoError):
    """Somebody deleted a study while it was being worked on, or watched."""

    def __init__(self, name: str, meanwhile: str = "worked on") -> None:
        super().__init__(f"The study {name!r} was deleted while it was being {meanwhile}.")


class ForeignStudy(HpoError):
    """A study of this name exists, but hpo did not make it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The study {name!r} in this storage was not made by hpo, and is left untouched. "
            "Give ours another name with --name, or use another --storage."
        )


class CopiedStudy(HpoError):
    """A study of this name exists, but it is another tool's copy of one of ours."""

    def __init__(self, name: str, original: str) -> None:
        super().__init__(
            f"The study {name!r} in this storage is a copy of {original!r} that another tool made, and "
            "is left untouched. Give ours another name with --name, or delete the copy with the tool "
            "that made it."
        )


class DefinitionChanged(HpoError):
    """A stored study differs from what the command asks for."""

    def __init__(self, name: str, differences: list[str]) -> None:
        lines = "\n".join(f"  {line}" for line in differences)
        super().__init__(
            f"The stored study {name!r} is a different experiment; nothing was run:\n{lines}\n"
            "Run it as it was stored, give the new one a name with --name, "
            f"or remove the old one with `hpo delete {name}`."
        )


class BudgetChanged(HpoError):
    """A stored search has another budget than the one that is asked for, and does not grow to it."""

    def __init__(self, name: str, stored: int, asked: int, *, is_said: bool) -> None:
        if is_said:
            told = (
                f"{name!r} has a budget of {stored:,} updates, asked for are {asked:,}, and a budget "
                f"never gets smaller. Go on with --budget {stored}"
            )
        else:
            told = (
                f"{name!r} has a budget of {stored:,} updates, its definition one of {asked:,}. Say "
                f"--budget {stored} to go on with what is stored"
            )
            if asked > stored:
                told += f", --budget {asked} to let it grow"
        super().__init__(f"{told}, or give a new study a name with --name.")


class ParentUnfinished(HpoError):
    """A study needs the finished result of another one."""


class OutputError(HpoError):
    """A file or folder for results cannot be written."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"Cannot write {path}: {reason(error)}")


class SystemFault(HpoError):
    """The operating system refuses something: the file is told if it is known, and what may help."""

    def __init__(self, error: OSError) -> None:
        files = [
            os.fsdecode(f) for f in (error.filename, error.filename2) if isinstance(f, str | bytes)
        ]
        what = "Cannot write" if error.errno in OF_WRITING else "Cannot use"
        about = f"{what} {' or '.join(files)}" if files else "The operating system reports"
        super().__init__(f"{about}: {reason(error)}")


def reason(error: OSError) -> str:
    """Return what an error of the operating system says, with advice that fits it."""
    told = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    advice = ADVICE.get(error.errno or 0)
    return f"{told}. {advice}" if advice else f"{told}."


class InvalidWeights(HpoError):
    """A file is not one with the weights of a trained network, or is damaged."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(
            f"{path} {fault}. Expected weights.npz or weights.safetensors as `hpo run final` writes them."
        )


class InvalidImage(HpoError):
    """An image cannot be read, or is not one that the network can classify."""


class NoResult(HpoError):
    """A study has nothing yet of what was asked for."""


class WorkersDie(HpoError):
    """Worker processes are killed again and again before they get anything done."""

    def __init__(self, study: str, status: int | None) -> None:
        super().__init__(
            f"The workers of {study!r} keep dying (last exit status {status}); nothing is lost. "
            "Is there enough memory? Try fewer --workers, then run the same command again."
        )


class CellsFailed(HpoError):
    """Some cells fail in training, again and again."""

    def __init__(self, study: str, reasons: list[str]) -> None:
        lines = "\n".join(f"  {reason}" for reason in reasons)
        super().__init__(
            f"{len(reasons)} cells of {study!r} failed again and again:\n{lines}\n"
            f"Once the reason is gone, `hpo retry {study}` gives them another chance."
        )
