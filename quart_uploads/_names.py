"""File and folder names: clean the names that clients send, check stored names, and number conflicting names.

All functions are pure and work on strings. A *stored name* is relative to the destination of its set.
Its segments are separated by ``/``: ``users/42/photo.jpg``.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from werkzeug.utils import secure_filename

from ._exceptions import InvalidName
from ._wording import shown

#: Maximum length of a file name in bytes of UTF-8. ext4, XFS, btrfs, NTFS and APFS all accept names of this length.
MAX_BYTES = 255
#: Bytes that are reserved for the suffix of a conflicting name, such as ``_1``.
SUFFIX_BYTES = 16
#: Maximum length of an extension in bytes. Text after the last dot that is longer may be cut like the rest of the name.
MAX_EXTENSION_BYTES = 64
#: Maximum nesting depth of folders. Tools that recurse may fail on deeper ones.
MAX_DEPTH = 100

#: Maximum number of characters that are cleaned. Later ones would be cut anyway, unless most before them are dropped.
MAX_CHARACTERS = 4 * MAX_BYTES
#: Maximum number of marks on one character, as in Stream-Safe text (UAX 15, section 13). Sorting the marks takes
#: quadratic time, so a client could otherwise keep the server busy.
MAX_MARKS = 30

#: The stem of a file name if only the extension is left of it.
NAMELESS = "file"

_KEPT_PUNCTUATION = frozenset("-_.")
# Letters, marks and numbers. Control characters (Cc) and format characters (Cf) are dropped: some of the latter change
# the direction of text.
_KEPT_CATEGORIES = frozenset("LMN")
# Emoji also contain the five skin tones (Sk) and an arrow (Sm).
_KEPT_EMOJI = frozenset("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff\u2194")
# Persian, the languages of India and emoji need these two format characters: ZERO WIDTH NON-JOINER and JOINER.
_JOINERS = frozenset("\u200c\u200d")
_SEVERAL_JOINERS = re.compile("([\u200c\u200d])[\u200c\u200d]+")
_ENDS = "._ \u200c\u200d"


class StoredName(NamedTuple):
    """The name of a file within its set, as folder and basename. ``str()`` joins them with ``/``.

    Both parts are safe. ``folder`` is empty for a file at the top of the set.
    """

    folder: str
    basename: str

    def __str__(self) -> str:
        return posixpath.join(self.folder, self.basename)

    def numbered(self, number: int) -> StoredName:
        """Return this name with a number before its extension; see :func:`numbered`."""
        return StoredName(self.folder, numbered(self.basename, number))


def clean_basename(filename: str) -> str:
    """Return a safe basename for a name that a client sent, or ``""`` if nothing safe is left of it.

    Some clients send a Windows path; only its last segment is used. A client that cannot encode a name may send
    ``???.jpg``, which becomes ``file.jpg``. A dotfile has no extension: ``.jpg`` becomes ``jpg``.
    """
    filename = filename.rstrip("\\").rpartition("\\")[2]
    cleaned = clean_filename(filename)
    if cleaned and "." not in cleaned:
        stem, ext = os.path.splitext(filename)
        if ext and not clean_filename(stem):
            return cut(f"{NAMELESS}.{cleaned}")
    return cleaned


def clean_filename(filename: str) -> str:
    """Return a name that is safe to store, or ``""`` if nothing safe is left of it.

    For an ASCII name, the result is that of :func:`werkzeug.utils.secure_filename`. Other names keep their
    letters, in NFC (Unicode Standard Annex 15), and follow the same rules. Long names are cut.
    """
    if len(filename) > MAX_CHARACTERS and not filename.isascii():
        stem, ext = os.path.splitext(filename)
        filename = stem[:MAX_CHARACTERS] + ext[:MAX_CHARACTERS]
    return cut(_cleaned(filename))


def _cleaned(filename: str) -> str:
    if filename.isascii():
        return secure_filename(filename)
    filename = _normal(filename).replace("/", " ")
    filename = "_".join(filename.split())
    filename = _without_stray_joiners("".join(character for character in filename if _kept(character)))
    # Dropping a character may have joined two others that NFC composes.
    filename = _normal(filename).strip("._")
    return secure_filename(filename) if filename.isascii() else filename


def _normal(name: str) -> str:
    """Return a name in NFC, with at most MAX_MARKS marks on one character."""
    kept: list[str] = []
    marks = 0
    for character in name:
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        if marks <= MAX_MARKS:
            kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def _kept(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _KEPT_PUNCTUATION
    category = unicodedata.category(character)
    return category[0] in _KEPT_CATEGORIES or category == "So" or character in _JOINERS or character in _KEPT_EMOJI


def _without_stray_joiners(name: str) -> str:
    """Return a name without the joiners that have no effect. With them, two different names would look the same."""
    if _JOINERS.isdisjoint(name):
        return name
    name = _SEVERAL_JOINERS.sub(r"\1", name)
    neighbours = zip("." + name, name, name[1:] + ".", strict=False)
    return "".join(each for before, each, after in neighbours if each not in _JOINERS or _joins(before, after))


def _joins(before: str, after: str) -> bool:
    # One side may be ASCII: the Persian plural of "PDF" is "PDF", the non-joiner and a suffix.
    return _KEPT_PUNCTUATION.isdisjoint(before + after) and not (before + after).isascii()


def clean_folder(folder: str) -> str:
    """Return the path of a folder with every segment cleaned.

    Segments are never cut, unlike file names: two folders must not become one.

    :raises InvalidName: nothing is left of the path, or it is too deep, or a segment is too long.
    """
    given = folder.split("/")
    if len(given) > MAX_DEPTH:
        raise InvalidName(f"Invalid folder: it is more than {MAX_DEPTH} folders deep")
    segments = [_cleaned(segment) if len(segment) <= MAX_CHARACTERS else segment for segment in given]
    cleaned = "/".join(segment for segment in segments if segment)
    for segment in segments:
        if len(segment.encode()) > MAX_BYTES:
            raise InvalidName(f"Invalid folder: {shown(segment)!r} is longer than {MAX_BYTES} bytes")
    if folder and not cleaned:
        raise InvalidName(f"Invalid folder after sanitization: nothing is left of {folder!r}")
    return cleaned


def check_basename(basename: str) -> str:
    """Check a basename that a hook returned, and return it, shortened if it is too long.

    Hooks may return names that :func:`clean_filename` would change, so they are not cleaned again.

    :raises InvalidName: it is empty, is hidden, is a path, or contains control characters.
    """
    basename = cut(basename)
    if not basename.strip(_ENDS):
        raise InvalidName(f"Invalid filename after sanitization: nothing is left of {basename!r}")
    if "/" in basename or "\\" in basename:
        raise InvalidName(f"Security: Path traversal attempt detected in the file name {basename!r}")
    if basename.startswith(".") or _has_controls(basename):
        raise InvalidName(
            f"Invalid filename after sanitization: {basename!r} starts with a dot or holds control characters"
        )
    return basename


def basename_in(folder_path: str, answer: str) -> str:
    """Return the basename that a ``resolve_conflict`` hook chose.

    :param folder_path: the path or URL of the folder that was passed to the hook.
    :param answer: the value that the hook returned: a basename, or a path in that folder.
    """
    head, tail = os.path.split(answer)
    return tail if head and os.path.normpath(head) == os.path.normpath(folder_path) else answer


def _has_controls(name: str) -> bool:
    if _without_stray_joiners(name) != name:
        return True
    return _holds(name.replace("\u200c", "").replace("\u200d", ""), "Cc", "Cf", "Cs")


def _holds(name: str, *categories: str) -> bool:
    if name.isascii():
        return not name.isprintable()  # the unprintable ASCII characters are the controls (Cc)
    return any(unicodedata.category(character) in categories for character in name)


def check_stored(filename: str, folder: str | None = None) -> str:
    """Return a stored name in its normal form, without empty segments and ``.``.

    :param filename: the name, with or without folders.
    :param folder: the folder, if it is not in the name.
    :raises InvalidName: the name is empty, points outside the set, or contains control characters.
    """
    whole = posixpath.join(folder, filename) if folder else filename
    segments = [segment for segment in whole.split("/") if segment not in ("", ".")]
    if whole.startswith("/") or filename.startswith("/") or ".." in segments or "\\" in whole:
        raise InvalidName(f"Security: Path traversal attempt detected in {whole!r}")
    if not segments or filename.endswith("/") or _holds(whole, "Cc", "Cs"):
        raise InvalidName(f"{whole!r} does not name a file")
    return "/".join(segments)


def is_stored(name: str) -> bool:
    """Return True if a set shows a file or folder that was found in its destination under this name."""
    try:
        return check_stored(name) == name and not is_hidden(name)
    except InvalidName:
        return False


def is_hidden(stored: str) -> bool:
    """Return True if a set hides a stored name: a segment starts with a dot (as in staged files), or it is too deep."""
    return stored.count("/") > MAX_DEPTH or any(segment.startswith(".") for segment in stored.split("/"))


def cut(basename: str, room: int = MAX_BYTES - SUFFIX_BYTES, suffix: str = "") -> str:
    """Insert a suffix between the stem and the extension, and shorten the stem until the whole name fits.

    :param room: the maximum length of the result in bytes of UTF-8.
    :param suffix: the text to insert.
    """
    if not suffix and len(basename) * 4 <= room:  # a character has at most 4 bytes (RFC 3629)
        return basename
    stem, ext = os.path.splitext(basename)
    if len(ext.encode()) > MAX_EXTENSION_BYTES:
        stem, ext = basename, ""
    left = room - len((suffix + ext).encode())
    if len(stem.encode()) > left:
        stem = _shortened(stem, left).rstrip(_ENDS)
    return stem + suffix + ext


def _shortened(text: str, size: int) -> str:
    """Return the longest prefix that has at most ``size`` bytes and does not separate a mark from its letter."""
    head = text.encode()[:size].decode(errors="ignore")
    end = len(head)
    while end > 1 and end < len(text) and unicodedata.category(text[end])[0] == "M":
        end -= 1
    return text[:end]


def numbered(basename: str, number: int) -> str:
    """Return the basename for the n-th conflicting name: ``numbered("a.tar.gz", 1)`` is ``a.tar_1.gz``."""
    return cut(basename, MAX_BYTES, f"_{number}")


def free_number(taken: Callable[[int], bool], above: int = 0) -> int:
    """Return a free number in O(log n) look-ups.

    Doubling the step finds a free number. Bisection then finds a free number that follows a taken one.

    :param taken: returns True if a number is taken.
    :param above: the result is larger than this number.
    """
    low, step = above, 1
    while taken(low + step):
        low, step = low + step, step * 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        if taken(middle):
            low = middle
        else:
            high = middle
    return high
