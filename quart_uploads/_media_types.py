"""Content types: the type of a name, and whether a browser may run code in a file of that type."""

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
    # A compressed page is sent as a compressed file. As text/html with an encoding, a browser would open the page.
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

# With "nosniff", browsers refuse to run a script that is sent as another type: in <script>, in a worker, or imported.
_SCRIPTS = frozenset({"application/javascript", "text/javascript"})


def content_type(name: str) -> str:
    """Return the media type of a file by its name, without parameters."""
    return _TYPES.get(os.path.splitext(name)[1].lower(), DEFAULT_TYPE)


def is_active(media_type: str) -> bool:
    """Return True if a browser may run code in a file of this type. Unknown types count as active."""
    if media_type == "image/svg+xml":
        return True
    return media_type.partition("/")[0] not in _INERT_KINDS and media_type not in _INERT_TYPES


def sent_type(media_type: str) -> str:
    """Return the ``Content-Type`` to send for a media type. A script is sent as plain text, and text as UTF-8."""
    if media_type in _SCRIPTS:
        media_type = "text/plain"
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
