"""File and folder names: cleaned on the way in, checked on the way out, counted up on conflict.

Everything here is a pure function of strings. A *stored name* is relative to its set's destination
and separated by ``/`` on every platform: ``users/42/photo.jpg``.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from werkzeug.utils import secure_filename

from .exceptions import InvalidName

#: The longest file name that ext4, XFS, btrfs, NTFS and APFS all take, in bytes of UTF-8.
MAX_BYTES = 255
#: Kept free for the suffix that tells namesakes apart, ours or that of an overridden hook.
SUFFIX_BYTES = 16
#: A longer "extension" is not one: it may be cut like the rest of the name.
MAX_EXTENSION_BYTES = 64
#: Folders in folders. Deeper ones are nobody's photos, and too much for tools that recurse.
MAX_DEPTH = 100

_KEPT_PUNCTUATION = frozenset("-_.")
# Letters, marks, numbers and pictures. Left out with all the rest: controls (Cc), and the format
# characters (Cf), among which are those that turn the direction of text.
_KEPT_CATEGORIES = frozenset("LMN")


class StoredName(NamedTuple):
    """A name within a set, in its two parts. ``str()`` joins them."""

    folder: str
    basename: str

    def __str__(self) -> str:
        return posixpath.join(self.folder, self.basename)


def clean_filename(filename: str) -> str:
    """Return a name that is safe to store, or ``""`` if nothing safe is left of it.

    ASCII names come out exactly as from :func:`werkzeug.utils.secure_filename`. Others keep their
    letters, in NFC (Unicode Standard Annex 15), under the same rules.
    """
    if filename.isascii():
        return cut(secure_filename(filename))
    filename = unicodedata.normalize("NFC", filename).replace("/", " ")
    filename = "_".join(filename.split())
    filename = "".join(character for character in filename if _kept(character))
    # What was dropped may have kept two characters apart that NFC joins.
    filename = unicodedata.normalize("NFC", filename).strip("._")
    return secure_filename(filename) if filename.isascii() else cut(filename)


def _kept(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _KEPT_PUNCTUATION
    category = unicodedata.category(character)
    return category[0] in _KEPT_CATEGORIES or category == "So"


def clean_folder(folder: str) -> str:
    """Return a folder's path with every segment cleaned, nested as it was.

    :raises InvalidName: nothing is left of a folder that was given.
    """
    segments = [clean_filename(segment) for segment in folder.split("/")]
    cleaned = "/".join(segment for segment in segments if segment)
    if len(segments) > MAX_DEPTH:
        raise InvalidName(f"Invalid folder: it is more than {MAX_DEPTH} folders deep")
    if folder and not cleaned:
        raise InvalidName(f"Invalid folder after sanitization: nothing is left of {folder!r}")
    return cleaned


def check_basename(basename: str) -> str:
    """Return a basename that a hook made, shortened if need be, or refuse it.

    Hooks may return names that :func:`clean_filename` would change, so they are not cleaned again.

    :raises InvalidName: it is empty, hidden, no basename, or holds characters that never belong in one.
    """
    basename = cut(basename)
    if not basename.strip("._ "):
        raise InvalidName(f"Invalid filename after sanitization: nothing is left of {basename!r}")
    if "/" in basename or "\\" in basename:
        raise InvalidName(f"Security: Path traversal attempt detected in the file name {basename!r}")
    if basename.startswith(".") or _has_controls(basename):
        raise InvalidName(
            f"Invalid filename after sanitization: {basename!r} starts with a dot or holds control characters"
        )
    return basename


def _has_controls(name: str) -> bool:
    if name.isascii():
        return not name.isprintable()
    return any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in name)


def check_stored(filename: str, folder: str | None = None) -> str:
    """Return the stored name that a caller means, in its plain form.

    :raises InvalidName: it is empty, or points outside the set.
    """
    whole = posixpath.join(folder, filename) if folder else filename
    segments = [segment for segment in whole.split("/") if segment not in ("", ".")]
    if whole.startswith("/") or filename.startswith("/") or ".." in segments or "\\" in whole:
        raise InvalidName(f"Security: Path traversal attempt detected in {whole!r}")
    if not segments or filename.endswith("/") or any(unicodedata.category(c) in ("Cc", "Cs") for c in whole):
        raise InvalidName(f"{whole!r} does not name a file")
    return "/".join(segments)


def is_stored(name: str) -> bool:
    """Tell whether a name that was found in a destination is one that a set shows."""
    try:
        return check_stored(name) == name and not is_hidden(name)
    except InvalidName:
        return False


def is_hidden(stored: str) -> bool:
    """Tell whether a stored name is one that no set shows: a dotfile, such as a file being staged."""
    return any(segment.startswith(".") for segment in stored.split("/"))


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
        stem = _shortened(stem, left).rstrip("._ ")
    return stem + suffix + ext


def _shortened(text: str, size: int) -> str:
    """The longest start of a text that has at most so many bytes and parts no mark from its letter."""
    head = text.encode()[:size].decode(errors="ignore")
    end = len(head)
    while end > 1 and end < len(text) and unicodedata.combining(text[end]):
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
