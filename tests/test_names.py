"""File names. The rules are pure functions, so most tests check properties."""

from __future__ import annotations

import time
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.utils import secure_filename

from quart_uploads._exceptions import InvalidName
from quart_uploads._extensions import lowercase_ext
from quart_uploads._names import (
    MAX_DEPTH,
    check_basename,
    check_stored,
    clean_basename,
    clean_filename,
    clean_folder,
    cut,
    free_number,
    is_stored,
    numbered,
)
from quart_uploads._wording import shown

#: Names that need the joiners: Persian, "PDFs" in Persian, Hindi, a person at work, and what else emoji join.
JOINED = ["عکس\u200cها", "PDF\u200cها", "क्\u200dष", "👩🏽\u200d🚀", "❤️\u200d🔥", "👩\u200d❤️\u200d👨", "🙂\u200d↔️"]


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


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("dir\\sub\\cat.jpg", "cat.jpg"),
        ("C:\\fakepath\\cat.jpg", "cat.jpg"),
        ("\\\\server\\写真\\cat.tar.gz", "cat.tar.gz"),
        ("C:\\x.y\\写真", "写真"),
        ("dir\\cat.jpg\\", "cat.jpg"),
        ("..\\..\\cat.jpg", "cat.jpg"),
        ("a/b\\c/cat.jpg", "c_cat.jpg"),
        ("\\", ""),
        ("C:\\..", ""),
        ("dir/sub/cat.jpg", "dir_sub_cat.jpg"),
        ("???.jpg", "file.jpg"),
        ("€.jpg", "file.jpg"),
        ("  .JPG", "file.JPG"),
        ("._.jpg", "file.jpg"),
        ("\u202e.jpg", "file.jpg"),
        ("C:\\???.jpg", "file.jpg"),
        ("?.写", "file.写"),
        ("???.tar.gz", "tar.gz"),
        ("?." + "x" * 300, "file." + "x" * 234),
        (".jpg", "jpg"),
        ("..jpg", "jpg"),
        (".htaccess", "htaccess"),
        ("?.?", ""),
        ("€", ""),
        ("€.", ""),
        ("a.?", "a"),
    ],
)
def test_what_a_client_calls_a_file_keeps_its_last_segment_and_its_extension(sent: str, stored: str) -> None:
    assert clean_basename(sent) == stored
    assert clean_basename(stored) == stored


@pytest.mark.parametrize("stem", JOINED)
def test_joiners_stay_where_writing_needs_them(stem: str) -> None:
    name = unicodedata.normalize("NFC", f"{stem}.jpg")
    assert clean_filename(name) == name
    assert check_basename(name) == name
    assert check_stored(f"{name}/{name}") == f"{name}/{name}"
    assert is_stored(name)
    assert clean_folder(f"{stem}/a") == f"{name.removesuffix('.jpg')}/a"


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d"])
@pytest.mark.parametrize(
    "name", ["{}写.jpg", "写{}.jpg", "写.{}jpg", "写.jpg{}", "写_{}真", "写-{}真", "写a{}b.jpg", "{}"]
)
def test_joiners_that_join_nothing_go_and_no_hook_brings_them_in(name: str, joiner: str) -> None:
    with_joiner, without = name.replace("{}", joiner), name.replace("{}", "")
    assert clean_filename(with_joiner) == without
    with pytest.raises(InvalidName):
        check_basename(with_joiner)


def test_of_several_joiners_the_first_stays() -> None:
    assert clean_filename("عکس\u200c\u200d\u200cها.jpg") == "عکس\u200cها.jpg"
    assert clean_filename("عکس\u200c\u200d\u200c.jpg") == "عکس.jpg"


@given(st.text(st.sampled_from("aé写\u0301\u200c\u200d\ufe0f🏽❤._- "), max_size=300))
def test_a_cut_or_numbered_name_ends_with_no_joiner(name: str) -> None:
    for cleaned in (clean_filename(name), clean_basename(name)):
        assert clean_filename(cleaned) == cleaned
        if cleaned:
            assert check_basename(cleaned) == cleaned
            assert check_basename(numbered(cleaned, 12)) == numbered(cleaned, 12)
    assert not cut(name.strip("._ \u200c\u200d") + ".jpg", 20).removesuffix(".jpg").endswith(("\u200c", "\u200d"))


@given(st.text(max_size=300))
def test_a_clean_basename_is_a_clean_filename(name: str) -> None:
    cleaned = clean_basename(name)
    assert len(cleaned.encode()) <= 255
    assert clean_filename(cleaned) == clean_basename(cleaned) == cleaned


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
    categories = {unicodedata.category(character) for character in cleaned if character not in "\u200c\u200d"}
    assert categories.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})


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
    assert cut("हि" * 5 + ".jpg", 19) == "हि" * 2 + ".jpg"
    assert cut("x." + "y" * 300, 10) == "x.yyyyyyyy"


def test_a_set_shows_names_in_as_many_folders_as_it_makes() -> None:
    deepest = clean_folder("/".join(["d"] * MAX_DEPTH))
    assert is_stored(f"{deepest}/a.jpg")
    assert not is_stored(f"{deepest}/d/a.jpg")
    with pytest.raises(InvalidName, match="100 folders deep"):
        clean_folder(f"{deepest}/d")


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
    "mark", ["\u0301", "\u0344", "\u0f73", "\u0323\u0301", "a\u0323\u0301", "\u200d", "\U0001d165"]
)
def test_a_name_of_marks_costs_no_more_cpu_than_one_of_letters(mark: str) -> None:
    """Sorting marks for NFC takes quadratic time and holds the GIL."""

    def cost(text: str) -> float:
        name = (text * 20_000)[:20_000]
        start = time.thread_time()
        clean_basename(f"{name}.jpg")
        with suppress(InvalidName):
            check_basename(f"{name}.jpg")
        with suppress(InvalidName):
            clean_folder(f"a/{name}")
        shown(name)
        return time.thread_time() - start

    assert min(cost(mark) for _ in range(3)) < 20 * min(cost("é") for _ in range(3))


@given(st.text(alphabet="\u0301\u0344\u0f73\u200c\u202eaé", max_size=200))
def test_a_letter_keeps_its_first_thirty_marks(name: str) -> None:
    cleaned = clean_filename(f"a{name}a")
    assert clean_filename(cleaned) == cleaned
    marks = [unicodedata.category(character)[0] == "M" for character in cleaned]
    assert not any(all(marks[start : start + 31]) for start in range(len(marks) - 30))


@pytest.mark.parametrize("letter", ["d", "é", "€d", "写"])
def test_a_folder_is_never_cut_as_two_must_not_become_one(letter: str) -> None:
    kept = letter.replace("€", "")
    longest = 255 // len(kept.encode())
    assert clean_folder(f"a/{letter * longest}/b") == f"a/{kept * longest}/b"
    with pytest.raises(InvalidName, match="is longer than 255 bytes"):
        clean_folder(f"a/{letter * (longest + 1)}/b")
    assert len(clean_filename(letter * 300).encode()) <= 239, "a file's name is, with room for a number"


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
