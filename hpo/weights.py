"""Networks as bytes: NumPy's ``.npz`` without pickle, and the SHA-256 that guards them."""

import hashlib
import io
import zipfile
from dataclasses import fields

import numpy as np

from hpo.errors import NoResult
from model.network import Network


def pack(network: Network) -> tuple[bytes, str]:
    """Return the bytes of a network and their digest."""
    memory = io.BytesIO()
    np.savez(memory, **{f.name: getattr(network, f.name) for f in fields(Network)})
    content = memory.getvalue()
    return content, hashlib.sha256(content).hexdigest()


def unpack(content: bytes, sha256: str) -> Network:
    """Return the network in ``content``.

    Raises:
        NoResult: The bytes are not those that were stored.
    """
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NoResult("The stored weights are damaged: their SHA-256 is not the recorded one.")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return Network(**{f.name: stored[f.name] for f in fields(Network)})
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise NoResult(f"The stored weights cannot be read: {error}.") from error
