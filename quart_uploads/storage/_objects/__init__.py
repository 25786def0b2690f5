"""An object store as a storage: the only room that knows obstore."""

from .storage import ObjectStorage

__all__ = ["ObjectStorage"]
