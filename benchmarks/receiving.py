"""Uploads end to end: this library against what Quart does by itself, side by side in one run.

    python benchmarks/receiving.py [--quick]

Each system runs under uvicorn in a process of its own. Rounds take turns, so that a noisy machine shows as spread and
not as a winner. Wall time is that of this client, CPU seconds are those of the server's process. The stock app uses
Quart's ``request.files`` and ``FileStorage.save``; ``drop`` parses the form and drops the file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

MIB = 1 << 20
BOUNDARY = "benchmark-boundary"
SYSTEMS = ["quart_uploads", "stock save", "stock drop"]


def make_app() -> object:
    """The app that the server process runs, as the environment says."""
    from quart import Quart, request

    import quart_uploads

    system, destination = os.environ["SYSTEM"], os.environ["DESTINATION"]
    app = Quart("benchmark")
    app.config.update(UPLOADED_FILES_DEST=destination, MAX_CONTENT_LENGTH=None)
    files = quart_uploads.UploadSet("files", quart_uploads.ALL)
    if system == "quart_uploads":
        quart_uploads.configure_uploads(app, files)

    @app.get("/ping")
    async def ping() -> str:
        return "pong"

    @app.post("/sleep")
    async def sleep() -> str:
        await asyncio.sleep(3)
        return str(len(await request.files))

    counter = iter(range(10**9))

    @app.post("/")
    async def upload() -> str:
        file = (await request.files)["file"]
        if system == "quart_uploads":
            name = await files.save(file, name=f"{next(counter)}.bin")
            os.unlink(os.path.join(destination, name))
        elif system == "stock save":
            path = os.path.join(destination, f"{next(counter)}.bin")
            await file.save(path)
            os.unlink(path)
        return "saved"

    return app


class Server:
    """A server process, and what it used."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=120)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def serving(system: str, destination: str) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "--factory", "receiving:make_app"),
            *("--port", str(port), "--log-level", "error"),
        ],
        cwd=Path(__file__).parent,
        env={**os.environ, "SYSTEM": system, "DESTINATION": destination, "PYTHONPATH": str(Path(__file__).parent)},
    )
    server = Server(process, port)
    try:
        for _ in range(200):
            try:
                server.connect().close()
                break
            except OSError:
                time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait()


def request(size: int, path: str = "/") -> tuple[bytes, bytes]:
    """The start of a request with one file, and its end; the file's bytes belong in between."""
    start = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'.encode()
    end = f"\r\n--{BOUNDARY}--\r\n".encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(start) + size + len(end)}\r\n\r\n"
    ).encode()
    return head + start, end


def receive(connection: socket.socket) -> None:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65_536)
    length = int(answer.lower().partition(b"content-length:")[2].split()[0])
    while len(answer.partition(b"\r\n\r\n")[2]) < length:
        answer += connection.recv(65_536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer[:500].decode(errors="replace"))


