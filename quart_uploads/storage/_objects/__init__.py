"""The storage for object stores. Only this package uses obstore."""

from .storage import ObjectStorage

__all__ = ["ObjectStorage"]
