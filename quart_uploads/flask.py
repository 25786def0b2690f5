"""Upload sets for Flask: the names and rules of :mod:`quart_uploads`, blocking."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Iterator
from typing import Any

from blinker import NamedSignal
from flask import Blueprint, Flask, Response, abort, current_app, has_app_context, request, url_for
from werkzeug.datastructures import FileStorage

from .config import (
    BLUEPRINT,
    ENDPOINT,
    URL_PREFIX,
    URL_RULE,
    UploadConfiguration,
    addslash,
    config_for_set,
    configure,
)
from .delivery import Delivery, chunk_sizes, find_delivery
from .exceptions import FileTooLarge, InvalidName, UploadNotAllowed
from .extensions import (
    ALL,
    ARCHIVES,
    AUDIO,
    DATA,
    DEFAULTS,
    DOCUMENTS,
    EXECUTABLES,
    IMAGES,
    SCRIPTS,
    SOURCE,
    TEXT,
    VIDEO,
    AllExcept,
    extension,
    lowercase_ext,
)
from .names import check_stored
from .operations import deleting, free_basename, listing, saving, saving_all
from .rules import BaseUploadSet
from .signals import upload_deleted, upload_rejected, upload_saved
from .steps import drive
from .storage import FileInfo, StoredFile
from .testing import BaseTestingFileStorage

__all__ = [
    "ALL",
    "ARCHIVES",
    "AUDIO",
    "DATA",
    "DEFAULTS",
    "DOCUMENTS",
    "EXECUTABLES",
    "IMAGES",
    "SCRIPTS",
    "SOURCE",
    "TEXT",
    "VIDEO",
    "AllExcept",
    "FileInfo",
    "FileTooLarge",
    "InvalidName",
    "StoredFile",
    "TestingFileStorage",
    "UploadConfiguration",
    "UploadNotAllowed",
    "UploadSet",
    "addslash",
    "config_for_set",
    "configure_uploads",
    "extension",
    "lowercase_ext",
    "patch_request_class",
    "upload_deleted",
    "upload_rejected",
    "upload_saved",
]


class UploadSet(BaseUploadSet):
    """A named set of uploaded files, for Flask: every method blocks.

    Its configuration is kept on the app, so that one set serves several apps.

    :param name: alphanumeric; names the set in config keys and URLs.
    :param extensions: what it allows: presets added together, any container, or one string.
    :param default_dest: the destination if the config names none: a path, or a callable that is given the
        app and returns a path or ``None``.
    :raises ValueError: the name is not alphanumeric.
    """

    def save(
        self, storage: FileStorage, folder: str | None = None, name: str | None = None, *, overwrite: bool = False
    ) -> str:
        """Save an upload and return its name in the set, with its folder. See :meth:`quart_uploads.UploadSet.save`."""
        return drive(saving(self, storage, folder, name, overwrite))

    def save_all(self, storages: Iterable[FileStorage], folder: str | None = None) -> builtins.list[str]:
        """Save several uploads, all or none. See :meth:`quart_uploads.UploadSet.save_all`."""
        return drive(saving_all(self, storages, folder))

    def resolve_conflict(self, target_folder: str, basename: str) -> str:
        """Return the first free one of ``name_1.ext``, ``name_2.ext``, and so on. Override it to name files your way.

        :param target_folder: the absolute path of the folder.
        :param basename: the name that is taken.
        """
        return free_basename(target_folder, basename)

    def exists(self, filename: str) -> bool:
        """Tell whether the set has a file of this name."""
        return self._storage.exists(check_stored(filename))

    def stat(self, filename: str) -> FileInfo:
        """Return the size, time, content type and ETag of a file.

        :raises FileNotFoundError: the set has no such file.
        """
        return self._storage.stat(check_stored(filename))

    def open(self, filename: str) -> StoredFile:
        """Open a file for reading: ``with photos.open(name) as file``.

        :raises FileNotFoundError: the set has no such file.
        """
        return self._storage.open(check_stored(filename))

    def delete(self, filename: str) -> None:
        """Delete a file. Its folder stays.

        :raises FileNotFoundError: the set has no such file.
        """
        drive(deleting(self, filename))

    def list(self, folder: str | None = None) -> builtins.list[str]:
        """Return the names of all files, or of those in a folder and below it, in order."""
        return listing(self, folder)

    _own_resolve_conflict = resolve_conflict

    def _current_app(self) -> Any:
        return current_app._get_current_object()  # type: ignore[attr-defined]

    def _served_url(self, stored: str) -> str:
        return url_for(ENDPOINT, setname=self.name, filename=stored, _external=True)

    def _send(self, signal: NamedSignal, **values: Any) -> None:
        app = self._current_app() if has_app_context() else None
        signal.send(app, _async_wrapper=app.ensure_sync if app else None, **values)


class TestingFileStorage(BaseTestingFileStorage):
    __doc__ = BaseTestingFileStorage.__doc__
    __test__ = False  # not a class of tests, whatever pytest makes of its name

    def save(self, dst: Any, buffer_size: int = 16384) -> None:
        """Note the path and write nothing.

        :param dst: the path.
        :param buffer_size: not used.
        """
        self.saved: str | None = os.fspath(dst)


def configure_uploads(app: Flask, upload_sets: UploadSet | Iterable[UploadSet]) -> None:
    """Read the configuration of upload sets from an app's config. See :func:`quart_uploads.configure_uploads`."""
    configure(app, upload_sets, UploadSet, blueprint)


def patch_request_class(app: Flask, size: int | None = 16 * 1024 * 1024) -> None:
    """Answer requests whose body is larger than a size with 413 (Content Too Large).

    :param app: the app.
    :param size: bytes, set as its ``MAX_CONTENT_LENGTH``; ``None`` keeps that.
    """
    if size is not None:
        app.config["MAX_CONTENT_LENGTH"] = size


blueprint: Blueprint = Blueprint(BLUEPRINT, __name__, url_prefix=URL_PREFIX)


@blueprint.route(URL_RULE)
def uploaded_file(setname: str, filename: str) -> Response:
    """Send a stored file."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    try:
        plan, found = find_delivery(app, setname, filename, request.method, request.headers)
    except FileNotFoundError:
        abort(404)
    body = found if isinstance(found, bytes) else _StoredFileBody(found, plan)
    response: Response = app.response_class(body, plan.status, direct_passthrough=True)
    response.headers.clear()
    response.headers.extend(plan.headers)
    return response


class _StoredFileBody:
    """The part of a stored file that a response has, read in large pieces while it is sent."""

    def __init__(self, file: StoredFile, plan: Delivery) -> None:
        self._file = file
        self._plan = plan

    def __iter__(self) -> Iterator[bytes]:
        return map(self._file.read, chunk_sizes(self._plan))

    def close(self) -> None:
        """Called by the WSGI server (PEP 3333) when the response is over, however it ended."""
        self._file.close()