def upload(connection: socket.socket, size: int, content: bytes, path: str = "/") -> None:
    start, end = request(size, path)
    if size <= len(content):
        connection.sendall(start + content[:size] + end)
    else:
        connection.sendall(start)
        for _ in range(size // len(content)):
            connection.sendall(content)
        connection.sendall(end)
    receive(connection)


def throughput(server: Server, size: int, count: int) -> tuple[float, float]:
    """Seconds of wall and of server CPU for uploads one after the other."""
    content = os.urandom(min(size, MIB))
    with server.connect() as connection:
        upload(connection, size, content)
        wall, cpu = time.perf_counter(), server.cpu()
        for _ in range(count):
            upload(connection, size, content)
        return time.perf_counter() - wall, server.cpu() - cpu


def memory_of_a_sleeping_view(server: Server, size: int) -> int:
    """How the server grows while a client sends to a view that sleeps 3 seconds first."""
    content = os.urandom(MIB)
    upload(server.connect(), 8 * MIB, content)
    before, peak = server.memory(), 0
    with ThreadPoolExecutor(1) as pool, server.connect() as connection:
        sent = pool.submit(upload, connection, size, content, "/sleep")
        while not sent.done():
            peak = max(peak, server.memory())
            time.sleep(0.02)
        sent.result()
    return peak - before


def memory_of_half_sent_uploads(server: Server, count: int) -> int:
    """How the server grows by uploads of which 490 KiB were sent, and no more comes."""
    before = server.memory()
    content = os.urandom(490 << 10)
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(server.connect())
            connection.sendall(request(MIB)[0] + content)
        time.sleep(3)
        return server.memory() - before


def pings_under_load(server: Server, clients: int, size: int) -> list[float]:
    """Seconds that each ``/ping`` took while clients upload."""
    content = os.urandom(MIB)
    seconds = []
    with ThreadPoolExecutor(clients) as pool, server.connect() as connection:
        uploads = [pool.submit(upload, server.connect(), size, content) for _ in range(clients)]
        while not all(each.done() for each in uploads):
            start = time.perf_counter()
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            receive(connection)
            seconds.append(time.perf_counter() - start)
            time.sleep(0.01)
        for each in uploads:
            each.result()
    return sorted(seconds)


def save_of_a_staged_file(directory: str, size: int) -> float:
    """Seconds that ``save`` takes for a file that was staged while it arrived; the median of several."""
    from werkzeug.datastructures import Headers

    from quart_uploads import ALL, UploadConfiguration, UploadSet
    from quart_uploads.forms import PartHead
    from quart_uploads.reader import ReceivedFile
    from quart_uploads.storage import LocalStorage, Spool

    files = UploadSet("files", ALL)
    files._config = UploadConfiguration(directory)
    content = os.urandom(MIB)

    async def save() -> float:
        spool = Spool(LocalStorage(directory))
        for _ in range(size // MIB):
            spool.add([content])
            spool.flush()
        upload = ReceivedFile(spool, PartHead("file", "a.bin", "", Headers()))
        start = time.perf_counter()
        name = await files.save(upload)
        seconds = time.perf_counter() - start
        upload.close()
        os.unlink(os.path.join(directory, name))
        return seconds

    async def median() -> float:
        await save()
        return statistics.median([await save() for _ in range(7)])

    return asyncio.run(median())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    parser.add_argument("--destination", default="/dev/shm", help="a directory; on tmpfs the disk is not the subject")
    options = parser.parse_args()
    rounds = 3 if options.quick else 7
    large = 100 * MIB
    with tempfile.TemporaryDirectory(dir=options.destination) as directory, ExitStack() as stack:
        servers = {}
        for system in SYSTEMS:
            destination = os.path.join(directory, system.replace(" ", "-"))
            os.mkdir(destination)
            servers[system] = stack.enter_context(serving(system, destination))
        results: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for size, count in ((large, 3), (4096, 400)):
                for system, server in servers.items():
                    if size == large and system == "stock drop":
                        continue
                    results.setdefault((system, size), []).append(throughput(server, size, count))
        print("\n100 MiB uploads        MiB/s (min..max)        CPU s/GiB")
        for system in SYSTEMS[:2]:
            runs = results[system, large]
            speeds = sorted(300 / wall for wall, _ in runs)
            cpu = statistics.median(cpu / 300 * 1024 for _, cpu in runs)
            print(f"{system:20} {statistics.median(speeds):7.0f} ({speeds[0]:.0f}..{speeds[-1]:.0f}) {cpu:16.2f}")
        ours, stock = results["quart_uploads", large], results["stock save", large]
        ratio = statistics.median(theirs[0] / mine[0] for mine, theirs in zip(ours, stock, strict=True))
        print(f"ratio within a round: {ratio:.1f} times stock")
        print("\n4 KiB uploads          requests/s (min..max)")
        for system in SYSTEMS:
            rates = sorted(400 / wall for wall, _ in results[system, 4096])
            print(f"{system:20} {statistics.median(rates):7.0f} ({rates[0]:.0f}..{rates[-1]:.0f})")
        for other in SYSTEMS[1:]:
            pairs = zip(results["quart_uploads", 4096], results[other, 4096], strict=True)
            print(f"ratio within a round: {statistics.median(o[0] / m[0] for m, o in pairs):.2f} of {other}")
        size = 256 * MIB if options.quick else 1024 * MIB
        for system in SYSTEMS[:2]:
            if system != "quart_uploads" and options.quick:
                continue
            server = servers[system]
            grown = memory_of_a_sleeping_view(server, size) / MIB
            print(f"\n{system}: a view that sleeps first, {size // MIB} MiB sent: grows by {grown:.0f} MiB")
            seconds = pings_under_load(server, 10, large)
            p99 = seconds[int(len(seconds) * 0.99)]
            milliseconds = f"p99 {p99 * 1e3:.0f} ms, max {seconds[-1] * 1e3:.0f} ms"
            print(f"{system}: /ping while 10 clients upload 100 MiB: {milliseconds}")
    with tempfile.TemporaryDirectory(dir=options.destination) as directory:
        small, large = (
            save_of_a_staged_file(directory, size) for size in (MIB, 256 * MIB if options.quick else 1024 * MIB)
        )
        print(f"save() of a staged file: {small * 1e6:.0f} us for 1 MiB, {large * 1e6:.0f} us for the largest")
    for system in SYSTEMS[:2]:
        with tempfile.TemporaryDirectory(dir=options.destination) as directory, serving(system, directory) as server:
            grown = memory_of_half_sent_uploads(server, 500) / MIB
            print(f"{system}: 500 half-sent uploads of 490 KiB: grows by {grown:.0f} MiB")


if __name__ == "__main__":
    main()
