"""The parser of forms: whatever an independent client encodes comes back, however it is cut."""

from __future__ import annotations

import operator
import os
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3 import encode_multipart_formdata
from urllib3.fields import RequestField
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from quart_uploads import search
from quart_uploads.forms import FormDecoder, FormLimits, PartHead
from quart_uploads.reading import Reading
from quart_uploads.steps import drive

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
    decoder = FormDecoder(content_type, NO_LIMITS)
    parts: list[Any] = []
    points = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, stop in [*pairwise(points), (len(body), len(body))]:
        for event in decoder.feed(body[start:stop]):
            if isinstance(event, PartHead):
                parts.append([event.name, event.filename, b""])
            elif event is not None:
                parts[-1][2] += event
    return [(name, filename, content) for name, filename, content in parts]


@pytest.mark.parametrize("look", [search.contains, operator.contains])
@given(data=CONTENT, pattern=st.binary(min_size=1, max_size=8) | st.just(b"\r\n--boundary"), at=st.integers(0, 300))
def test_a_boundary_is_found_wherever_it_is(look: Any, data: bytes, pattern: bytes, at: int) -> None:
    assert look(data, pattern) == (data.find(pattern) >= 0)
    assert look(data[:at] + pattern + data[at:], pattern)
    assert not look(b"", pattern)


@settings(max_examples=300)
@given(parts=PARTS, cuts=st.lists(st.integers(0, 10_000), max_size=20))
def test_any_form_cut_anywhere_comes_back_equal(parts: list[Part], cuts: list[int]) -> None:
    if any(b"boundary0" in content for _, _, content in parts):
        return
    body, content_type = encode(parts)
    assert decode(body, content_type, cuts) == parts


def test_a_form_cut_at_every_byte_comes_back_equal() -> None:
    parts: list[Part] = [("a", None, b"text"), ("f", "写真.bin", b"\r\n--boundary\r\n--\r\r\n-"), ("e", "e", b"")]
    body, content_type = encode(parts)
    for cut in range(len(body)):
        assert decode(body, content_type, [cut]) == parts
    assert decode(body, content_type, list(range(len(body)))) == parts


@pytest.mark.parametrize("multiple", range(1, 5))
def test_sizes_around_every_multiple_of_64_kib_are_exact(multiple: int) -> None:
    for size in range(multiple * 65_536 - 300, multiple * 65_536 + 3):
        parts: list[Part] = [("f", "a.bin", b"x" * size)]
        body, content_type = encode(parts)
        cuts = list(range(0, len(body), 65_536))
        assert [len(part[2]) for part in decode(body, content_type, cuts)] == [size]


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="a\nb"']
)
def test_a_missing_boundary_is_a_bad_request(content_type: str) -> None:
    with pytest.raises(BadRequest, match="boundary"):
        FormDecoder(content_type, NO_LIMITS)


@given(cut=st.integers(0, 10_000))
def test_a_form_that_ends_early_is_a_bad_request(cut: int) -> None:
    body, content_type = encode([("a", None, b"text"), ("f", "a.bin", b"content" * 20)])
    cut %= len(body) - 4  # behind that, all but the last line break is there
    with pytest.raises(BadRequest, match="broken or ends too early"):
        decode(body[:cut], content_type, [])


@pytest.mark.parametrize(
    "body",
    [
        b"--other\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--other--\r\n",
        b"--b\r\n\r\nno header\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=a\n\nx\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nnonsense\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=\xff\r\n\r\nx\r\n--b--\r\n",
        b"--bX",
        b"",
    ],
)
def test_what_is_no_form_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(body, "multipart/form-data; boundary=b", [])


def reading(body: bytes, content_type: str, limits: FormLimits) -> Reading:
    chunks = iter([body, b""])
    return Reading(content_type, limits, lambda may_pause: next(chunks), lambda function: function())


def test_parts_without_a_body_are_empty_wherever_they_are_cut() -> None:
    """As Werkzeug's and Quart's test clients send an empty file."""
    head = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    for body, contents in [
        (b"\r\n" + head + b"--b--\r\n", [b""]),
        (head + head + b"\r\n" + head + b"x\r\n\r\n" + head + b"--b--\r\n", [b"", b"", b"x\r\n", b""]),
    ]:
        for cut in range(len(body)):
            assert [part[2] for part in decode(body, "multipart/form-data; boundary=b", [cut])] == contents
        every = list(range(len(body)))
        assert [part[2] for part in decode(body, "multipart/form-data; boundary=b", every)] == contents


def test_a_head_does_not_wait_for_what_is_behind_it() -> None:
    for content in (b"", b"x", b"\r\n"):
        body, content_type = encode([("f", "a.bin", content)])
        cut = body.index(b"\r\n\r\n") + 4
        decoder = FormDecoder(content_type, NO_LIMITS)
        assert [type(event) for event in decoder.feed(body[:cut])] == [PartHead]
        assert b"".join(filter(None, decoder.feed(body[cut:]))) == content


def test_limits_of_fields_and_parts_are_kept() -> None:
    body, content_type = encode([("a", None, b"x" * 10), ("b", None, b"x" * 10)])
    for limits, fits in [
        (FormLimits(memory=10, parts=2), True),
        (FormLimits(memory=9, parts=2), False),
        (FormLimits(memory=10, parts=1), False),
    ]:
        form = reading(body, content_type, limits).collect(None, lambda spool, head: None)  # type: ignore[arg-type, return-value]
        if fits:
            assert drive(form) == ([("a", "x" * 10), ("b", "x" * 10)], [])
        else:
            with pytest.raises(RequestEntityTooLarge):
                drive(form)


def test_a_part_that_is_not_read_is_passed_over() -> None:
    body, content_type = encode([("a", "a", os.urandom(100_000)), ("b", None, b"text")])
    form = reading(body, content_type, NO_LIMITS)
    first = drive(form.next_part())
    second = drive(form.next_part())
    assert first is not None
    assert second is not None
    assert (first.name, second.name) == ("a", "b")
    assert drive(form.text(second)) == "text"
    assert drive(form.next_part()) is None
    assert drive(form.next_part()) is None
