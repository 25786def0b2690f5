"""File names and sizes in messages, in a form that people can read."""

from __future__ import annotations

import unicodedata

# Characters that are shown of the start and the end of a long name.
_START, _END = 80, 20
_DECIMAL = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
_BINARY = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def shown(filename: str) -> str:
    """Return the name that a client sent, in a form that is safe for a page or a log.

    A Windows path is reduced to its last segment. A long name is shortened in the middle. Spaces of other kinds become
    a plain space, and other characters that cannot be printed become U+FFFD.
    """
    text = filename.rpartition("\\")[2] or filename
    if len(text) > _START + _END:
        text = f"{text[:_START]}\N{HORIZONTAL ELLIPSIS}{text[-_END:]}"
    return "".join(map(_shown_character, text))


def _shown_character(character: str) -> str:
    if character.isprintable() or character in "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}":
        return character
    # macOS puts a narrow no-break space into the names of screenshots.
    return " " if unicodedata.category(character) == "Zs" else "\N{REPLACEMENT CHARACTER}"


def readable_size(size: int) -> str:
    """Return a size in the unit in which it needs at most two decimals, or else rounded down.

    Rounding down keeps messages true: a file that is larger than a limit is also larger than the limit as shown.

    :param size: the size in bytes.
    """
    if size < 1000:
        return f"{size} byte" if size == 1 else f"{size} bytes"
    for units in (_DECIMAL, _BINARY):
        unit, factor = next((each for each in units if each[1] <= size), units[-1])
        hundredths, rest = divmod(size * 100, factor)
        if not rest:
            break
    else:
        unit, factor = next(each for each in _DECIMAL if each[1] <= size)
        hundredths = size * 100 // factor
    return f"{hundredths // 100}{f'.{hundredths % 100:02}'.rstrip('0').rstrip('.')} {unit}"
