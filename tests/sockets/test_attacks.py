"""Hostile clients of real servers: other clients are served during and after the attack."""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path

import pytest
from clients import assert_nothing_left, form, request, status
from conftest import tree
from servers import FLASK, QUART, Server, running

pytestmark = pytest.mark.slow

TICK = os.sysconf("SC_CLK_TCK")


def cpu_of(server: Server) -> float:
    """Return the CPU seconds that the processes of a server have used."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == server.process.pid:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return ticks / TICK


def send(server: Server, boundary: bytes, body: bytes, size: int) -> int:
    """Send a form in pieces that reach the app one by one. Return the status."""
    with server.connect() as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary="
            + boundary
            + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        try:
            for start in range(0, len(body), size):
                connection.sendall(body[start : start + size])
                time.sleep(0.0005)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered
        return status(connection)


def file_of(content: bytes, boundary: bytes) -> bytes:
    head = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' % boundary
    return head + content + b"\r\n--%s--\r\n" % boundary


@pytest.fixture(scope="module", params=["uvicorn", "gunicorn"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    with running(request.param, tmp_path_factory.mktemp(request.param) / "uploads") as server:
        yield server


def test_hostile_boundaries_cost_a_server_no_more_than_zeros(server: Server) -> None:
    amount, size = 1 << 20, 1000
    before = cpu_of(server)
    assert send(server, b"b", file_of(bytes(amount), b"b"), size) == 200
    zeros = cpu_of(server) - before
    long = b"-" * 200
    attacks = {
        "a boundary of 6,000 bytes": (b"b" * 6000, file_of(b"\r" * amount, b"b" * 6000), 400),
        "a boundary of 200 bytes": (long, file_of(b"\r\n" * (amount // 2), long), 200),
        "almost boundaries": (long, file_of((b"\r\n--" + long[1:] + b"x") * (amount // 204), long), 200),
        "an epilogue": (b"b", file_of(b"", b"b") + b"\r\n\r\n--b" * (amount // 7), 200),
        "continued headers": (b"b", b"--b\r\nX: x" + b"\r\n x" * (amount // 4), 413),
    }
    for attack, (boundary, body, code) in attacks.items():
        before = cpu_of(server)
        assert send(server, boundary, body, size) == code, attack
        cost = cpu_of(server) - before
        assert cost < 5 * zeros + 5 / TICK, f"{attack}: {cost} s, and {zeros} s for zeros"
    assert request(server, "GET", "/ping")[::2] == (200, b"pong")
    assert set(tree(server.log.with_suffix("")).values()) >= {bytes(amount)}


@pytest.mark.parametrize("name", [*QUART, *FLASK])
def test_dropped_forms_keep_no_descriptor_from_honest_clients(name: str, tmp_path: Path) -> None:
    body = form(*((f"{number}.bin", b"x" * 100_000) for number in range(40)))
    with running(name, tmp_path / "uploads", DESCRIPTORS="256") as server:
        for attempt in range(30):
            with server.connect() as connection:
                head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=a-boundary\r\n"
                connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:-1000])
                if attempt % 2:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for number in range(3):
            deadline = time.monotonic() + 20
            while (code := request(server, "POST", "/", form((f"honest{number}.bin", b"y" * 200_000)))[0]) != 200:
                assert code == 503
                assert time.monotonic() < deadline, "what was dropped was not closed"
        assert set(tree(tmp_path / "uploads").values()) == {b"y" * 200_000}
        for path in (tmp_path / "uploads").iterdir():
            path.unlink()
        assert_nothing_left(server)
