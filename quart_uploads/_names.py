"""File and folder names: cleaned on the way in, checked on the way out, counted up on conflict.

Everything here is a pure function of strings. A *stored name* is relative to its set's destination
and separated by ``/`` on every platform: ``users/42/photo.jpg``.
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

#: The longest file name that ext4, XFS, btrfs, NTFS and APFS all take, in bytes of UTF-8.
MAX_BYTES = 255
#: Kept free for the suffix that tells namesakes apart, ours or that of an overridden hook.
SUFFIX_BYTES = 16
#: A longer "extension" is not one: it may be cut like the rest of the name.
MAX_EXTENSION_BYTES = 64
#: Folders in folders. Deeper ones are nobody's photos, and too much for tools that recurse.
MAX_DEPTH = 100

#: Characters of a name that are looked at. The rest could be seen only if most before it were dropped.
MAX_CHARACTERS = 4 * MAX_BYTES
#: Marks that one character may carry, as in Stream-Safe text (UAX 15, section 13). To put more in order takes quadratic
#: time, which a client could have the server spend.
MAX_MARKS = 30

#: What a file is called of whose name only the extension is left.
NAMELESS = "file"

_KEPT_PUNCTUATION = frozenset("-_.")
# Letters, marks, numbers and pictures. Left out with all the rest: controls (Cc), and the format
# characters (Cf), among which are those that turn the direction of text.
_KEPT_CATEGORIES = frozenset("LMN")
# What emoji are made of besides pictures and marks: the five colours of skin (Sk), and an arrow (Sm).
_KEPT_EMOJI = frozenset("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff\u2194")
# Two format characters that Persian, the languages of India and emoji are written with: ZERO WIDTH NON-JOINER, JOINER.
_JOINERS = frozenset("\u200c\u200d")
_SEVERAL_JOINERS = re.compile("([\u200c\u200d])[\u200c\u200d]+")
_ENDS = "._ \u200c\u200d"


class StoredName(NamedTuple):
    """A name within a set, in its two parts. ``str()`` joins them."""

    folder: str
    basename: str

    def __str__(self) -> str:
        return posixpath.join(self.folder, self.basename)

    def numbered(self, number: int) -> StoredName:
        """Return the name that the n-th upload of this name gets."""
        return StoredName(self.folder, numbered(self.basename, number))


def clean_basename(filename: str) -> str:
    """Return the name to store a file under that is called so elsewhere, or ``""`` if nothing safe is left of it.

    Of a Windows path, which some clients send, it is the last segment. A client that cannot encode a name may send
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

    ASCII names come out exactly as from :func:`werkzeug.utils.secure_filename`. Others keep their
    letters, in NFC (Unicode Standard Annex 15), under the same rules.
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
    # What was dropped may have kept two characters apart that NFC joins.
    filename = _normal(filename).strip("._")
    return secure_filename(filename) if filename.isascii() else filename


def _normal(name: str) -> str:
    """Return a name in NFC, with no more marks on one character than may be put in order."""
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
    """Return a name without the joiners that join nothing, by which two names would look the same."""
    if _JOINERS.isdisjoint(name):
        return name
    name = _SEVERAL_JOINERS.sub(r"\1", name)
    neighbours = zip("." + name, name, name[1:] + ".", strict=False)
    return "".join(each for before, each, after in neighbours if each not in _JOINERS or _joins(before, after))


def _joins(before: str, after: str) -> bool:
    # One side may be ASCII: in Persian, "PDFs" is PDF, the non-joiner, and the suffix.
    return _KEPT_PUNCTUATION.isdisjoint(before + after) and not (before + after).isascii()


def clean_folder(folder: str) -> str:
    """Return a folder's path with every segment cleaned, nested as it was.

    Unlike file names, none is cut: two folders must not become one.

    :raises InvalidName: nothing is left of a folder that was given, or it is too deep or too long.
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
    """Return a basename that a hook made, shortened if need be, or refuse it.

    Hooks may return names that :func:`clean_filename` would change, so they are not cleaned again.

    :raises InvalidName: it is empty, hidden, no basename, or holds characters that never belong in one.
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
    """Return the name that a hook means: what it answered, or of a path in the folder the last segment.

    :param folder_path: the path or URL of the folder, as the hook was told.
    """
    head, tail = os.path.split(answer)
    return tail if head and os.path.normpath(head) == os.path.normpath(folder_path) else answer


def _has_controls(name: str) -> bool:
    if _without_stray_joiners(name) != name:
        return True
    return _holds(name.replace("\u200c", "").replace("\u200d", ""), "Cc", "Cf", "Cs")


def _holds(name: str, *categories: str) -> bool:
    if name.isascii():
        return not name.isprintable()  # all others of ASCII are controls (Cc)
    return any(unicodedata.category(character) in categories for character in name)


def check_stored(filename: str, folder: str | None = None) -> str:
    """Return the stored name that a caller means, in its plain form.

    :raises InvalidName: it is empty, or points outside the set.
    """
    whole = posixpath.join(folder, filename) if folder else filename
    segments = [segment for segment in whole.split("/") if segment not in ("", ".")]
    if whole.startswith("/") or filename.startswith("/") or ".." in segments or "\\" in whole:
        raise InvalidName(f"Security: Path traversal attempt detected in {whole!r}")
    if not segments or filename.endswith("/") or _holds(whole, "Cc", "Cs"):
        raise InvalidName(f"{whole!r} does not name a file")
    return "/".join(segments)


def is_stored(name: str) -> bool:
    """Return True if a name that was found in a destination is one that a set shows."""
    try:
        return check_stored(name) == name and not is_hidden(name)
    except InvalidName:
        return False


def is_hidden(stored: str) -> bool:
    """Return True if no set shows a stored name: it is a dotfile, such as one being staged, or in too many folders."""
    return stored.count("/") > MAX_DEPTH or any(segment.startswith(".") for segment in stored.split("/"))


def cut(basename: str, room: int = MAX_BYTES - SUFFIX_BYTES, suffix: str = "") -> str:
    """Put a suffix between the stem and the extension and shorten the stem until all fits.

    :param room: the bytes of UTF-8 that the result may have.
    """
    if not suffix and len(basename) * 4 <= room:  # no character has more bytes
        return basename
    stem, ext = os.path.splitext(basename)
    if len(ext.encode()) > MAX_EXTENSION_BYTES:
        stem, ext = basename, ""
    left = room - len((suffix + ext).encode())
    if len(stem.encode()) > left:
        stem = _shortened(stem, left).rstrip(_ENDS)
    return stem + suffix + ext


def _shortened(text: str, size: int) -> str:
    """The longest start of a text that has at most so many bytes and parts no mark from its letter."""
    head = text.encode()[:size].decode(errors="ignore")
    end = len(head)
    while end > 1 and end < len(text) and unicodedata.category(text[end])[0] == "M":
        end -= 1
    return text[:end]


def numbered(basename: str, number: int) -> str:
    """Return the name that the n-th namesake gets: ``numbered("a.tar.gz", 1)`` is ``a.tar_1.gz``."""
    return cut(basename, MAX_BYTES, f"_{number}")


def free_number(taken: Callable[[int], bool], above: int = 0) -> int:
    """Find a number that is not taken, in O(log n) look-ups.

    Doubling the distance finds one that is free, halving it finds one that follows a taken one.

    :param taken: looks one number up.
    :param above: only larger numbers are looked at.
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
