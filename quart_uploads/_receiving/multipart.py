"""Multipart forms (RFC 7578), decoded as they arrive. This does no I/O."""

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

#: The most bytes of the headers of one part, and the most bytes before the first boundary.
MAX_HEAD: Final = 16 << 10
#: The most spaces and tabs that may follow a boundary (RFC 2046, section 5.1.1, "transport-padding").
MAX_PADDING: Final = 64

#: The most lines that begin like the boundary and are none: so many, and one more for so many bytes of the form. Each
#: line takes time to check. Source code has fewer, even if its banners begin like the boundary "*****".
MAX_LOOKALIKES: Final = 1000
BYTES_OF_LOOKALIKE: Final = 512

# RFC 2046, section 5.1.1, allows 70 of these characters, without the asterisk. Here a boundary may be longer, and have
# asterisks: many Android apps use "*****", because their authors copied one example.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?* -]{0,199}[0-9A-Za-z'()+_,./:=?*-]")

Event = PartHead | bytes | None


@dataclass(frozen=True)
class FormLimits:
    """The limits of a form; ``None`` for no limit.

    :param memory: the most bytes of one field that is not a file (``MAX_FORM_MEMORY_SIZE``).
    :param parts: the most fields and files together (``MAX_FORM_PARTS``).
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

    It does not matter how the bytes are cut into pieces. The decoder keeps only bytes that may be the start of a
    delimiter, or the headers of one part.

    A form has one kind of line break: the one after its first boundary. RFC 7578 requires CRLF. Like Werkzeug, this
    also accepts forms that have LF or CR throughout.

    :param content_type: the Content-Type of the request.
    :param limits: the limits of the form.
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
        # Numbers of bytes: those skipped before the first boundary, those in which the head is known not to end, and
        # those before the content that may belong to a delimiter.
        self._skipped = 0
        self._searched = 0
        self._margin = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events of the next bytes of the body. With ``b""``, check that the form is complete.

        Take all events before you feed more bytes.

        :raises BadRequest: the form is broken, or not complete.
        :raises RequestEntityTooLarge: it has too many parts, or the headers of a part are too many or too large.
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
        """Skip what is before the first boundary. It may end on the line of the boundary."""
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
        """Read the headers of a part. The position is that of the line break before them."""
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
        """Read the content of a part. At its beginning, the position is that of the line break before it."""
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

    :param text: the bytes that it begins with.
    :param line_break: a pattern of the line break at its end.
    """

    def __init__(self, text: bytes, line_break: bytes) -> None:
        self._text = text
        self._rest = _rest_of_line(line_break)
        self._lookalikes = 0
        self._searched = 0
        # A boundary contains no line break.
        self._begins_uniquely = text[:1] in b"\r\n"

    def find(self, data: bytes, position: int) -> tuple[int, re.Match[bytes] | None]:
        """Return the position of the first delimiter, and the match of what follows its text.

        If there is none, return the position from which the data may be the start of one, and ``None``.

        :raises BadRequest: too much of the data begins like a delimiter. Checking all of it would take long.
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
                raise BadRequest("The multipart form is broken: too much of its content begins like its boundary.")
            start = data.find(self._text, start + 1)
        return self._start_of_part(data, position), None

    def _start_of_part(self, data: bytes, position: int) -> int:
        """Return the position from which the end of the data may be the start of the text."""
        tail = max(position, len(data) - len(self._text) + 1)
        if not self._begins_uniquely:  # the first delimiter, before which all bytes are skipped
            return tail
        start = data.rfind(self._text[:1], tail)
        return start if start >= 0 and self._text.startswith(data[start:]) else len(data)


@cache
def _rest_of_line(line_break: bytes) -> re.Pattern[bytes]:
    """Return the pattern of what may follow a boundary, even if the data ends within it. ``--`` marks the last one."""
    return re.compile(
        rb"(?P<last>--)|[ \t]{0,%d}+(?:(?P<line_break>%s)|(?P<padding>[ \t])|(?P<unfinished>[\r-]?\Z))"
        % (MAX_PADDING, line_break)
    )
