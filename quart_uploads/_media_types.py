"""Content types: which one a name has, and whether a browser would run what is in it."""

from __future__ import annotations

import mimetypes
import os

DEFAULT_TYPE = "application/octet-stream"

# Only the table that Python ships: what /etc/mime.types adds differs from host to host.
_TYPES: dict[str, str] = {
    **mimetypes.MimeTypes().types_map[True],
    ".7z": "application/x-7z-compressed",
    ".aac": "audio/aac",
    ".apng": "image/apng",
    ".avif": "image/avif",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".ico": "image/vnd.microsoft.icon",
    ".jxl": "image/jxl",
    ".m4a": "audio/mp4",
    ".m4v": "video/x-m4v",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".rar": "application/vnd.rar",
    ".rtf": "application/rtf",
    ".toml": "application/toml",
    ".ts": "text/plain",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    # A compressed page is sent as what it is. Sent as text/html with an encoding it would be a page again.
    ".br": "application/x-brotli",
    ".bz2": "application/x-bzip2",
    ".gz": "application/gzip",
    ".svgz": "application/gzip",
    ".tbz2": "application/x-bzip2",
    ".tgz": "application/gzip",
    ".txz": "application/x-xz",
    ".xz": "application/x-xz",
    ".z": "application/x-compress",
    ".zst": "application/zstd",
}

_INERT_KINDS = frozenset({"audio", "font", "image", "video"})
_INERT_TYPES = frozenset(
    {
        DEFAULT_TYPE,
        "application/gzip",
        "application/json",
        "application/pdf",
        "application/zip",
        "text/csv",
        "text/plain",
    }
)

# "nosniff" makes browsers refuse a script that is not called one, be it in <script>, in a worker or imported.
_SCRIPTS = frozenset({"application/javascript", "text/javascript"})


def content_type(name: str) -> str:
    """Return the media type that a file's name stands for, without parameters."""
    return _TYPES.get(os.path.splitext(name)[1].lower(), DEFAULT_TYPE)


def is_active(media_type: str) -> bool:
    """Tell whether a browser may run code in a file of this type. What is not known to be inert may."""
    if media_type == "image/svg+xml":
        return True
    return media_type.partition("/")[0] not in _INERT_KINDS and media_type not in _INERT_TYPES


def sent_type(media_type: str) -> str:
    """Return the ``Content-Type`` to send a file of this type with: no script is called one, and text is UTF-8."""
    if media_type in _SCRIPTS:
        media_type = "text/plain"
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
