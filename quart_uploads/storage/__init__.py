"""Where uploads are kept: staged first, then published under a name that nobody else has."""

from ..names import StoredName
from .base import StagedUpload, Storage, not_found
from .local import LocalStorage
from .spool import Spool
from .staging import StagedFile
from .stored import FileInfo, StoredFile

__all__ = [
    "FileInfo",
    "LocalStorage",
    "Spool",
    "StagedFile",
    "StagedUpload",
    "Storage",
    "StoredFile",
    "StoredName",
    "not_found",
]
