"""A bucket, through obstore: S3 and what speaks its protocol, Google, Azure, and memory for tests.

Only obstore's blocking calls are used, in the worker threads that other storages are used in, too. A thread of its
async calls drops Python objects after it has told the event loop the result. If the interpreter ends at that moment,
it aborts: 135 of 480 short processes did that used ``put_async`` or ``open_writer_async``, and none of 960 that made
the blocking calls (obstore 0.12.1).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

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

from ..._redaction import secrets_of, without_secrets
from .options import checked

#: Parts that are on their way at the same time. Each takes its size of memory.
CONCURRENCY = 2

# What is asked for by a request that stores something, for messages.
_WRITE = "write to"

# Where obstore finds keys that are not in the options.
_VARIABLES = ("AWS_", "AZURE_", "GOOGLE_")

_memories: dict[str, MemoryStore] = {}


class Found(NamedTuple):
    """What is known of an object, and what is stored with it."""

    size: int
    modified: datetime
    etag: str
    attributes: dict[str, str]


class Bucket:
    """obstore's client of a folder in a bucket. Its errors are those of the operating system, and tell no secret.

    :param url: ``s3://bucket/folder``, ``gs://...``, ``az://container/...``, or ``memory://name/...``.
    :param options: those of obstore's store, with ``client_options`` and ``retry_config`` among them.
    :param owner: what uses it, for messages: "The upload set 'photos'".
    :raises ValueError: the URL or an option makes no sense. The message is only the reason, without secrets.
    """

    def __init__(self, url: str, options: Mapping[str, Any], owner: str) -> None:
        scheme, _, place = url.partition("://")
        name, _, folder = place.partition("/")
        if set(name) & set("@:?#") or set(folder) & set("?#"):
            # Keys have slashes: "s3://key:sec/ret@bucket" has its "@" in what looks like the folder.
            raise ValueError("a destination has no more than a bucket and a folder, and keys belong elsewhere")
        self._owner = owner
        self._scheme = scheme.lower()
        self._folder = folder.strip("/")
        #: The URL of the whole bucket.
        self.root: str = f"{self._scheme}://{name}"
        environment = {name: os.environ[name] for name in os.environ if name.startswith(_VARIABLES)}
        secrets = secrets_of({**environment, **options})

        def shown(error: BaseException) -> Exception:
            # A function, as its repr does not show what it knows.
            return _without_secrets(error, secrets)

        self._shown = shown
        # Made without a request, and before the first one no thread is started, so that a server may fork.
        if self.is_remote:
            self._store: Any = self._connected(checked(options, self._scheme))
        else:
            self._store = _memories.setdefault(name, MemoryStore())

    @property
    def is_remote(self) -> bool:
        """Whether a network is between it and this process."""
        return self._scheme != "memory"

    def location(self, name: str) -> str:
        """Return the URL that names an object; it cannot be fetched."""
        return "/".join(part for part in (self.root, self._folder, name) if part)

    def key(self, name: str) -> str:
        """Return what an object is called in the whole bucket."""
        return "/".join(part for part in (self._folder, name) if part)

    def _connected(self, options: dict[str, Any]) -> Any:
        connect: Any = from_url
        try:
            return connect(self.root, **options)
        except BaseException as error:
            if not isinstance(error, Exception) and not _is_panic(error):
                raise
            shown = self._shown(error)
        raise ValueError(_summary(shown)) from shown

    def create(self, name: str, content: bytes, attributes: Any) -> None:
        """Store an object in one request, on the condition that there is none of its name.

        :raises FileExistsError: there is one, or the store says so.
        """
        self._put(name, content, attributes, "create")

    def put(self, name: str, content: bytes, attributes: Any) -> None:
        """Store an object in one request, in the place of what has its name."""
        self._put(name, content, attributes, "overwrite")

    def _put(self, name: str, content: bytes, attributes: Any, mode: Any) -> None:
        with self._translating_errors(_WRITE):
            obstore.put(self._store, self.key(name), content, attributes=attributes, mode=mode, use_multipart=False)

    def start_multipart(self, name: str, attributes: Any, part_size: int) -> MultipartUpload:
        """Start an upload that stores an object in parts, in the place of what has its name when it is complete."""
        writer = obstore.open_writer(
            self._store, self.key(name), attributes=attributes, buffer_size=part_size, max_concurrency=CONCURRENCY
        )
        return MultipartUpload(writer, self._translating_errors)

    def look(self, name: str) -> Found:
        """Return what is known of an object.

        :raises FileNotFoundError: there is none of this name.
        """
        # Unlike head(), it tells the attributes.
        with self._translating_errors("look into"):
            result = obstore.get(self._store, self.key(name), options={"head": True})
            meta, attributes = result.meta, dict(result.attributes)
        return Found(meta["size"], meta["last_modified"], meta["e_tag"] or "", attributes)

    def has(self, name: str) -> bool:
        """Return True if there is an object of this name, of whatever kind."""
        try:
            self.look(name)
        except FileNotFoundError:
            return False
        return True

    def fetch(self, name: str, start: int, stop: int, etag: str) -> bytes:
        """Return a part of an object, if it is still the one that has this ETag.

        :raises OSError: with ESTALE, it has been replaced.
        """
        options: Any = {"range": (start, stop), "if_match": f'"{etag}"' if etag else None}
        with self._translating_errors(f"read {name!r} from"):
            return bytes(obstore.get(self._store, self.key(name), options=options).bytes())

    def delete(self, name: str) -> None:
        """Remove an object. Stores do not tell whether there was one."""
        with self._translating_errors(f"delete {name!r} from"):
            obstore.delete(self._store, self.key(name))

    def list(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield the names of the objects in a folder and below it, and their sizes."""
        start = len(self._folder) + 1 if self._folder else 0
        with self._translating_errors("list"):
            for batch in obstore.list(self._store, self.key(folder) or None, chunk_size=1000):
                for meta in batch:
                    yield meta["path"][start:], meta["size"]

    def sign(self, name: str, seconds: int) -> str:
        """Return a URL by which everybody can fetch an object for some time."""
        with self._translating_errors("sign a URL for"):
            return obstore.sign(self._store, "GET", self.key(name), timedelta(seconds=seconds))

    @contextmanager
    def _translating_errors(self, doing: str) -> Iterator[None]:
        """Turn the errors of obstore into those of the operating system.

        :param doing: what is done, for the message: a verb and its preposition.
        """
        _refuse_fork()
        try:
            yield
        except BaseException as error:
            if not isinstance(error, BaseError | ValueError | OSError) and not _is_panic(error):
                raise
            if isinstance(error, OSError) and error.errno is not None:
                raise  # those of obstore have no number
            shown = self._shown(error)
            code, advice = _explained(shown)
            if doing == _WRITE and code in (errno.ETIMEDOUT, errno.ECONNRESET):
                advice += ". It may be stored nevertheless"
            what = f"{self._owner} could not {doing} {self.location('')}"
            raise OSError(code, f"{what}: {advice} ({_summary(shown)})") from shown


