"""What a part of a form is, whoever reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from werkzeug.datastructures import Headers

from .forms import PartHead


class BasePart(ABC):
    """One part of a form that is being received.

    :param head: what the form says of it.
    """

    def __init__(self, head: PartHead) -> None:
        self.head: PartHead = head
        #: The field.
        self.name: str = head.name
        #: The name that the client gave the file; ``None`` if the part is no file.
        self.filename: str | None = head.filename
        #: The media type, with its parameters.
        self.content_type: str = head.content_type
        #: All headers of the part.
        self.headers: Headers = head.headers

    @abstractmethod
    def receive_batch(self) -> Any:
        """Return the next bytes, in pieces, about 1 MiB in all; none at the end. Awaitable in the async part."""
