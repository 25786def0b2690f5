"""Multipart forms (RFC 7578), parsed as they arrive. Knows no I/O and no framework."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge
from werkzeug.http import parse_options_header

from .search import contains

#: The event that ends a part.
PART_END: Final = None

_CHARSETS = frozenset({"ascii", "us-ascii", "utf-8", "iso-8859-1"})


@dataclass(frozen=True)
class FormLimits:
    """What a form may have; ``None`` for no limit.

    :param memory: bytes of one field that is not a file (``MAX_FORM_MEMORY_SIZE``).
    :param parts: fields and files (``MAX_FORM_PARTS``).
    """

    memory: int | None = None
    parts: int | None = None


@dataclass(frozen=True)
class PartHead:
    """What a form says of one part before its content.

    :param name: the field.
    :param filename: the name that the client gave the file; ``None`` if the part is no file.
    :param content_type: the media type, with its parameters; ``""`` if none is given.
    :param headers: all headers of the part.
    """

    name: str
    filename: str | None
    content_type: str
    headers: Headers = field(repr=False)

    @property
    def charset(self) -> str:
        """The charset of a text, by the list that Werkzeug takes as safe."""
        charset = parse_options_header(self.content_type)[1].get("charset", "").lower()
        return charset if charset in _CHARSETS else "utf-8"


Event = PartHead | bytes | None


class FormDecoder:
    """Turns the bytes of a form into events: a head, some bytes, and the end of the part.

    :param content_type: the Content-Type of the request.
    :param limits: what the form may have.
    :raises BadRequest: the content type has no boundary, or none that is valid.
    """

    def __init__(self, content_type: str, limits: FormLimits) -> None:
        boundary = parse_options_header(content_type)[1].get("boundary", "")
        if not boundary:
            raise BadRequest("The multipart form has no boundary in its Content-Type.")
        encoded = boundary.encode("utf-8", "surrogateescape")
        parts = float("inf") if limits.parts is None else limits.parts
        try:
            self._parser = PushMultipartParser(encoded, max_segment_count=parts)
        except MultipartError as error:
            raise _answer_to(error) from error
        # The end of a part without a body, by the grammar of RFC 2046, section 5.1.1: the line break that ends the
        # headers is that of the boundary. The parser wants another one. Werkzeug's and Quart's test clients send it so.
        self._dashes = b"--" + encoded
        self._bodiless = b"\r\n\r\n" + self._dashes
        self._delimiter = b"\r\n" + self._dashes
        self._held = b""
        self._tail = b""
        # The last event was a head, and not a byte came since.
        self._behind_head = False
        self._is_plain = False
        # In the body of a part, and the parser keeps no bytes that may be the start of its end.
        self._in_plain_body = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that are in the next bytes of the body, or with ``b""`` in its end.

        All of them must be taken before more bytes are fed.

        :raises BadRequest: this is no whole multipart form.
        :raises RequestEntityTooLarge: it has too many parts.
        """
        if self._in_plain_body and data and not self._held and not self._may_end(data):
            # One search instead of two, and nothing to do for most of a large file.
            yield data
            return
        ended = not data
        data = self._held + data if self._held else data
        self._held = b""
        if self._behind_head and not ended:
            if len(data) < len(self._dashes) and self._dashes.startswith(data):
                self._held = data
                return
            if data.startswith(self._dashes):
                data = b"\r\n" + data
            self._behind_head = False
        while (index := data.find(self._bodiless)) >= 0:
            yield from self._parse_line(data[: index + 4])
            data = (b"\r\n" if self._behind_head else b"") + data[index + 4 :]
        if not ended and (overlap := _overlap(data, self._bodiless)):
            split = len(data) - overlap
            if overlap >= 4:
                # A head that is complete must not wait for what is behind it.
                split += 4
                yield from self._parse_line(data[:split])
                self._held = data[split:]
                self._in_plain_body = False
                return
            data, self._held = data[:split], data[split:]
        if data:
            yield from self._parse(data)
            # As much as the parser may keep: a boundary and one of the two bytes that tell which one it is.
            kept = len(self._delimiter) + 1
            self._tail = (self._tail + data[-kept:])[-kept:]
            self._in_plain_body = self._is_plain and not self._may_end(self._tail)
        if ended:
            yield from self._parse(b"")

    def _parse_line(self, data: bytes) -> Iterator[Event]:
        """Parse some data that ends with a line break, to know whether that very line break ends a head."""
        if len(data) > 2:
            yield from self._parse(data[:-2])
        self._behind_head = False
        yield from self._parse(b"\r\n")
        self._tail = b"\r\n"

    def _may_end(self, data: bytes) -> bool:
        return contains(data, self._delimiter) or _overlap(data, self._delimiter) > 0

    def _parse(self, data: bytes) -> Iterator[Event]:
        try:
            for event in self._parser.parse(data):
                if isinstance(event, MultipartSegment):
                    self._behind_head = True
                    # The parser has to count the bytes of a part that says how many it has.
                    self._is_plain = event.header("Content-Length") is None
                    yield self._head(event)
                else:
                    self._behind_head = False
                    self._is_plain = self._is_plain and event is not PART_END
                    yield event
        except MultipartError as error:
            raise _answer_to(error) from error

    def _head(self, segment: MultipartSegment) -> PartHead:
        headers = Headers(segment.headerlist)
        return PartHead(segment.name or "", segment.filename, headers.get("Content-Type", ""), headers)


def _overlap(data: bytes, pattern: bytes) -> int:
    """How many bytes at the end of some data may be the start of a pattern, which starts with a carriage return."""
    start = data.find(b"\r", max(len(data) - len(pattern) + 1, 0))
    while start >= 0:
        if pattern.startswith(data[start:]):
            return len(data) - start
        start = data.find(b"\r", start + 1)
    return 0


def _answer_to(error: MultipartError) -> HTTPException:
    if isinstance(error, ParserLimitReached):
        return RequestEntityTooLarge(f"The multipart form is too large: {error}.")
    return BadRequest(f"The multipart form is broken or ends too early: {error}.")
