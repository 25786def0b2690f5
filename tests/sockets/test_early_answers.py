"""Answers that come before the client has sent its request, on real servers and clients."""

from __future__ import annotations

import os
import select
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
from clients import MIB, memory_of
from servers import QUART, Server, running

pytestmark = pytest.mark.slow

#: Servers that speak HTTP/2 too.
HTTP2 = ["hypercorn", "granian"]
UPLOAD = 24 * MIB


@pytest.fixture(scope="module", params=QUART)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(request.param, tmp_path_factory.mktemp(request.param) / "uploads") as server:
        yield server


@pytest.fixture(scope="module", params=HTTP2)
def http2_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(request.param, tmp_path_factory.mktemp(request.param) / "uploads", LIMIT=str(2 << 30)) as server:
        yield server


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "upload.bin"
    with path.open("wb") as file:
        file.truncate(UPLOAD)
    return path


# curl


def curl(server: Server, path: str, upload: Path, *options: str) -> tuple[int, int, int]:
    """Post a file. Return curl's exit code, the status, and the size of the answer."""
    # curl waits for 5 seconds if the answer does not end earlier.
    command = ["curl", "--silent", "--max-time", "4", "--write-out", "%{http_code} %{size_download}", *options]
    command += ["--output", os.devnull, "--form", f"file=@{upload}", f"http://127.0.0.1:{server.port}{path}"]
    done = subprocess.run(command, capture_output=True, check=False)
    status, size = done.stdout.split()
    return done.returncode, int(status), int(size)


ANSWERS = [
    ("/early?status=401&size=10", 401, 10),
    ("/early?status=401&size=3000000", 401, 3_000_000),
    ("/early?status=200&size=10", 200, 10),
    ("/early?status=200&size=3000000", 200, 3_000_000),
    ("/early?status=200&size=30&streamed=1", 200, 30),
    ("/early?status=401&size=30&streamed=1", 401, 30),
    ("/early?status=401&size=0", 401, 0),
]


@pytest.mark.parametrize("sent", ["Content-Length;", "Transfer-Encoding: chunked"], ids=["announced", "chunked"])
@pytest.mark.parametrize(("path", "status", "size"), ANSWERS)
def test_curl_has_the_whole_answer_soon(
    server: Server, upload: Path, path: str, status: int, size: int, sent: str
) -> None:
    options = ["--http1.1"] if sent.endswith(";") else ["--http1.1", "--header", sent]
    assert curl(server, path, upload, *options) == (0, status, size)


# curl stops at an error status. granian then drops the rest of the answer, also without this library.
@pytest.mark.parametrize(
    ("http2_server", "path", "status", "size"),
    [(name, *answer) for name in HTTP2 for answer in ANSWERS if name == "hypercorn" or 200 in answer or 10 in answer],
    indirect=["http2_server"],
)
def test_curl_has_the_whole_answer_soon_over_http2(
    http2_server: Server, upload: Path, path: str, status: int, size: int
) -> None:
    for _ in range(5):
        assert curl(http2_server, path, upload, "--http2-prior-knowledge") == (0, status, size)


def test_curl_is_told_that_it_sends_too_much(server: Server, upload: Path) -> None:
    for options in (["--http1.1"], ["--http1.1", "--header", "Transfer-Encoding: chunked"]):
        code, status, size = curl(server, "/", upload, *options)
        assert (code, status) == (0, 413)
        assert size > 100


def test_curl_is_told_that_it_sends_too_much_over_http2(tmp_path: Path, upload: Path) -> None:
    with running("hypercorn", tmp_path / "uploads") as server:
        code, status, size = curl(server, "/", upload, "--http2-prior-knowledge")
        assert (code, status) == (0, 413)
        assert size > 100


# Clients that read when they have sent all


def posting(path: str, size: int | None) -> bytes:
    sent = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n{sent}\r\n\r\n".encode()


