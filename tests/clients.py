"""Clients for the real servers, and checks for files that they leave behind."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from servers import Server

BOUNDARY = "a-boundary"
MIB = 1 << 20


def form(*files: tuple[str, bytes]) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def request(
    server: Server, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        if body is not None:
            headers["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
        connection.request(method, path, body, headers, encode_chunked=not isinstance(body, bytes | None))
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def head(length: int | str, path: str = "/") -> bytes:
    sent = "Transfer-Encoding: chunked" if length == "chunked" else f"Content-Length: {length}"
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n{sent}\r\n\r\n"
    ).encode()


def answer(connection: socket.socket) -> bytes:
    """Return all bytes that the server sends until it closes the connection or sends nothing for a while."""
    connection.settimeout(10)
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            data = connection.recv(65_536)
            if not data:
                break
            received += data
    except (TimeoutError, ConnectionResetError):
        pass
    return received


def status(connection: socket.socket) -> int:
    received = answer(connection)
    return int(received.split()[1]) if received else 0


def staged(server: Server) -> list[str]:
    """Return the files below the server's destination that exist or that its processes have open."""
    directory = str(server.log.with_suffix(""))
    found = [str(path) for path in Path(directory).rglob("*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == server.process.pid:
                links = [os.readlink(link) for link in (process / "fd").iterdir()]
                found += [link for link in links if link.startswith(directory) and not link.endswith(".log")]
        except OSError:
            continue
    return found


def assert_nothing_left(server: Server) -> None:
    """No file and no descriptor, soon, and for good: connections may wait to be accepted."""
    deadline = time.monotonic() + 15
    empty = 0
    while empty < 5:
        left = staged(server)
        assert not left or time.monotonic() < deadline, left
        empty = 0 if left else empty + 1
        assert request(server, "GET", "/ping")[::2] == (200, b"pong")
        time.sleep(0.1)


def memory_of(server: Server) -> int:
    """Return the private memory of the processes of a server in bytes."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == server.process.pid:
                total += int(process.joinpath("statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            continue
    return total
