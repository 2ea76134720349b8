r"""Text from databases, files and users, made safe for a terminal.

Names and reasons may hold escape sequences, marks that turn the direction of text, or characters
that cannot be seen or encoded. What cannot be printed is shown as Python writes it: ``\x1b``.
"""


def printable(text: object) -> str:
    r"""Return one value on one line, with whatever is not printable escaped.

    >>> print(printable("a\x1b[31m\u202eb\nc"))
    a\x1b[31m\u202eb\nc
    """
    told = str(text)
    return told if told.isprintable() else "".join(map(_shown, told))


def printable_lines(text: str) -> str:
    r"""Return a text of lines and tabs with whatever else is not printable escaped.

    >>> print(printable_lines("a\tb\nc\r\x07"))
    a	b
    c\r\x07
    """
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" else _shown(c) for c in text)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
