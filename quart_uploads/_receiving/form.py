"""Reading a form part by part, written once for both flavours.

The methods are generators of steps, see :mod:`quart_uploads._threads.steps`. A flavour brings two calls, which
in the async one return awaitables: one that receives bytes, and one that runs a blocking function.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge, ServiceUnavailable

from .._exceptions import InsufficientStorage
from .._threads import Steps, settled
from ..storage import StagingArea
from .multipart import PART_END, Event, FormDecoder, FormLimits
from .part_head import PartHead
from .spool import ALL_IN_MEMORY, BATCH, IN_MEMORY, SharedFile, Spool

F = TypeVar("F")

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_MORE = object()

#: Bytes of a piece that others are joined to: an object takes some 50 bytes more than it has, and clients may send two.
_SMALL = 1 << 10


class Reading:
    """A form that is being read.

    A request without a body is an empty form, whatever its Content-Type says: some clients send one with every request.

    :param content_type: the Content-Type of the request.
    :param limits: what the form may have.
    :param receive: returns the next bytes of the body, ``b""`` at its end. It is given whether there is
        something to write meanwhile; if so, it may return ``None`` while the client is silent.
    :param block: calls a blocking function.
    """

    def __init__(
        self,
        content_type: str,
        limits: FormLimits,
        receive: Callable[[bool], Any],
        block: Callable[[Callable[[], None]], Any],
    ) -> None:
        self._decoder: FormDecoder | None = None
        self._content_type = content_type
        self._limits = limits
        self._receive = receive
        self._block = block
        self._events: Iterator[Event] = iter(())
        self._in_part = False
        self._ended = False

    def next_part(self) -> Steps[PartHead | None]:
        """Return the head of the next part, reading past what is left of the last one; ``None`` at the end.

        :raises BadRequest: the form has no valid boundary, is broken, or ends before its closing boundary.
        """
        while not self._ended:
            event: Any = next(self._events, _MORE)
            if event is _MORE:
                yield from self._feed(False)
            elif isinstance(event, PartHead):
                self._in_part = True
                return event
        return None

    def next_batch(self) -> Steps[list[bytes]]:
        """Return the next bytes of the part, in pieces, about 1 MiB in all; none at its end."""
        batch: list[bytes] = []
        size = 0
        while self._in_part and size < BATCH:
            event: Any = next(self._events, _MORE)
            if event is PART_END:
                self._in_part = False
            elif event is _MORE:
                if not (yield from self._feed(size > IN_MEMORY)):
                    break
            else:
                gather(batch, event)
                size += len(event)
        return batch

    def text(self, head: PartHead) -> Steps[str]:
        """Return the rest of the part as a text.

        :raises RequestEntityTooLarge: it is larger than the limit of a field.
        """
        pieces: list[bytes] = []
        size = 0
        while batch := (yield from self.next_batch()):
            pieces += batch
            size += sum(map(len, batch))
            if self._limits.memory is not None and size > self._limits.memory:
                raise RequestEntityTooLarge(f"The field {head.name!r} is larger than MAX_FORM_MEMORY_SIZE.")
        return b"".join(pieces).decode(head.charset, "replace")

    def collect(
        self, area: StagingArea, make_file: Callable[[Spool, PartHead], F]
    ) -> Steps[tuple[list[tuple[str, str]], list[tuple[str, F]]]]:
        """Return all fields and files, the files staged.

        If it fails, or is cancelled, nothing is left of what was staged.
        """
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, F]] = []
        spools: list[Spool] = []
        in_memory, shared = ALL_IN_MEMORY, SharedFile(area)
        try:
            while (head := (yield from self.next_part())) is not None:
                if head.filename is None:
                    fields.append((head.name, (yield from self.text(head))))
                    continue
                spool = Spool(area)
                spools.append(spool)
                while batch := (yield from self.next_batch()):
                    if spool.add(batch):
                        yield from self._write(spool.flush)
                    del batch  # or its memory would wait for the client, too
                if not spool.is_staged:
                    if spool.size <= in_memory:
                        in_memory -= spool.size
                    else:
                        yield from self._write(partial(spool.share, shared))
                files.append((head.name, make_file(spool, head)))
        except BaseException as reason:
            # In one call: a client that has left cancels its request, and what was left to do would not be done.
            yield from settled(self._block(partial(_close_all, spools, reason)))
            raise
        return fields, files

    def _write(self, write: Callable[[], None]) -> Steps[None]:
        with answering_for_the_disk():
            yield from settled(self._block(write))

    def _feed(self, may_pause: bool) -> Steps[bool]:
        """Receive more bytes. Return True if some came, or the end."""
        data = yield from settled(self._receive(may_pause))
        if data is None:
            return False
        if self._decoder is None and data:
            self._decoder = FormDecoder(self._content_type, self._limits)
        self._events = self._decoder.feed(data) if self._decoder else iter(())
        if not data:
            next(self._events, None)  # looks whether the form is whole
            self._ended = True
        return True


def _close_all(spools: list[Spool], reason: BaseException) -> None:
    for spool in spools:
        try:
            spool.close()
        except OSError as error:
            reason.add_note(f"A file that was received could not be closed: {error}")


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
        #: Whether reading it has begun.
        self.is_begun: bool = False

    @abstractmethod
    def receive_batch(self, first: bool = False) -> Any:
        """Return the next bytes, in pieces, about 1 MiB in all; none at the end. Awaitable in the async part.

        :param first: whether they have to be the first ones of the part.
        :raises RuntimeError: they are not, or the part was passed over.
        """


P = TypeVar("P", bound=BasePart)


class BaseFormReader(Generic[P]):
    """The parts of a form, in the order sent.

    A part is to be read before the next one is asked for; what was not read of it is passed over.
    """

    _reading: Reading | None = None
    _part: P | None = None

    def current(self, part: BasePart, first: bool = False) -> Reading:
        """Return what the current part is read from.

        :param first: whether nothing of it may have been read.
        :raises RuntimeError: the part is not the current one, or was read: its bytes are gone.
        """
        if part is not self._part or self._reading is None:
            raise RuntimeError(f"The part {part.name!r} was passed over: read a part before you ask for the next")
        if first and part.is_begun:
            raise RuntimeError(
                f"The part {part.name!r} was read or saved already, at least in part: "
                "it comes once, so save it first, and read the stored file if you need its bytes again"
            )
        part.is_begun = True
        return self._reading


def gather(pieces: list[bytes] | deque[bytes], data: bytes) -> None:
    """Append some bytes, and join them with the last ones where both are few."""
    if pieces and len(pieces[-1]) + len(data) <= _SMALL:
        pieces[-1] += data
    else:
        pieces.append(data)


@contextmanager
def answering_for_the_disk() -> Iterator[None]:
    """While a request is received there is no caller to whom an error of the disk could go: answer it."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise InsufficientStorage from error
        if error.errno in _NO_RESOURCES:
            raise ServiceUnavailable("The server is out of resources to receive this upload.") from error
        raise
