"""The proof that a store keeps what no upload can do without: it is asked for once, and shown by an object of its own.

A store that does not know ``If-None-Match`` may answer 200 and replace what has the name. No request that really stores
a file tells that, so two requests do that store nothing of value, before the first file is stored.
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

#: Metadata of an object. Azure takes only names that are identifiers. The first tells two uploads apart that have the
#: same content, and so the same ETag; the second is there while a name is only reserved.
ID, STATE = "uploadid", "uploadstate"
RESERVED = "reserved"

# The least that a store takes as an upload in parts: one part, the last, may have any size (S3: others have 5 MiB).
_PART = b"1"


_log = logging.getLogger(__name__)


class UnsafeStore(OSError):
    """A store does not keep what uploads need. The message is only how it was seen."""


class Proof:
    """Something that is proven once. Threads that need it meanwhile wait, and share the outcome.

    Only a success is remembered: whether a store that was not reached, or was wrong, is right can be asked again.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._holds = False
        self._attempts = 0
        self._failure: Callable[[], OSError] | None = None

    def require(self, prove: Callable[[], None]) -> None:
        """Return once it is proven.

        :param prove: proves it, or raises an error.
        :raises OSError: it could not be proven by this thread, or by the one that this one has waited for.
        """
        if self._holds:
            return
        attempts = self._attempts
        with self._lock:
            if self._holds:
                return
            if self._failure is not None and self._attempts != attempts:
                # Many that wait for a store which does not answer must not do so one after the other.
                raise self._failure()
            try:
                prove()
            except OSError as error:
                self._failure = partial(type(error), *error.args)  # each thread adds notes to an error of its own
                raise
            else:
                self._holds = True
            finally:
                self._attempts += 1


class Proofs:
    """What is to be proven of one bucket, or is already."""

    def __init__(self) -> None:
        self.condition: Proof = Proof()
        self.multipart: Proof = Proof()


_proofs: dict[tuple[str, bytes], Proofs] = {}


def proofs_of(root: str, options: Mapping[str, Any]) -> Proofs:
    """Return what is proven of a bucket, which is the same for all sets that reach it in the same way."""
    # The environment has endpoints, too. What it had when the store's client was made is what counts.
    environment = sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "AZURE_", "GOOGLE_")))
    way = repr((sorted(options.items(), key=str), environment))
    # A digest, as there are keys in it.
    return _proofs.setdefault((root, hashlib.sha256(way.encode(errors="surrogateescape")).digest()), Proofs())


def prove_condition(bucket: Bucket, name: str) -> None:
    """Prove that an object is stored on the condition that its name is free.

    :param name: a free one, which is so again in the end.
    :raises OSError: with ENOTSUP, it is not; otherwise, the store is gone or has refused it.
    """
    with _reservation(bucket, name):
        _refuse(bucket, name, "an object")


def prove_multipart(bucket: Bucket, name: str) -> None:
    """Prove that an upload in parts replaces what reserves its name, and nothing else.

    It cannot be completed on a condition: not every store knows that (Ceph 16 ignores it). So its name is reserved, by
    an object that is looked at again before the upload is completed. That is safe if nothing else can be stored by the
    name from the reservation to the end: an unfinished upload must leave the reservation as it is, with its metadata,
    and a complete one must take its place as a whole.

    :param name: a free one, which is so again in the end.
    :raises OSError: with ENOTSUP, it does not; otherwise, the store is gone or has refused it.
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
    """Keep a name reserved, as an upload in parts does it. Its object is empty, and a store may look at the size."""
    token = secrets.token_hex(8)
    try:
        _create(bucket, name, b"", {ID: token, STATE: RESERVED})
    except FileExistsError as error:
        # obstore repeats a request whose answer was lost, and then finds what the first one has stored.
        if not bucket.has(name):
            raise _unsafe("the store says of a name which nothing has that it is taken") from error
    try:
        yield token
    finally:
        try:
            bucket.delete(name)
        except OSError as error:
            # A key that may store and not delete is a good one for uploads. The object is empty, and no set shows it.
            _log.warning("An object that a store was tried with is left there, and can be deleted: %s", error)


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
