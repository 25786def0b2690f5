"""Hostile forms: the answer does not depend on the pieces, and takes linear time and little memory."""

from __future__ import annotations

import time
import tracemalloc
from itertools import pairwise

import pytest
from decoding import in_pieces, outcome
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException

from quart_uploads._receiving.multipart import MAX_HEAD, MAX_PADDING, FormDecoder, FormLimits

FRAGMENTS = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\r",
            b"\n",
            b"--",
            b"-",
            b"--b",
            b"\r\n--b",
            b"--b--",
            b"\r\n--b\r\n",
            b"--b \t\r\n",
            b" ",
            b"\t",
            b"x",
        ),
        *(
            b"Content-Disposition: form-data",
            b'; name="f"',
            b'; filename="a"',
            b"; filename*=UTF-8''%e5",
            b":",
            b";",
            b'"',
        ),
        *(
            b"\r\n\r\n",
            b"\r\n\r\n--b",
            b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n',
            b"\xe9",
            b"\\",
            b"=",
        ),
    ]
)


@given(fragments=st.lists(FRAGMENTS, max_size=30), cuts=st.lists(st.integers(0, 1000), max_size=5))
def test_the_pieces_never_decide_what_a_form_has(fragments: list[bytes], cuts: list[int]) -> None:
    body = b"".join(fragments)
    content_type = "multipart/form-data; boundary=b"
    whole = outcome([body] if body else [], content_type)
    assert isinstance(whole, list) or whole[0] in (400, 413)
    assert outcome(in_pieces(body, 1), content_type) == whole
    points = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    assert outcome([body[start:stop] for start, stop in pairwise(points)], content_type) == whole


ATTACKS = {
    "carriage returns": lambda dashes: b"\r",
    "line breaks": lambda dashes: b"\r\n",
    "almost boundaries": lambda dashes: b"\r\n" + dashes[:-1] + b"!",
    "boundaries that go on": lambda dashes: b"\r\n" + dashes + b"!",
    "padding": lambda dashes: b"\r\n" + dashes + b" " * MAX_PADDING + b"!",
}
# The bytes before the repeated ones.
PLACES = {
    "preamble": lambda dashes: b"",
    "content": lambda dashes: dashes + b'\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n',
    "header": lambda dashes: dashes + b"\r\nContent-Disposition: form-data; ",
    "name": lambda dashes: dashes + b'\r\nContent-Disposition: form-data; name="',
    "delimiter": lambda dashes: dashes,
    "epilogue": lambda dashes: dashes + b"--",
}


def cpu(pieces: list[bytes], content_type: str) -> float:
    start = time.thread_time()
    outcome(pieces, content_type)
    return time.thread_time() - start


@pytest.mark.parametrize("boundary", ["b", "-" * 200, "----WebKitFormBoundary7MA4YWxkTrZu0gW", "='" * 100])
@pytest.mark.parametrize(
    ("size", "amount"), [pytest.param(1, 20_000, marks=pytest.mark.slow), (1000, 1 << 20), (65_536, 4 << 20)]
)
def test_hostile_bytes_cost_little_more_than_zeros(boundary: str, size: int, amount: int) -> None:
    """This measures CPU time, not elapsed time, and allows for some error."""
    dashes = b"--" + boundary.encode()
    content_type = f'multipart/form-data; boundary="{boundary}"'

    def best(start: bytes, repeated: bytes) -> float:
        pieces = in_pieces(start + repeated * (amount // len(repeated)), size)
        return min(cpu(pieces, content_type) for _ in range(3))

    # Reading zeros takes almost no time, so a share for each piece and each byte is added.
    zeros = best(PLACES["content"](dashes), b"\0") + amount / size * 5e-6 + amount * 1e-9
    for place, start in PLACES.items():
        for attack, repeated in ATTACKS.items():
            assert best(start(dashes), repeated(dashes)) < 5 * zeros, f"{attack} in the {place}"


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_hostile_bytes_take_no_memory(place: str) -> None:
    """The decoder keeps at most the headers of one part."""
    dashes = b"--boundary"
    for repeated in [*ATTACKS.values(), lambda dashes: b"\0", lambda dashes: b" ", lambda dashes: b"a: b\r\n"]:
        decoder = FormDecoder("multipart/form-data; boundary=boundary", FormLimits(parts=1000))
        hostile = repeated(dashes)
        if start := PLACES[place](dashes):
            assert len([*decoder.feed(start)]) <= 1
        tracemalloc.start()
        try:
            for _ in range(20_000):
                for _ in decoder.feed(hostile):
                    pass
        except HTTPException as error:
            assert error.code in (400, 413)  # noqa: PT017
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 8 * MAX_HEAD, f"{hostile!r}: {peak}"
