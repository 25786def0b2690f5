"""File name extensions: the presets, and the containers that define which extensions a set allows."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Iterator

#: Plain text.
TEXT: tuple[str, ...] = ("txt",)

#: Office documents and books. The macro-enabled formats of Microsoft Office are left out.
DOCUMENTS: tuple[str, ...] = tuple("rtf odf ods gnumeric abw doc docx xls xlsx pdf odt odp ppt pptx epub md".split())

#: Images that browsers show, and the formats of cameras and phones.
IMAGES: tuple[str, ...] = tuple("jpg jpe jpeg png gif svg bmp webp avif heic heif jxl apng ico tif tiff".split())

#: Audio.
AUDIO: tuple[str, ...] = tuple("wav mp3 aac ogg oga flac m4a opus weba aif aiff mid".split())

#: Video.
VIDEO: tuple[str, ...] = tuple("mp4 webm m4v mov ogv mkv avi mpg mpeg 3gp".split())

#: Structured data.
DATA: tuple[str, ...] = tuple("csv ini json plist xml yaml yml tsv toml jsonl ndjson geojson parquet".split())

#: Scripts. A web server that runs one of these, often PHP, must not run files from the
#: directory of the uploads: see ``UPLOADED_X_DENY``.
SCRIPTS: tuple[str, ...] = tuple("js php pl py rb sh mjs ts lua ps1".split())

#: Archives and compressed files.
ARCHIVES: tuple[str, ...] = tuple("gz bz2 zip tar tgz txz 7z xz zst tbz2 rar".split())

#: Source code of compiled languages.
SOURCE: tuple[str, ...] = tuple(
    "c cpp c++ h hpp h++ cxx hxx hdl ada rs go f for f90 f95 f03 d dd di java hs cs fs cbl cob "
    "asm s cc hh kt swift zig".split()
)

#: Programs and shared libraries, mostly of use with :class:`AllExcept`.
EXECUTABLES: tuple[str, ...] = tuple("so exe dll".split())

#: The extensions that a set allows by default.
DEFAULTS: tuple[str, ...] = TEXT + DOCUMENTS + IMAGES + DATA


class All(Container[str]):
    """A container of every extension, including the empty one. :data:`ALL` is its instance."""

    def __contains__(self, item: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "ALL"


#: Allows every file.
ALL = All()


class AllExcept(Container[str]):
    """A container of every extension except some: ``AllExcept(SCRIPTS + EXECUTABLES)``.

    :param items: the extensions to leave out, as any container or one string.
    """

    def __init__(self, items: Container[str] | Iterable[str]) -> None:
        self.items: Container[str] | Iterable[str] = as_container(items)

    def __contains__(self, item: object) -> bool:
        return not (isinstance(item, str) and holds(self.items, item))

    def __repr__(self) -> str:
        return f"AllExcept({self.items!r})"


def split_extensions(text: str) -> tuple[str, ...]:
    """Split a string of extensions, such as ``"exe dll"`` or ``"exe,dll"``."""
    return tuple(part for part in re.split(r"[\s,;]+", text) if part)


def as_container(extensions: Container[str] | Iterable[str]) -> Container[str] | Iterable[str]:
    """Return extensions as a container that can be searched more than once. A string is split, an iterator is read."""
    if isinstance(extensions, str):
        return split_extensions(extensions)
    return tuple(extensions) if isinstance(extensions, Iterator) else extensions


def holds(container: Container[str] | Iterable[str], ext: str) -> bool:
    """Return True if a container has an extension. Case and a leading dot are ignored.

    :param container: an iterable, or an object that supports ``in``.
    :param ext: the extension.
    """
    ext = _folded(ext)
    if isinstance(container, Container) and ext in container:
        return True
    return isinstance(container, Iterable) and any(_folded(item) == ext for item in container)


def _folded(ext: str) -> str:
    return ext.lower().removeprefix(".")


def extension(filename: str) -> str:
    """Return the extension of a file name, without the dot; ``""`` if there is none."""
    return os.path.splitext(filename)[1].removeprefix(".")


def lowercase_ext(filename: str) -> str:
    """Return a file name with its extension in lower case. The rest is unchanged."""
    stem, ext = os.path.splitext(filename)
    return stem + ext.lower()
