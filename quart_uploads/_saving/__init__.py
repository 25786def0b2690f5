"""An upload gets its name: what a set allows, and how files are saved, listed and deleted. No framework here."""

from .operations import Saving, deleting, free_basename, listing, several
from .sources import Source, Target, source_of
from .upload_set import BaseUploadSet

__all__ = [
    "BaseUploadSet",
    "Saving",
    "Source",
    "Target",
    "deleting",
    "free_basename",
    "listing",
    "several",
    "source_of",
]
