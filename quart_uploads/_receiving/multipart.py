"""Multipart forms (RFC 7578), decoded as they arrive. Knows no I/O and no framework."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Final

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from .part_head import PartHead, parameters, parse_head

#: The event that ends a part.
PART_END: Final = None

#: Bytes that the headers of one part may have, and what is before the first boundary.
MAX_HEAD: Final = 16 << 10
#: Spaces and tabs that may follow a boundary (RFC 2046, section 5.1.1, "transport-padding").
MAX_PADDING: Final = 64

#: Lines that may begin with the boundary and go on otherwise: so many, and one more for so many bytes of the form.
#: Each costs as much as a few thousand bytes. Source code whose banners begin like the boundary "*****" has fewer.
MAX_LOOKALIKES: Final = 1000
BYTES_OF_LOOKALIKE: Final = 512

# RFC 2046, section 5.1.1, which has 70 of these characters, but for the asterisk: "*****" is the boundary of many
# Android apps, whose authors copied one example.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?* -]{0,199}[0-9A-Za-z'()+_,./:=?*-]")

Event = PartHead | bytes | None


@dataclass(frozen=True)
class FormLimits:
    """What a form may have; ``None`` for no limit.

    :param memory: bytes of one field that is not a file (``MAX_FORM_MEMORY_SIZE``).
    :param parts: fields and files (``MAX_FORM_PARTS``).
    """

    memory: int | None = None
    parts: int | None = None


class _State(Enum):
    PREAMBLE = auto()
    HEAD = auto()
    CONTENT = auto()
    EPILOGUE = auto()


class FormDecoder:
    """Turns the bytes of a form into events: a head, some bytes, and the end of the part.

    The events are the same however the bytes are cut into pieces, and no more is kept of them than may be the start of
    a delimiter, or the headers of one part.

    A form has one kind of line break, that behind its first boundary. RFC 7578 has CRLF; like Werkzeug, this takes
    forms of clients that have LF or CR throughout.

    :param content_type: the Content-Type of the request.
    :param limits: what the form may have.
    :raises BadRequest: the content type has no boundary, or none that is valid.
    """

    def __init__(self, content_type: str, limits: FormLimits) -> None:
        boundary = parameters(content_type).get("boundary", "")
        if not boundary:
            raise BadRequest("The multipart form has no boundary in its Content-Type.")
        if _BOUNDARY.fullmatch(boundary) is None:
            raise BadRequest("The boundary of the multipart form is too long, or has characters that RFC 2046 forbids.")
        self._dashes = b"--" + boundary.encode()
        self._held = b""
        self._line_break = b""
        self._delimiter = _Delimiter(self._dashes, rb"(?:\r\n|\n|\r(?=[^\n]))")
        self._state = _State.PREAMBLE
        self._parts_left = float("inf") if limits.parts is None else limits.parts
        # Bytes that were skipped, that are known not to end the head, and that may begin a delimiter but no content.
        self._skipped = 0
        self._searched = 0
        self._margin = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that are in the next bytes of the body, or with ``b""`` look whether it may end there.

        All events must be taken before more bytes are fed.

        :raises BadRequest: this is no whole multipart form.
        :raises RequestEntityTooLarge: it has too many parts, or a part has too many headers.
        """
        if not data and self._state is not _State.EPILOGUE:
            raise BadRequest("The multipart form ends too early: its closing boundary is missing.")
        data = self._held + data if self._held else data
        self._held = b""
        position = 0
        while position < len(data):
            match self._state:
                case _State.PREAMBLE:
                    position = self._skip_preamble(data)
                case _State.HEAD:
                    position = yield from self._read_head(data, position)
                case _State.CONTENT:
                    position = yield from self._read_content(data, position)
                case _State.EPILOGUE:
                    return

    def _skip_preamble(self, data: bytes) -> int:
        """Skip what is before the first boundary, which may follow it on the same line."""
        end, line = self._delimiter.find(data, 0)
        self._skipped += end
        if self._skipped > MAX_HEAD:
            raise BadRequest(f"The multipart form is broken: its boundary is not in its first {MAX_HEAD:,} bytes.")
        if line is None:
            self._held = data[end:]
            return len(data)
        if line["last"] is None and line["padding"] is None:
            self._line_break = line["line_break"]
            self._delimiter = _Delimiter(self._line_break + self._dashes, re.escape(self._line_break))
        return self._pass_delimiter(line)

    def _read_head(self, data: bytes, position: int) -> Generator[Event, None, int]:
        """Read the headers of a part, from the line break before them."""
        size = len(self._line_break)
        end = data.find(self._line_break * 2, position + self._searched)
        if (len(data) - 2 * size if end < 0 else end) - position - size > MAX_HEAD:
            raise RequestEntityTooLarge(f"A part of the form has more than {MAX_HEAD:,} bytes of headers.")
        if end < 0:
            self._searched = max(len(data) - position - 2 * size + 1, 0)
            self._held = data[position:]
            return len(data)
        self._parts_left -= 1
        if self._parts_left < 0:
            raise RequestEntityTooLarge("The form has too many parts.")
        self._state = _State.CONTENT
        self._margin = size
        yield parse_head(data[position + size : end], self._line_break)
        return end + size

    def _read_content(self, data: bytes, position: int) -> Generator[Event, None, int]:
        """Read the content of a part, from the line break before it."""
        end, line = self._delimiter.find(data, position)
        begin = position + self._margin
        if end > begin:
            yield data[begin:end]
        if line is None:
            self._margin = max(begin - end, 0)
            self._held = data[end:]
            return len(data)
        yield PART_END
        return self._pass_delimiter(line)

    def _pass_delimiter(self, line: re.Match[bytes]) -> int:
        if line["padding"] is not None:
            raise BadRequest(f"The multipart form is broken: more than {MAX_PADDING} spaces follow a boundary.")
        if line["last"] is not None:
            self._state = _State.EPILOGUE
            return line.end()
        self._state = _State.HEAD
        self._searched = 0
        return line.start("line_break")


