"""An object store for the systems that save into one: SeaweedFS, in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from obstore.store import S3Store

BUCKET = "benchmark"
_KEYS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark", "AWS_REGION": "us-east-1"}
_PORTS = ("master", "volume", "filer", "s3", "admin")


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """Start a store, and yield the environment variables for its S3 clients. Its files are in a temporary directory."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        ports = {name: _free_pair() for name in _PORTS}
        process = subprocess.Popen(
            [
                *(str(Path(sys.executable).with_name("weed")), "mini", f"-dir={directory}", f"-bucket={BUCKET}"),
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-admin.ui=false", "-webdav=false"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.preStopSeconds=0"),
                *(f"-{name}.port={port}" for name, port in ports.items()),
            ],
            cwd=directory,
            env={**os.environ, **_KEYS, "HOME": directory},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        endpoint = f"http://127.0.0.1:{ports['s3']}"
        try:
            _wait(process, f"{endpoint}/healthz")
            yield {**_KEYS, "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def connect(url: str, environment: Mapping[str, str]) -> S3Store:
    """Return a client for a folder in a store.

    :param url: ``s3://bucket/folder``.
    :param environment: the environment variables from :func:`engine`.
    """
    return S3Store.from_url(
        url,
        endpoint=environment["AWS_ENDPOINT_URL"],
        access_key_id=environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region=environment["AWS_REGION"],
        client_options={"allow_http": True},
    )


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        with suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            time.sleep(1)  # the bucket is only made after this check succeeds
            return
        time.sleep(0.1)
    raise RuntimeError("The object store did not start")


def _free_pair() -> int:
    """Return a free port. The port 10,000 above it, which SeaweedFS uses for gRPC, is free, too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 10_000))
                return port