def receive_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer that has a Content-Length. The status is 0 if the server has closed the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        try:
            data = connection.recv(65_536)
        except ConnectionResetError:
            data = b""
        if not data:
            return 0, received
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < length and (data := connection.recv(65_536)):
        body += data
    return int(head.split()[1]), body


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
@pytest.mark.parametrize("size", [10, 8_000_000])
def test_a_client_that_reads_only_when_it_has_sent_all_gets_the_answer_and_may_ask_again(
    server: Server, size: int, chunked: bool
) -> None:
    body = b"x" * UPLOAD
    if chunked:
        body = b"".join(b"100000\r\n" + b"x" * MIB + b"\r\n" for _ in range(UPLOAD // MIB)) + b"0\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(posting(f"/early?status=401&size={size}", None if chunked else UPLOAD) + body)
        assert receive_answer(connection) == (401, b"0123456789" * (size // 10))
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert receive_answer(connection) == (200, b"pong")


def test_what_comes_late_of_an_upload_is_never_taken_for_a_request(server: Server) -> None:
    """A client that stops sending gets the end of the answer, and may continue then."""
    late = b"GET /early HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000
    with server.connect() as connection:
        connection.sendall(posting("/early?status=401&size=10", MIB + len(late)) + b"x" * MIB)
        assert receive_answer(connection) == (401, b"0123456789")
        try:
            connection.sendall(late)
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = receive_answer(connection)
        except (BrokenPipeError, ConnectionResetError):
            answer = (0, b"")
        assert answer in [(0, b""), (200, b"pong")]
    with server.connect() as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert receive_answer(connection) == (200, b"pong")


# HTTP/2 by hand


@dataclass
class Stream:
    """What a stream has received."""

    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False


class Http2Client:
    """An HTTP/2 connection with the smallest windows."""

    def __init__(self, server: Server) -> None:
        self._socket = server.connect()
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        self._streams: dict[int, Stream] = {}

    def close(self) -> None:
        self._socket.close()

    def ask(self, method: str, path: str) -> int:
        number: int = self._h2.get_next_available_stream_id()
        headers = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "x")]
        self._h2.send_headers(number, headers, end_stream=method == "GET")
        self._streams[number] = Stream()
        self._flush()
        return number

    def send(self, number: int, size: int, patience: float) -> int:
        """Send a body. Return the bytes sent until the server accepted nothing for ``patience`` seconds."""
        left = size
        while left:
            window = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, left)
            if window:
                left -= window
                self._h2.send_data(number, bytes(window), end_stream=not left)
                self._flush()
            if not self._receive(0 if window else patience) and not window:
                break
        return size - left

    def answer(self, number: int, patience: float = 20) -> Stream:
        """Return the answer of a stream, complete or as far as it was received."""
        while not self._streams[number].ended and self._receive(patience):
            pass
        return self._streams[number]

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def _receive(self, patience: float) -> bool:
        if not select.select([self._socket], [], [], patience)[0]:
            return False
        data = self._socket.recv(65_536)
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self._streams[event.stream_id].status = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self._streams[event.stream_id].body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                self._streams[event.stream_id].ended = True
        self._flush()
        return bool(data)


@pytest.fixture
def http2_client(http2_server: Server) -> Iterator[Http2Client]:
    client = Http2Client(http2_server)
    yield client
    client.close()


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("status", [200, 401])
def test_an_early_answer_leaves_the_other_requests_of_its_http2_connection_alone(
    http2_client: Http2Client, status: int, size: int
) -> None:
    number = http2_client.ask("POST", f"/early?status={status}&size={size}")
    assert http2_client.send(number, UPLOAD, patience=20) == UPLOAD
    answer = http2_client.answer(number)
    assert (answer.status, len(answer.body), answer.ended) == (status, size, True)
    assert http2_client.answer(http2_client.ask("GET", "/ping")).body == b"pong"


def test_an_early_refusal_is_complete_before_the_client_has_sent_more(http2_client: Http2Client) -> None:
    number = http2_client.ask("POST", "/early?status=401&size=3000000")
    http2_client.send(number, 1, patience=0)
    answer = http2_client.answer(number)
    assert (answer.status, len(answer.body), answer.ended) == (401, 3_000_000, True)


def test_an_upload_that_its_view_does_not_read_yet_takes_little_memory_over_http2(
    http2_server: Server, http2_client: Http2Client
) -> None:
    http2_client.answer(http2_client.ask("GET", "/ping"))
    before = memory_of(http2_server)
    number = http2_client.ask("POST", "/asleep?seconds=4")
    sent = http2_client.send(number, 200 * MIB, patience=1)
    grown = memory_of(http2_server) - before
    assert sent < 8 * MIB, "the client has to wait"
    assert grown < 16 * MIB, f"{grown / MIB:.1f} MiB"


def test_a_server_with_a_window_for_each_stream_answers_others_while_an_upload_waits(tmp_path: Path) -> None:
    with running("granian", tmp_path / "uploads", LIMIT=str(2 << 30)) as server:
        client = Http2Client(server)
        upload = client.ask("POST", "/asleep?seconds=600")
        client.send(upload, 200 * MIB, patience=1)
        ping = client.answer(client.ask("GET", "/ping"))
        assert ping.body == b"pong"
        assert not client.answer(upload, patience=0).status
        client.close()


def test_an_http2_upload_that_has_waited_arrives_whole(http2_client: Http2Client) -> None:
    number = http2_client.ask("POST", "/whole?seconds=1")
    assert http2_client.send(number, UPLOAD, patience=20) == UPLOAD
    assert bytes(http2_client.answer(number).body).strip() == b'{"size":%d}' % UPLOAD
