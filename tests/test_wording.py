"""Names and sizes in messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quart_uploads._wording import readable_size, shown


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1023, "1.02 kB"),
        (1024, "1 KiB"),
        (64 << 10, "64 KiB"),
        (500_000, "500 kB"),
        (1_500_000, "1.5 MB"),
        (2_000_000, "2 MB"),
        (2 << 20, "2 MiB"),
        (1_050_000, "1.05 MB"),
        (1_999_999, "1.99 MB"),
        (3_000_000_000, "3 GB"),
        (5 << 40, "5120 GiB"),
    ],
)
def test_a_size_is_said_in_the_unit_that_it_was_meant_in(size: int, said: str) -> None:
    assert readable_size(size) == said


@given(st.integers(0, 10**13))
def test_what_is_larger_than_a_size_is_larger_than_what_is_said_of_it(size: int) -> None:
    number, unit = readable_size(size).split()
    factors = {"byte": 1, "bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    assert 0.98 * size <= float(number) * factors[unit] <= size * (1 + 1e-9)


@pytest.mark.parametrize(
    ("filename", "text"),
    [
        ("My photo (1)?.jpg", "My photo (1)?.jpg"),
        ("a/b.jpg", "a/b.jpg"),
        ("C:\\fakepath\\b.jpg", "b.jpg"),
        ("C:\\", "C:\\"),
        ("Screenshot 3.15\u202fPM.png", "Screenshot 3.15 PM.png"),
        ("عکس\u200cها.jpg", "عکس\u200cها.jpg"),
        ("\u202egpj.exe", "\ufffdgpj.exe"),
        ("a\r\nb\x1b[1m\udc80", "a\ufffd\ufffdb\ufffd[1m\ufffd"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 80 + "…" + "x" * 20),
    ],
)
def test_a_name_is_shown_as_it_was_sent_but_for_what_garbles_a_page_or_a_log(filename: str, text: str) -> None:
    assert shown(filename) == text


@given(st.text(max_size=300))
def test_a_shown_name_is_short_and_printable(filename: str) -> None:
    text = shown(filename)
    assert len(text) <= 101
    assert text.replace("\u200c", "").replace("\u200d", "").isprintable()
