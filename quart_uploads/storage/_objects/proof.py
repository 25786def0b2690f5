"""Prove with a test object that a store has the features that uploads rely on. This is done once per bucket.

A store that does not support ``If-None-Match`` (RFC 9110, section 13.1.2) may answer 200 and replace the object that
has the name. Requests that store files cannot detect this safely. So it is tested with an object of no value before the
first file is stored.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Any

from .bucket import Bucket

#: Names of an object's metadata. Azure only accepts identifiers. ID distinguishes uploads of the same content, which
#: have the same ETag. STATE is set as long as the object only reserves a name.
ID, STATE = "uploadid", "uploadstate"
RESERVED = "reserved"

# The smallest content of a multipart upload. The last part may have any size (in S3, the others have at least 5 MiB).
_PART = b"1"


_log = logging.getLogger(__name__)


class UnsafeStore(OSError):
    """A store lacks a feature that uploads rely on. The message only says how that was detected."""


class Proof:
    """A property that is proven once. Threads that need it at the same time wait and share the result.

    Only a success is remembered. After a failure, the next call tries again, because the store may be reachable or
    repaired by that time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._holds = False
        self._attempts = 0
        self._failure: Callable[[], OSError] | None = None

    def require(self, prove: Callable[[], None]) -> None:
        """Return as soon as the property is proven.

        :param prove: proves the property, or raises an error.
        :raises OSError: this thread, or the thread that it waited for, could not prove the property.
        """
        if self._holds:
            return
        attempts = self._attempts
        with self._lock:
            if self._holds:
                return
            if self._failure is not None and self._attempts != attempts:
                # If the store does not answer, the waiting threads must not each run into the timeout, one by one.
                raise self._failure()
            try:
                prove()
            except OSError as error:
                self._failure = partial(type(error), *error.args)  # a new error per thread, as each adds its own notes
                raise
            else:
                self._holds = True
            finally:
                self._attempts += 1


class Proofs:
    """The proofs for one bucket."""

    def __init__(self) -> None:
        self.condition: Proof = Proof()
        self.multipart: Proof = Proof()


_proofs: dict[tuple[str, bytes], Proofs] = {}


def proofs_of(root: str, options: Mapping[str, Any]) -> Proofs:
    """Return the proofs for a bucket. Sets that use it with the same options and environment share them."""
    # The environment may contain endpoints. It is read now because the store's client is made at the same time.
    environment = sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "AZURE_", "GOOGLE_")))
    way = repr((sorted(options.items(), key=str), environment))
    # A digest, because the text contains keys.
    return _proofs.setdefault((root, hashlib.sha256(way.encode(errors="surrogateescape")).digest()), Proofs())


def prove_condition(bucket: Bucket, name: str) -> None:
    """Prove that the store refuses a conditional request to store an object if its name is taken.

    :param name: a free name. It is free again at the end, unless the key may not delete objects.
    :raises UnsafeStore: the store replaced the object, or does not support the condition.
    :raises OSError: the store refused a request or cannot be reached.
    """
    with _reservation(bucket, name):
        _refuse(bucket, name, "an object")


def prove_multipart(bucket: Bucket, name: str) -> None:
    """Prove that a multipart upload replaces the object that reserves its name, and nothing else.

    Not every store supports a condition when a multipart upload is completed (Ceph 16 ignores it). So the name is
    reserved by an object, which is checked again before the upload is completed. This is safe if nothing else can be
    stored under the name from the reservation to the end. An unfinished upload must not change the reservation or its
    metadata, and a complete one must replace it as a whole.

    :param name: a free name. It is free again at the end, unless the key may not delete objects.
    :raises UnsafeStore: the store does not behave like this.
    :raises OSError: the store refused a request or cannot be reached.
    """
    with _reservation(bucket, name) as reservation:
        whole = secrets.token_hex(8)
        writer = bucket.start_multipart(name, {ID: whole}, len(_PART))
        try:
            writer.write(_PART)
            _refuse(bucket, name, "an object that reserves the name of an upload in parts")
            _expect(
                bucket,
                name,
                (0, reservation, RESERVED),
                "the store lost what reserves the name of an upload in parts, or its metadata",
            )
        except BaseException as error:
            try:
                writer.abort()
            except OSError as another:
                error.add_note(f"What was sent could not be taken back: {another}")
            raise
        writer.complete()
        _expect(bucket, name, (len(_PART), whole, None), "an upload in parts did not replace what reserved its name")
        _refuse(bucket, name, "an object that was uploaded in parts")


@contextmanager
def _reservation(bucket: Bucket, name: str) -> Iterator[str]:
    """Reserve a name with an empty object, and delete the object at the end. Yield the ID in its metadata.

    The object is empty, like that of a real reservation, because a store might treat empty objects differently.
    """
    token = secrets.token_hex(8)
    try:
        _create(bucket, name, b"", {ID: token, STATE: RESERVED})
    except FileExistsError as error:
        # obstore repeats a request if its answer was lost. Then the object of the first request has the name.
        if not bucket.has(name):
            raise _unsafe("the store says of a name which nothing has that it is taken") from error
    try:
        yield token
    finally:
        try:
            bucket.delete(name)
        except OSError as error:
            # Uploads only need a key that may store objects. The object that stays is small, and no set shows it.
            _log.warning("A test object could not be deleted and stays in the store. You can delete it: %s", error)


def _refuse(bucket: Bucket, name: str, what: str) -> None:
    try:
        _create(bucket, name, b"another", {ID: secrets.token_hex(8)})
    except FileExistsError:
        return
    raise _unsafe(f"the store replaced {what} by another one, which was to be stored only if its name was free")


def _expect(bucket: Bucket, name: str, expected: tuple[int, str, str | None], otherwise: str) -> None:
    found = bucket.look(name)
    if (found.size, found.attributes.get(ID), found.attributes.get(STATE)) != expected:
        raise _unsafe(otherwise)


def _create(bucket: Bucket, name: str, content: bytes, attributes: dict[str, str]) -> None:
    try:
        bucket.create(name, content, attributes)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        raise _unsafe("the store does not take the condition (If-None-Match) that a name is free") from error


def _unsafe(what: str) -> UnsafeStore:
    return UnsafeStore(errno.ENOTSUP, what)