class MultipartUpload:
    """An upload in parts, of which nothing is there before it is complete.

    :param writer: obstore's.
    :param translating_errors: the context to call it in.
    """

    def __init__(self, writer: Any, translating_errors: Any) -> None:
        self._writer = writer
        self._translating_errors = translating_errors

    def write(self, data: bytes | memoryview) -> None:
        """Add to it. Waits if too much is on its way."""
        with self._translating_errors(_WRITE):
            self._writer.write(data)

    def complete(self) -> None:
        """Make it the object of its name. If that fails, it is aborted."""
        with self._translating_errors(_WRITE):
            self._writer.close()

    def abort(self) -> None:
        """Take it back."""
        with self._translating_errors("take back what was sent to"):
            # Leaving its context by an error is how a writer is told to abort. close() would complete it.
            self._writer.__exit__(InterruptedError, InterruptedError(), None)


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


def _is_panic(error: BaseException) -> bool:
    # Rust code that has failed. Its class cannot be imported, and is no Exception.
    return type(error).__module__ == "pyo3_runtime"


def _without_secrets(error: BaseException, secrets: set[str]) -> Exception:
    """Return an error as it may be printed: itself, or one that says the same without secrets."""
    text = str(error)
    shown = without_secrets(text, secrets)
    if not isinstance(error, Exception):
        return RuntimeError(f"obstore has panicked: {shown}")
    if shown == text:
        return error
    return type(error)(shown) if isinstance(error, BaseError | OSError) else ValueError(shown)


def _explained(error: Exception) -> tuple[int, str]:
    """Return the number of the error of an operating system that comes closest, and what to do."""
    if isinstance(error, FileNotFoundError):
        return errno.ENOENT, "there is no such object or bucket"
    if isinstance(error, AlreadyExistsError):
        return errno.EEXIST, "the name is taken"
    if isinstance(error, PreconditionError):
        return errno.ESTALE, "somebody has replaced it meanwhile"
    text = str(error)
    if isinstance(error, NotSupportedError) or "status code: 501" in text:
        return errno.ENOTSUP, "the store does not offer what is needed"
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
    """The first line of an error, without the store's XML."""
    line = str(error).partition("\n")[0].partition("<?xml")[0]
    return " ".join(line.split())[:300].rstrip(" :.-")
