"""An ``.npz`` read with care: nothing is unpickled, and nothing unpacked before its size is known."""

import math
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray

#: Bytes that any array may have, and how many times its packed size a larger one may have.
SMALL, MOST_TIMES = 256 << 20, 100
STARTS = (b"PK\x03\x04", b"PK\x05\x06")  #: of an archive with and without members
CHUNK = 1 << 20  #: bytes read at a time
MOST_TOLD, LONGEST_TOLD = 10, 40  #: names in a sentence, and characters of each


class Damaged(Exception):
    """A file is not a sound ``.npz``; the message says why, without naming the file."""


class Archive:
    """The arrays of an open ``.npz``."""

    def __init__(self, members: zipfile.ZipFile) -> None:
        self._members = members
        endings = [name.removesuffix(".npy") for name in members.namelist() if name[-4:] == ".npy"]
        self.names = list(dict.fromkeys(endings))

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def read(self, name: str) -> NDArray[np.generic]:
        """Return an array.

        Raises:
            Damaged: It is not what its header says, too large for its file, or made of objects.
        """
        with _faults():
            member = self._members.getinfo(f"{name}.npy")
            if member.file_size > max(SMALL, MOST_TIMES * member.compress_size):
                raise Damaged(
                    f"it would unpack to {member.file_size:,} bytes from {member.compress_size:,}"
                )
            with self._members.open(member) as stream:
                shape, is_fortran, dtype = _header(stream)
                _check(shape, dtype, member.file_size - stream.tell())
                content = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
                _fill(content, stream)
        array = content.view(dtype)
        return array.reshape(shape[::-1]).T if is_fortran else array.reshape(shape)


def listed(names: Iterable[str]) -> str:
    r"""Return names of arrays for a sentence: whoever made the file chose them.

    >>> print(listed(["labels", "a\nb"]), listed([]))
    labels, 'a\nb' nothing
    """
    known = list(names)
    told = [name if name.isprintable() else ascii(name) for name in known[:MOST_TOLD]]
    told = [text if len(text) <= LONGEST_TOLD else f"{text[:LONGEST_TOLD]}..." for text in told]
    more = [f"{len(known) - MOST_TOLD:,} more"] if len(known) > MOST_TOLD else []
    return ", ".join([*told, *more]) or "nothing"


@contextmanager
def opened(file: BinaryIO) -> Iterator[Archive]:
    """Open the arrays of a file.

    Raises:
        Damaged: It is no ``.npz``.
    """
    with _faults():
        file.seek(0)
        if file.read(4) not in STARTS:
            raise Damaged("it does not begin as one")
        members = zipfile.ZipFile(file)
    with members:
        yield Archive(members)


@contextmanager
def _faults() -> Iterator[None]:
    """Turn whatever damaged files make zipfile, zlib, NumPy and the tokenizer raise into one kind."""
    try:
        yield
    except Damaged:
        raise
    except MemoryError as error:
        raise Damaged("it needs more memory than there is") from error
    except Exception as error:
        raise Damaged(str(error) or type(error).__name__) from error


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(stream)
    if version not in readers:
        raise Damaged(f"it is of version {version}")
    found: tuple[tuple[int, ...], bool, np.dtype[np.generic]] = readers[version](stream)
    return found


def _check(shape: tuple[int, ...], dtype: np.dtype[np.generic], n_bytes: int) -> None:
    """Refuse a header that asks for other memory than the array has bytes."""
    if dtype.hasobject:
        raise Damaged("it is made of Python objects")
    wanted = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or not dtype.itemsize or wanted != n_bytes:
        raise Damaged(f"{shape} of {dtype} would be {wanted:,} bytes, there are {n_bytes:,}")


def _fill(content: NDArray[np.uint8], stream: IO[bytes]) -> None:
    place = 0
    while place < len(content):
        chunk = stream.read(CHUNK)
        if not chunk:
            raise Damaged("it ends too early")
        content[place : place + len(chunk)] = np.frombuffer(chunk, np.uint8)
        place += len(chunk)
    stream.read(1)  # at its end the checksum is compared
