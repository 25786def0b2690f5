"""Which storage a destination stands for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from .._redaction import without_secrets
from .base import Storage
from .local import LocalStorage, absolute

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
_SCHEMES = ("s3", "gs", "az", "memory")


def normalized(destination: str) -> str:
    """Return a destination in its plain form: a path made absolute, a URL as it is."""
    return destination if _URL.match(destination) else absolute(destination)


def below(destination: str, folder: str) -> str:
    """Return the destination that is a folder of another."""
    if _URL.match(destination):
        return f"{destination if destination.endswith('/') else destination + '/'}{folder}"
    return os.path.join(destination, folder)


def is_local(destination: str) -> bool:
    """Tell whether a destination is a directory."""
    return _URL.match(destination) is None


def make_storage(
    destination: str, options: Mapping[str, Any], set_name: str, *, fsync: bool, unconditional: bool
) -> Storage:
    """Return the storage for a destination.

    :param destination: a path or a URL.
    :param options: for the client of an object store.
    :param set_name: of the upload set, for messages.
    :param fsync: whether a file in a directory is to survive a loss of power once it is saved.
    :param unconditional: whether to take an object store that cannot refuse to replace an object.
    :raises ValueError: the URL or an option makes no sense.
    :raises ImportError: obstore is not installed.
    """
    url = _URL.match(destination)
    if url is None:
        return LocalStorage(destination, fsync=fsync)
    if url["scheme"].lower() not in _SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        raise ValueError(
            f"The upload set {set_name!r} cannot be kept in {without_secrets(destination)}: give it the path "
            f"of a directory, or a URL that begins with one of {known}"
        )
    try:
        # Only here: an app without object storage needs no obstore.
        from ._objects import ObjectStorage
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise ImportError(
            f"The upload set {set_name!r} is kept in {without_secrets(destination)}, which needs obstore: "
            "install quart-uploads[objects]",
            name="obstore",
        ) from error
    return ObjectStorage(destination, options, set_name, unconditional=unconditional)
