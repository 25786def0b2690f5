"""What an upload set allows and which names it gives. It decides and does no I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable
from inspect import isawaitable
from typing import Any
from urllib.parse import quote

from blinker import NamedSignal
from werkzeug.datastructures import FileStorage
from werkzeug.routing import BuildError

from .._config import Destination, UploadConfiguration, addslash, configurations_of
from .._exceptions import FileTooLarge, InvalidName, NoFileChosen, UploadNotAllowed
from .._extensions import DEFAULTS, as_container, extension, holds, lowercase_ext
from .._names import StoredName, check_basename, check_stored, clean_basename, clean_folder
from .._receiving import BasePart
from .._wording import readable_size, shown
from ..storage import Storage


class BaseUploadSet(ABC):
    """The rules that the upload sets of both flavours share."""

    def __init__(
        self,
        name: str = "files",
        extensions: Container[str] | Iterable[str] = DEFAULTS,
        default_dest: Destination | Callable[[Any], Destination | None] | None = None,
    ) -> None:
        if not name.isalnum():
            raise ValueError("Name must be alphanumeric (no underscores)")
        self.name = name
        # "" holds the empty extension, as it does for the "in" of Python.
        self.extensions: Container[str] | Iterable[str] = ("",) if extensions == "" else as_container(extensions)
        self.default_dest = default_dest
        self._config: UploadConfiguration | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def config(self) -> UploadConfiguration:
        """The configuration that the current app has for this set.

        Set ``_config`` to an :class:`UploadConfiguration` to use that one instead, with or without an app.

        :raises RuntimeError: there is no current app, or the set was not configured on it.
        """
        if self._config is not None:
            return self._config
        try:
            return configurations_of(self._current_app())[self.name]
        except KeyError:
            error = RuntimeError(
                "The application is not properly configured. Please make sure to use `configure_uploads`."
            )
            error.add_note(f"The upload set {self.name!r} has no configuration on this app.")
            raise error from None

    def extension_allowed(self, ext: str) -> bool:
        """Tell whether an extension is allowed, whatever its case.

        :param ext: the extension, without the dot.
        """
        config = self.config
        return (holds(self.extensions, ext) and not holds(config.deny, ext)) or holds(config.allow, ext)

    def file_allowed(self, storage: Any, basename: str | None = None) -> bool:
        """Tell whether a file may be saved under a name. Override it to look at more than the extension.

        Form validators call it too: with the list of a field's files and a name, or with the name alone.

        :param storage: the upload, or the name if no other argument is given.
        :param basename: the name; by default that of the upload.
        """
        if basename is None:
            basename = storage if isinstance(storage, str) else str(storage.filename or "")
        return self.extension_allowed(extension(basename))

    def get_basename(self, filename: str) -> str:
        """Return the name to store a file under, as a safe one: ``My cool photo.JPG`` as ``My_cool_photo.jpg``.

        :param filename: the name that the client sent.
        """
        return lowercase_ext(clean_basename(filename))

    def path(self, filename: str, folder: str | None = None) -> str:
        """Return the absolute path of a stored file, which need not exist.

        :param filename: the name, as :meth:`save` returned it.
        :param folder: the folder, if it is not in the name.
        :raises InvalidName: the name points outside the set.
        :raises NotImplementedError: the set is in object storage, where there are no paths.
        """
        return self._storage.path(check_stored(filename, folder))

    def url(self, filename: str) -> str:
        """Return the URL of a stored file, which need not exist.

        With ``UPLOADED_X_SIGNED``, everybody who has the URL can fetch the file from the store, as long as it is valid.
        It is computed from the key, without a request. Credentials that are neither in the config nor in the
        environment, but come from a service of the host, are fetched from there first.

        :param filename: the name, as :meth:`save` returned it.
        :raises InvalidName: the name points outside the set.
        :raises RuntimeError: neither has the set a URL, nor may or can the app serve it.
        :raises OSError: there are no credentials to sign a URL with.
        """
        stored = check_stored(filename)
        config = self.config
        if config.base_url is not None:
            return (addslash(config.base_url) if config.base_url else "") + quote(stored)
        if config.signed and self._storage.signs:
            return self._storage.sign(stored, config.signed)
        try:
            return self._served_url(stored)
        except BuildError as error:
            raise RuntimeError(
                f"The upload set {self.name!r} has no URL: set UPLOADED_{self.name.upper()}_URL, "
                "or let the app serve it with UPLOADS_AUTOSERVE."
            ) from error

    @abstractmethod
    def resolve_conflict(self, target_folder: str, basename: str) -> Any:
        """Return another name for a file whose name is taken, or the same one to replace the file that has it.

        Override it to name files your way.

        :param target_folder: the absolute path of the folder; in object storage, its URL.
        :param basename: the name that is taken.
        """

    # What the flavours add.

    _own_resolve_conflict: Any

    @property
    def _counts_namesakes(self) -> bool:
        """Whether :meth:`resolve_conflict` is the library's own."""
        return bool(self.resolve_conflict == self._own_resolve_conflict)

    @abstractmethod
    def _current_app(self) -> Any:
        """The app at hand, which must be there."""

    @abstractmethod
    def _served_url(self, stored: str) -> str:
        """The URL at which the app serves a file."""

    @abstractmethod
    def _send(self, signal: NamedSignal, **values: Any) -> Any:
        """Send a signal; awaitable in the async set."""

    # What the library, unlike its users, asks of a set.

    @property
    def _storage(self) -> Storage:
        return self.config.storage(self.name)

    @property
    def _saves_slowly(self) -> bool:
        try:
            return self._storage.is_slow
        except RuntimeError:  # not configured, of which save tells, but only after an upload that has no name
            return False

    def _check_storage(self, storage: object) -> str:
        """Return the name that the client sent. It needs no configuration."""
        if not isinstance(storage, FileStorage | BasePart):
            raise TypeError(f"storage must be a werkzeug.FileStorage, not {type(storage).__name__}")
        if not storage.filename:
            raise NoFileChosen(set_name=self.name)
        return storage.filename

    def _choose_name(
        self, storage: FileStorage | BasePart, basename: str, folder: str | None, name: str | None
    ) -> StoredName:
        """Decide where an upload goes.

        :param basename: what :meth:`get_basename` made of its name.
        """
        if not basename:
            raise InvalidName(f"Invalid filename after sanitization: nothing is left of {storage.filename!r}")
        basename = check_basename(basename)
        self._check_allowed(storage, basename)
        if folder is None and name is not None and "/" in name:
            folder, _, name = name.rpartition("/")
        target = StoredName(clean_folder(folder) if folder else "", _renamed(basename, name))
        self._check_renamed(storage, basename, target.basename)
        return target

    def _check_renamed(self, storage: FileStorage | BasePart, before: str, after: str) -> None:
        """Check a name that is not the one the client's file got, but the one that it will have."""
        if after == before:
            return
        self._check_allowed(storage, after)
        ext = extension(after)
        # A file_allowed that looks at the content says nothing about an extension that `name` brings in.
        if ext != extension(before) and not self.extension_allowed(ext):
            raise self._refused_extension(storage, after)

    def _check_allowed(self, storage: FileStorage | BasePart, basename: str) -> None:
        allowed: Any = self.file_allowed(storage, basename)
        if isawaitable(allowed):
            getattr(allowed, "close", lambda: None)()
            raise TypeError(
                f"{type(self).__name__}.file_allowed must not be a coroutine: form validators call it without awaiting"
            )
        if allowed:
            return
        if not self.extension_allowed(extension(basename)):
            raise self._refused_extension(storage, basename)
        error = self._refused(storage, basename, "it is not allowed here")
        error.add_note(f"{type(self).__name__}.file_allowed refused it.")
        raise error

    def _check_size(self, storage: FileStorage | BasePart, basename: str, size: int) -> None:
        limit = self.config.max_size
        if limit is not None and size > limit:
            raise self._refused(storage, basename, f"it is larger than {readable_size(limit)}", error=FileTooLarge)

    def _refused_extension(self, storage: FileStorage | BasePart, basename: str) -> UploadNotAllowed:
        ext = extension(basename)
        rule = f"{f'.{ext} files' if ext else 'files without an extension'} are not allowed here"
        if not holds(self.config.deny, ext):
            rule += self._extensions_in_words()
        # What the app makes of a name is told only where the client's own does not explain the rule.
        is_own = ext == extension(lowercase_ext(clean_basename(storage.filename or "")))
        return self._refused(storage, basename, rule, renamed="" if is_own else f" as {basename}")

    def _extensions_in_words(self) -> str:
        if not (isinstance(self.extensions, Iterable) and isinstance(self.config.allow, Iterable)):
            return ""
        named = dict.fromkeys([*self.extensions, *self.config.allow])
        allowed = ", ".join(ext for ext in named if ext and self.extension_allowed(ext))
        return f" (only {allowed})" if allowed else ""

    def _refused(
        self,
        storage: FileStorage | BasePart,
        basename: str,
        rule: str,
        *,
        renamed: str = "",
        error: type[UploadNotAllowed] = UploadNotAllowed,
    ) -> UploadNotAllowed:
        description = f"{shown(storage.filename or '')} was not saved{renamed}: {rule}."
        return error(description, set_name=self.name, filename=basename, rule=rule)


def _renamed(basename: str, name: str | None) -> str:
    """Apply the ``name`` that a caller of :meth:`save` asked for to the name of the upload."""
    if not name:
        return basename
    cleaned = clean_basename(name)
    if not cleaned:
        raise InvalidName(f"Invalid filename after sanitization: nothing is left of {name!r}")
    if name.rstrip().endswith("."):
        ext = extension(basename)
        cleaned = f"{cleaned}.{ext}" if ext else cleaned
    return check_basename(lowercase_ext(cleaned))