class _Delimiter:
    """The line between two parts.

    :param text: its first bytes.
    :param line_break: a pattern of what ends it.
    """

    def __init__(self, text: bytes, line_break: bytes) -> None:
        self._text = text
        self._rest = _rest_of_line(line_break)
        self._lookalikes = 0
        self._searched = 0
        # A line break is no character of a boundary.
        self._begins_uniquely = text[:1] in b"\r\n"

    def find(self, data: bytes, position: int) -> tuple[int, re.Match[bytes] | None]:
        """Return where the first one begins, and what follows its text.

        If there is none, return where the end of the data begins that may be the start of one, and ``None``.

        :raises BadRequest: too much looks like one, and is none. To look at each would take long.
        """
        self._searched += len(data) - position
        start = data.find(self._text, position)
        while start >= 0:
            end = start + len(self._text)
            if match := self._rest.match(data, end):
                if match["unfinished"] is not None:
                    return start, None
                self._searched -= len(data) - end
                return start, match
            self._lookalikes += 1
            if self._lookalikes > MAX_LOOKALIKES + (self._searched - len(data) + end) // BYTES_OF_LOOKALIKE:
                raise BadRequest("The multipart form is broken: its boundary is in the content of its parts.")
            start = data.find(self._text, start + 1)
        return self._start_of_part(data, position), None

    def _start_of_part(self, data: bytes, position: int) -> int:
        """Return where a part of the text may begin that the data ends with."""
        tail = max(position, len(data) - len(self._text) + 1)
        if not self._begins_uniquely:  # as that of the first one, before which no byte counts
            return tail
        start = data.rfind(self._text[:1], tail)
        return start if start >= 0 and self._text.startswith(data[start:]) else len(data)


@cache
def _rest_of_line(line_break: bytes) -> re.Pattern[bytes]:
    """What may follow a boundary, or the start of that at the end of the data. A dash more makes it the last one."""
    return re.compile(
        rb"(?P<last>--)|[ \t]{0,%d}+(?:(?P<line_break>%s)|(?P<padding>[ \t])|(?P<unfinished>[\r-]?\Z))"
        % (MAX_PADDING, line_break)
    )
