"""What a set asks of its framework, and an operation of its set: an app may override each of the set's methods."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any, Protocol

from blinker import NamedSignal

from .._config import UploadConfiguration


class Framework(Protocol):
    """The framework of a flavour."""

    def current_app(self) -> Any:
        """Return the current app.

        :raises RuntimeError: there is none.
        """
        ...

    def served_url(self, set_name: str, stored_name: str) -> str:
        """Return the URL by which the app serves a file.

        :raises BuildError: it serves none.
        """
        ...

    def send(self, signal: NamedSignal, **values: Any) -> Any:
        """Send a signal for the current app, if there is one; awaitable in the async flavour."""
        ...


class SetHooks(Protocol):
    """What an operation asks of an upload set. An app may override the methods."""

    name: str
    extensions: Container[str] | Iterable[str]

    @property
    def config(self) -> UploadConfiguration:
        """The configuration that the current app has for the set."""
        ...

    def extension_allowed(self, ext: str) -> bool:
        """Return True if an extension is allowed."""
        ...

    def file_allowed(self, storage: Any, basename: str | None = None) -> bool:
        """Return True if a file may be saved under a name."""
        ...

    def get_basename(self, filename: str) -> str:
        """Return the name to store a file under."""
        ...

    def resolve_conflict(self, target_folder: str, basename: str) -> Any:
        """Return another name for a file whose name is taken."""
        ...
