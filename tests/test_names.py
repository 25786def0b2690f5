"""File names: pure rules, so properties."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.utils import secure_filename

from quart_uploads.extensions import lowercase_ext
from quart_uploads.names import (
    check_stored,
    clean_filename,
    clean_folder,
    cut,
    free_number,
    numbered,
)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("My cool photo.JPG", "My_cool_photo.JPG"),
        ("写真.jpg", "写真.jpg"),
        ("фото из отпуска.jpg", "фото_из_отпуска.jpg"),
        ("हिन्दी.jpg", "हिन्दी.jpg"),
        ("cafe\u0301.jpg", "café.jpg"),
        ("🎉.jpg", "🎉.jpg"),
        ("写/真\\x.jpg", "写_真x.jpg"),
        ("\u202egpj.exe写", "gpj.exe写"),
        ("写\u200b\u2066\x85真.jpg", "写_真.jpg"),
        ("\uff0e\uff0e／etc写", "etc写"),
        ("..", ""),
        ("…", ""),
        ("._写.", "写"),
        ("", ""),
    ],
)
def test_a_name_keeps_its_letters_and_nothing_dangerous(sent: str, stored: str) -> None:
    assert clean_filename(sent) == stored


@given(st.text(st.characters(max_codepoint=127), max_size=200))
def test_ascii_names_come_out_as_werkzeug_makes_them(name: str) -> None:
    assert clean_filename(name) == secure_filename(name)


@given(st.text(max_size=300))
def test_a_clean_name_is_short_normal_and_stays_as_it_is(name: str) -> None:
    cleaned = clean_filename(name)
    assert len(cleaned.encode()) <= 255
    assert clean_filename(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not set(cleaned) & set("/\\\0\n\r\t ")
    assert not cleaned.startswith((".", "_"))
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs") for character in cleaned)


@given(st.text(max_size=300), st.integers(1, 10**9))
def test_numbered_names_fit_and_keep_the_extension(name: str, number: int) -> None:
    cleaned = lowercase_ext(clean_filename(name)) or "x.jpg"
    namesake = numbered(cleaned, number)
    assert namesake != cleaned
    assert len(namesake.encode()) <= 255
    assert f"_{number}" in namesake


def test_a_name_is_cut_between_characters() -> None:
    assert cut("é" * 300 + ".jpg", 11) == "ééé.jpg"
    # A letter and its mark, which NFC has no single character for, stay together or go together.
    assert cut("q\u0308" * 5 + ".jpg", 12) == "q\u0308" * 2 + ".jpg"
    assert cut("x." + "y" * 300, 10) == "x.yyyyyyyy"


@given(st.sets(st.integers(1, 300)), st.integers(0, 20))
def test_a_free_number_is_free(taken: set[int], above: int) -> None:
    number = free_number(taken.__contains__, above)
    assert number > above
    assert number not in taken


@given(st.integers(0, 10**9))
def test_a_free_number_follows_the_taken_ones_and_is_found_in_twice_log_n(count: int) -> None:
    looked_up: list[int] = []
    number = free_number(lambda n: bool(looked_up.append(n)) or n <= count)
    assert number == count + 1
    assert len(looked_up) <= 2 * (count + 1).bit_length() + 1


@given(st.text(max_size=50))
def test_a_clean_folder_has_clean_segments(folder: str) -> None:
    try:
        cleaned = clean_folder(folder)
    except ValueError:
        return
    for segment in cleaned.split("/") if cleaned else ():
        assert clean_filename(segment) == segment != ""


@pytest.mark.parametrize(
    ("filename", "folder", "stored"),
    [
        ("a.jpg", None, "a.jpg"),
        ("users/42/a.jpg", None, "users/42/a.jpg"),
        ("a.jpg", "users/42/", "users/42/a.jpg"),
        ("./a//b.jpg", None, "a/b.jpg"),
        ("A b?.JPG", None, "A b?.JPG"),
    ],
)
def test_a_stored_name_may_be_any_that_lies_inside(filename: str, folder: str | None, stored: str) -> None:
    assert check_stored(filename, folder) == stored


@pytest.mark.parametrize(
    ("filename", "folder"),
    [
        ("../../etc/passwd", None),
        ("a/../../b", None),
        ("..", None),
        ("/etc/passwd", None),
        ("/etc/passwd", "f"),
        ("a.jpg", "../f"),
        ("a.jpg", "/f"),
        ("..\\..\\a", None),
        ("a\0.jpg", None),
        ("a\n.jpg", None),
        ("\udcff.jpg", None),
        ("", None),
        (".", None),
        ("a/", None),
    ],
)
def test_a_stored_name_never_points_outside(filename: str, folder: str | None) -> None:
    with pytest.raises(ValueError, match=r"traversal|does not name a file"):
        check_stored(filename, folder)
