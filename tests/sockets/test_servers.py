"""The promises of uploads and of serving, on real servers and sockets."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import form, request
from conftest import tree
from servers import FLASK, QUART, Server, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[*QUART, *FLASK])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(request.param, tmp_path_factory.mktemp(request.param) / "uploads") as server:
        yield server


@pytest.fixture
def uploads(server: Server) -> Iterator[Path]:
    directory = server.log.with_suffix("")
    yield directory
    for path in directory.iterdir():
        path.unlink()


def test_what_is_uploaded_comes_back_whole(server: Server, uploads: Path) -> None:
    content = os.urandom(3_000_001)
    status, _, body = request(server, "POST", "/", form(("写真.jpg", content), ("写真.jpg", b"small")))
    assert (status, json.loads(body)) == (200, {"names": ["写真.jpg", "写真_1.jpg"]})
    assert tree(uploads) == {"写真.jpg": content, "写真_1.jpg": b"small"}
    url = "/_uploads/files/%E5%86%99%E7%9C%9F.jpg"
    status, headers, body = request(server, "GET", url)
    assert (status, body, headers["content-length"]) == (200, content, "3000001")
    status, head, body = request(server, "HEAD", url)
    assert (status, body) == (200, b"")
    for name in ("content-length", "content-type", "etag", "x-content-type-options"):
        assert head[name] == headers[name]
    status, headers, body = request(server, "GET", url, Range="bytes=-3")
    assert (status, body, headers["content-range"]) == (206, content[-3:], "bytes 2999998-3000000/3000001")
    status, _, body = request(server, "GET", url, Range="bytes=1000000-2999999", **{"If-Range": headers["etag"]})
    assert (status, body) == (206, content[1_000_000:3_000_000])
    assert request(server, "GET", url, **{"If-None-Match": headers["etag"]})[::2] == (304, b"")


def test_a_file_over_its_limit_is_refused_and_all_with_it(server: Server, uploads: Path) -> None:
    status, _, body = request(server, "POST", "/", form(("a.jpg", b"a"), ("b.jpg", b"b" * 9_000_001)))
    assert status == 413
    assert b"b.jpg" in body
    assert tree(uploads) == {}


def test_a_body_over_the_limit_is_refused_announced_or_not(server: Server, uploads: Path) -> None:
    body = form(*((f"{number}.jpg", b"a" * 1_000_000) for number in range(30)))
    chunks = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    for sent in (body, chunks):
        try:
            status = request(server, "POST", "/", sent)[0]
        except (BrokenPipeError, ConnectionResetError):
            continue  # the server answered and closed while this client, which does not listen, went on sending
        assert status == 413
    assert tree(uploads) == {}


def test_a_download_that_is_broken_off_leaves_no_descriptor(server: Server, uploads: Path) -> None:
    (uploads / "large.bin").write_bytes(b"x" * 30_000_000)

    def open_files() -> int:
        count = 0
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.getpgid(int(process.name)) == server.process.pid:
                    links = [os.readlink(link) for link in (process / "fd").iterdir()]
                    count += sum(link.endswith("large.bin") for link in links)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return count

    for _ in range(5):
        with server.connect() as connection:
            connection.sendall(b"GET /_uploads/files/large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 20
    while open_files() and time.monotonic() < deadline:
        request(server, "GET", "/ping")
        time.sleep(0.1)
    assert open_files() == 0
