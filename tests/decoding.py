"""Encode and decode forms without a framework."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from urllib3 import encode_multipart_formdata
from urllib3.fields import RequestField
from werkzeug.exceptions import HTTPException

from quart_uploads._receiving.multipart import FormDecoder, FormLimits
from quart_uploads._receiving.part_head import PartHead

NO_LIMITS = FormLimits()

# What a client may put into a header; quotes and line breaks are escaped by the encoder as browsers do.
NAMES = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='"\\%'), min_size=1, max_size=20)
CONTENT = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"-", b"boundary", b"\r\n--boundary", b"x"])).map(b"".join),
)
PARTS = st.lists(st.tuples(NAMES, st.none() | NAMES, CONTENT), max_size=5)

Part = tuple[str, str | None, bytes]


def encode(parts: list[Part], boundary: str = "boundary0") -> tuple[bytes, str]:
    fields = []
    for name, filename, content in parts:
        field = RequestField(name, content, filename)
        disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
        field.headers["Content-Disposition"] = disposition
        fields.append(field)
    body, content_type = encode_multipart_formdata(fields, boundary)
    return body, content_type


def decode(body: bytes, content_type: str, cuts: list[int]) -> list[Part]:
    points = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return decode_pieces([body[start:stop] for start, stop in pairwise(points)], content_type)


def decode_pieces(pieces: list[bytes], content_type: str) -> list[Part]:
    decoder = FormDecoder(content_type, FormLimits(parts=1000))
    parts: list[Any] = []
    for piece in [*pieces, b""]:
        for event in decoder.feed(piece):
            if isinstance(event, PartHead):
                parts.append((event.name, event.filename, []))
            elif event is not None:
                parts[-1][2].append(event)
    return [(name, filename, b"".join(content)) for name, filename, content in parts]


def outcome(pieces: list[bytes], content_type: str) -> list[Part] | tuple[int, str]:
    """Return the parts of a form, or its error."""
    try:
        return decode_pieces(pieces, content_type)
    except HTTPException as error:
        return int(error.code or 0), error.description or ""


def in_pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]
