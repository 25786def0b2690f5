"""A place in an object store, through obstore: S3 and what speaks its protocol, Google, Azure, and memory for tests.

Only obstore's blocking calls are used, in the worker threads that other storages are used in, too. A thread of its
async calls drops Python objects after it has told the event loop the result. If the interpreter ends at that moment,
it aborts: 135 of 480 short processes did that used ``put_async`` or ``open_writer_async``, and none of 960 that made
the blocking calls (obstore 0.12.1).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import MemoryStore, from_url

from ..exceptions import InvalidName
from ..media import content_type, is_active, sent_type
from ..names import StoredName, is_hidden, is_stored
from ..wording import shown
from .base import Storage, not_found
from .object_upload import SINGLE, ObjectUpload
from .ranged import RangedReader
from .staging import StagedFile
from .stored import PIECE, FileInfo, StoredFile

if TYPE_CHECKING:
    from obstore import ObjectMeta

#: Parts that are on their way at the same time. Each takes its size of memory.
CONCURRENCY = 2

# Metadata of an object. Azure takes only names that are identifiers.
_ID = "uploadid"  # tells two uploads apart that have the same content, and so the same ETag
_STATE = "uploadstate"
_RESERVED = "reserved"

# Bytes of a key that S3 and Google take; Azure takes as many characters.
_MAX_KEY = 1024

# A wrong endpoint is an error within about 15 seconds. obstore alone would try for 3 minutes.
_CLIENT_OPTIONS = {"connect_timeout": "5s", "timeout": "15s"}
_RETRY_CONFIG = {"max_retries": 3, "retry_timeout": 10, "backoff": {"init_backoff": 0.1, "max_backoff": 2, "base": 2}}

# Client options that are given, such as ours, are used in the place of AWS_ALLOW_HTTP and the like.
_ENDPOINTS = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT")

_memories: dict[str, MemoryStore] = {}


class ObjectStorage(Storage[ObjectUpload]):
    """Keeps the files of one set in a bucket. Every method blocks.

    :param url: ``s3://bucket/folder``, ``gs://...``, ``az://container/...``, or ``memory://name/...``.
    :param options: those of obstore's store, with ``client_options`` and ``retry_config`` among them.
    :param set_name: the name of the upload set, for messages.
    :raises ValueError: the URL or an option makes no sense.
    """

    def __init__(self, url: str, options: Mapping[str, Any], set_name: str) -> None:
        parts = urlsplit(url)
        self._set_name = set_name
        self._prefix = parts.path.strip("/")
        self._root = f"{parts.scheme}://{parts.netloc}"
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                f"The destination of the upload set {set_name!r} must not have more than a bucket and a folder: "
                f"put keys into the environment, or into UPLOADED_{set_name.upper()}_STORE"
            )
        self.signs: bool = parts.scheme.lower() != "memory"
        self.is_slow: bool = self.signs
        # Made without a request, and before the first one no thread is started, so that a server may fork.
        if self.signs:
            self._store: Any = self._connected(options)
        else:
            self._store = _memories.setdefault(parts.netloc, MemoryStore())

    def __repr__(self) -> str:
        return f"ObjectStorage({self.location('')!r})"

    def location(self, name: str) -> str:
        """Return the URL that names a file in its bucket; it cannot be fetched."""
        return "/".join(part for part in (self._root, self._prefix, name) if part)

    def stage(self) -> ObjectUpload:
        """Start an upload that nobody sees."""
        return ObjectUpload(self._translating_errors, self._abort)

    def stage_file(self, file: StagedFile) -> ObjectUpload:
        """Stage the content of a local file, which is read when it is published."""
        return ObjectUpload(self._translating_errors, self._abort, file)

    def reserve(
        self, staged: ObjectUpload, target: StoredName, *, overwrite: bool = False
    ) -> Generator[None, None, None]:
        """Take a name by an empty object, which no other method shows, and send what is there of the upload.

        A multipart upload cannot be completed on the condition that its name is free: not every store knows that
        (Ceph 16 ignores it). An empty object can be stored so everywhere.

        :raises FileExistsError: the name is taken.
        """
        key, attributes = self._target(staged, target)
        if not overwrite:
            self._put(staged, key, b"", {**attributes, _STATE: _RESERVED}, "create")
        staged.writer = obstore.open_writer(
            self._store, key, attributes=attributes, buffer_size=SINGLE, max_concurrency=CONCURRENCY
        )
        sent = 0
        for piece in staged.take_content():
            staged.send(piece)
            sent += len(piece)
            if sent >= PIECE:
                sent = 0
                yield

    def publish(
        self, staged: ObjectUpload, target: StoredName, *, overwrite: bool = False
    ) -> Generator[None, None, None]:
        """Store a small upload in one request, complete that of a large one.

        :raises FileExistsError: the name is taken, or what was put there to reserve it is gone.
        :raises OSError: the store refused it, or is gone.
        """
        if staged.writer is None and staged.size <= SINGLE:
            key, attributes = self._target(staged, target)
            self._put(staged, key, staged.content(), attributes, "overwrite" if overwrite else "create")
            return
        if staged.writer is None:
            yield from self.reserve(staged, target, overwrite=overwrite)
        self._complete(staged, target)

    def _complete(self, staged: ObjectUpload, target: StoredName) -> None:
        if staged.key is not None and not self._is_ours(staged):
            self._abort(staged)
            raise FileExistsError(errno.EEXIST, "The name was reserved, but somebody has used it", str(target))
        writer, staged.writer = staged.writer, None
        with self._translating_errors("write to"):
            writer.close()  # if it fails, it has aborted the multipart upload

    def withdraw(self, staged: ObjectUpload, target: StoredName) -> None:
        """Undo :meth:`reserve` and :meth:`publish`, unless another has the name by now.

        Looking and deleting are two requests: what somebody stores by the same name between them is deleted.
        """
        self._abort(staged)
        self._remove(staged)

    def _abort(self, staged: ObjectUpload) -> None:
        """Take back a multipart upload that is not complete, and what reserves its name."""
        writer, staged.writer = staged.writer, None
        if writer is None:
            return
        try:
            with self._translating_errors("take back what was sent to"):
                # Leaving its context by an error is how a writer is told to abort. close() would complete it.
                writer.__exit__(InterruptedError, InterruptedError(), None)
        except TimeoutError:
            staged.key = None  # it would not answer the next request either, and its caller waits
            raise
        finally:
            self._remove(staged)

    def _remove(self, staged: ObjectUpload) -> None:
        if staged.key is not None and self._is_ours(staged):
            with self._translating_errors("delete from"):
                obstore.delete(self._store, staged.key)
        staged.key = None

    def _is_ours(self, staged: ObjectUpload) -> bool:
        try:
            _, attributes = self._head(str(staged.key))
        except FileNotFoundError:
            return False
        return bool(attributes.get(_ID) == staged.id)

    def _put(self, staged: ObjectUpload, key: str, content: bytes, attributes: Any, mode: Any) -> None:
        if mode == "create":
            staged.key = key  # even if the answer is lost
        try:
            with self._translating_errors("write to"):
                obstore.put(self._store, key, content, attributes=attributes, mode=mode, use_multipart=False)
        except FileExistsError:
            # obstore repeats a request whose answer was lost, and then finds what the first one has stored.
            if self._is_ours(staged):
                return
            staged.key = None
            raise

    def _target(self, staged: ObjectUpload, target: StoredName) -> tuple[str, dict[str, str]]:
        """Return the key and the attributes of the object that an upload becomes."""
        key = self._key(str(target))
        if len(key.encode()) > _MAX_KEY:
            raise InvalidName(f"The name {shown(key)!r} is too long: object stores take {_MAX_KEY} bytes, with folders")
        media_type = content_type(target.basename)
        attributes = {"Content-Type": sent_type(media_type), _ID: staged.id}
        if is_active(media_type):
            # The browser must not run it in the name of the host that the bucket is served by.
            attributes["Content-Disposition"] = "attachment"
        return key, attributes

    def is_taken(self, target: StoredName) -> bool:
        """Tell whether there is an object of this name, be it one that only reserves it."""
        try:
            self._head(self._key(str(target)))
        except FileNotFoundError:
            return False
        return True

    def stat(self, name: str) -> FileInfo:
        """Return what is known of a file.

        :raises FileNotFoundError: the set has no such file.
        """
        if is_hidden(name) or not is_stored(name) or len(self._key(name).encode()) > _MAX_KEY:
            raise not_found(name)
        try:
            meta, attributes = self._head(self._key(name))
        except FileNotFoundError as error:
            raise not_found(name) from error
        if _STATE in attributes:
            raise not_found(name)
        return FileInfo(name, meta["size"], meta["last_modified"], content_type(name), _etag(meta))

    def open(self, name: str) -> StoredFile:
        """Open a file for reading. It is fetched piece by piece, as it is read.

        :raises FileNotFoundError: the set has no such file.
        :raises OSError: while it is read, with ESTALE, it has been replaced; otherwise, the store is gone.
        """
        info = self.stat(name)
        return StoredFile(cast(BinaryIO, RangedReader(info.size, partial(self._fetch, info))), info)

    def _fetch(self, info: FileInfo, start: int, stop: int) -> bytes:
        # It may have been replaced since it was opened, and two files must not become one.
        options: Any = {"range": (start, stop), "if_match": f'"{info.etag}"' if info.etag else None}
        with self._translating_errors(f"read {info.name!r} from"):
            return bytes(obstore.get(self._store, self._key(info.name), options=options).bytes())

    def delete(self, name: str) -> None:
        """Remove a file.

        :raises FileNotFoundError: the set has no such file.
        """
        self.stat(name)  # stores do not tell whether there was something to delete
        with self._translating_errors(f"delete {name!r} from"):
            obstore.delete(self._store, self._key(name))

    def list(self, folder: str = "") -> Iterator[str]:
        """Yield the names of the files in a folder and in those below it, in the order of the names."""
        found: list[tuple[list[str], str]] = []
        start = len(self._prefix) + 1 if self._prefix else 0
        with self._translating_errors("list"):
            for batch in obstore.list(self._store, self._key(folder) or None, chunk_size=1000):
                for meta in batch:
                    name = meta["path"][start:]
                    if is_stored(name) and (meta["size"] or self.exists(name)):
                        found.append((name.split("/"), name))
        for _, name in sorted(found):  # stores sort by the whole key, in which "a.b" goes before "a/b"
            yield name

    def sign(self, name: str, seconds: int) -> str:
        """Return a URL by which everybody can fetch a file for some time."""
        with self._translating_errors("sign a URL for"):
            return obstore.sign(self._store, "GET", self._key(name), timedelta(seconds=seconds))

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self._prefix, name) if part)

    def _head(self, key: str) -> tuple[ObjectMeta, Any]:
        # Unlike head(), it tells the attributes.
        with self._translating_errors("look into"):
            result = obstore.get(self._store, key, options={"head": True})
            return result.meta, result.attributes

    def _connected(self, options: Mapping[str, Any]) -> Any:
        options = dict(options)
        client = {**_CLIENT_OPTIONS, **(options.pop("client_options", None) or {})}
        retry = {**_RETRY_CONFIG, **(options.pop("retry_config", None) or {})}
        endpoints = [*options.values(), *(os.environ.get(key) for key in _ENDPOINTS)]
        if any(str(endpoint).startswith("http://") for endpoint in endpoints):
            client.setdefault("allow_http", True)  # whoever gives such an endpoint means it
        connect: Any = from_url
        try:
            return connect(self._root, client_options=client, retry_config=_with_durations(retry), **options)
        except (BaseError, ValueError, TypeError) as error:
            raise ValueError(
                f"The upload set {self._set_name!r} cannot use {self.location('')}: {_summary(error)}. "
                f"Check its URL, and UPLOADED_{self._set_name.upper()}_STORE or UPLOADS_DEFAULT_STORE"
            ) from error

    @contextmanager
    def _translating_errors(self, doing: str) -> Iterator[None]:
        """Turn the errors of obstore into those of the operating system.

        :param doing: what is done, for the message: a verb and its preposition.
        """
        _refuse_fork()
        try:
            yield
        except (BaseError, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # those of obstore have no number
            code, advice = _explained(error)
            what = f"The upload set {self._set_name!r} could not {doing} {self.location('')}"
            raise OSError(code, f"{what}: {advice} ({_summary(error)})") from error


_first_process: int | None = None


def _refuse_fork() -> None:
    # obstore's threads are not in a child process, which would wait for them for ever.
    global _first_process
    if _first_process is None:
        _first_process = os.getpid()
    elif _first_process != os.getpid():
        raise RuntimeError(
            "Object storage was used before this process was forked, which obstore does not survive: "
            "use upload sets only in the workers, or start these by 'spawn'"
        )


def _with_durations(config: Mapping[str, Any]) -> dict[str, Any]:
    """Turn seconds into what obstore takes: a config that comes from JSON has no durations."""
    result: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            result[key] = _with_durations(value)
        elif key in ("retry_timeout", "init_backoff", "max_backoff") and isinstance(value, int | float):
            result[key] = timedelta(seconds=value)
        else:
            result[key] = value
    return result


def _explained(error: Exception) -> tuple[int, str]:
    """Return the number of the error of an operating system that comes closest, and what to do."""
    if isinstance(error, FileNotFoundError):
        return errno.ENOENT, "there is no such object or bucket"
    if isinstance(error, AlreadyExistsError):
        return errno.EEXIST, "the name is taken"
    if isinstance(error, PreconditionError):
        return errno.ESTALE, "somebody has replaced it meanwhile"
    if isinstance(error, NotSupportedError):
        return errno.ENOTSUP, "the store does not offer what is needed"
    text = str(error)
    if (
        isinstance(error, PermissionDeniedError | UnauthenticatedError)
        or "status: 403" in text
        or "status: 401" in text
    ):
        return errno.EACCES, "it was refused. Check the key, and what it may do"
    if "kind: Timeout" in text:
        return errno.ETIMEDOUT, "it does not answer in time. Check the endpoint"
    if "kind: Connect" in text:
        return errno.ECONNREFUSED, "it cannot be reached. Check the endpoint"
    if "error sending request" in text:
        return errno.ECONNRESET, "the connection was lost"
    return errno.EIO, "it failed"


def _summary(error: Exception) -> str:
    """The first line of an error, without what a URL in it may have of secrets, and without the store's XML."""
    line = str(error).partition("\n")[0].partition("<?xml")[0]
    return " ".join(word.partition("?")[0] for word in line.split())[:300].rstrip(" :.-")


def _etag(meta: ObjectMeta) -> str:
    return (meta["e_tag"] or "").removeprefix("W/").strip('"')
