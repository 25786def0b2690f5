"""Where uploads are kept: staged first, then published under a name that nobody else has."""

from .base import StagedUpload, Storage
from .local import LocalStorage
from .spool import Spool
from .staging import StagedFile
from .stored import FileInfo, StoredFile

__all__ = ["FileInfo", "LocalStorage", "Spool", "StagedFile", "StagedUpload", "Storage", "StoredFile"]
