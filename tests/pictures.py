"""Small pictures, made with the standard library."""

from __future__ import annotations

import struct
import zlib


def png(width: int = 32, height: int = 24, colour: tuple[int, int, int] = (42, 107, 94)) -> bytes:
    """Return a PNG of one colour that browsers show."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    rows = (b"\0" + bytes(colour) * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def svg(script: str = "") -> bytes:
    """Return an SVG that runs a script if a browser allows it."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="24">'
        f'<rect width="32" height="24" fill="teal"/><script>{script}</script></svg>'
    ).encode()
