"""What an examination found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    >>> import hpo
    >>> hpo.Finding("A trial is missing.", is_wrong=True, remedy="hpo doctor --repair").is_open
    True
    """

    text: str
    is_wrong: bool = False
    remedy: str = ""  #: what mends it
    is_mended: bool = False
    is_note: bool = False  #: worth telling, and nothing wrong

    @property
    def is_open(self) -> bool:
        """Whether something is wrong and stays so."""
        return self.is_wrong and not self.is_mended
