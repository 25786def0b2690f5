"""Who is measured: an app per file in ``apps/``, in an environment of its own, under each server that it names."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import obstore
from engine import BUCKET, connect
from load import MIB
from obstore.store import S3Store

APPS = Path(__file__).parent / "apps"
ENVIRONMENTS = Path(__file__).parent / ".environments"

#: What each server is started with: one worker process, no access log, and connections that stay open.
COMMANDS = {
    "uvicorn": "-m uvicorn {app}:app --port {port} --log-level critical --no-access-log --timeout-keep-alive 90",
    "hypercorn": "-m hypercorn {app}:app --bind 127.0.0.1:{port} --log-level CRITICAL --keep-alive 90",
    "granian": "-m granian {app}:app --interface asgi --host 127.0.0.1 --port {port} --no-log",
    "gunicorn": "-m gunicorn {app}:app --bind 127.0.0.1:{port} --threads 64 --keep-alive 90 --log-level critical",
}
# PEP 723
_METADATA = re.compile(r"^# /// script$\n((?:^#.*$\n)+?)^# ///$", re.MULTILINE)


@dataclass(frozen=True)
class System:
    """One app under one server."""

    app: str
    server: str
    title: str
    #: What pip has to install for it; ``None`` if it runs in the environment of the benchmark itself.
    dependencies: tuple[str, ...] | None = None
    #: Whether it is sent the bytes as they are, where others are sent a form.
    raw: bool = False
    #: Whether it shows what is possible, and is no way to save uploads.
    is_limit: bool = False
    #: Whether it keeps files in an object store.
    engine: bool = False
    #: Whether it keeps what it is sent.
    stores: bool = True
    #: The path below which it serves what it stored; ``None`` if it does not.
    files: str | None = "/files/"

    @property
    def key(self) -> str:
        return f"{self.app}@{self.server}"

    @property
    def python(self) -> str:
        """The interpreter of its environment."""
        if self.dependencies is None:
            return sys.executable
        digest = hashlib.sha256(repr((sys.version_info[:3], sorted(self.dependencies))).encode()).hexdigest()
        return str(ENVIRONMENTS / digest[:12] / "bin" / "python")

    def missing(self) -> str | None:
        """Tell why it cannot be measured here."""
        if self.server == "nginx" and not shutil.which("nginx", path=_PATH):
            return "nginx is not installed"
        return None

    def install(self) -> None:
        """Make its environment, if there is none yet."""
        directory = Path(self.python).parent.parent
        if self.dependencies is None or (directory / "complete").exists():
            return
        print(f"Installing {', '.join(self.dependencies)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", directory], check=True)
        subprocess.run([self.python, "-m", "pip", "install", "--quiet", *self.dependencies], check=True)
        (directory / "complete").touch()

    def versions(self) -> dict[str, str]:
        """The versions of what it runs on."""
        names = [re.split(r"[^\w.-]", name)[0] for name in self.dependencies or ()]
        names += [name for name in (*_FRAMEWORKS, self.server) if name not in names]
        program = (
            "import sys, importlib.metadata as m\n"
            "for n in sys.argv[1:]:\n"
            "    try: print(n, m.version(n))\n"
            "    except m.PackageNotFoundError: pass"
        )
        found = subprocess.run([self.python, "-c", program, *names], capture_output=True, text=True, check=True)
        return dict(line.split() for line in found.stdout.splitlines())


_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
_FRAMEWORKS = ["quart-uploads", "quart", "flask", "werkzeug", "multipart"]


def find_systems(folder: Path = APPS) -> list[System]:
    """Read what there is in a folder of apps."""
    systems = []
    for path in sorted(folder.glob("*.py")):
        metadata = _METADATA.search(path.read_text())
        if metadata is None:
            raise ValueError(f"{path} does not say what it needs: see the other files in its folder")
        script = tomllib.loads(re.sub(r"^# ?", "", metadata[1], flags=re.MULTILINE))
        bench: dict[str, Any] = script["tool"]["bench"]
        dependencies = tuple(script["dependencies"]) if "dependencies" in script else None
        for server in bench["servers"]:
            system = System(
                path.stem,
                server,
                bench["title"],
                dependencies,
                bench.get("body") == "raw",
                bench.get("limit", False),
                bench.get("engine", False),
                bench.get("stores", True),
                bench.get("files", "/files/") if bench.get("serves", True) else None,
            )
            systems.append(system)
    return systems


class Server:
    """A server that runs, with all its processes."""

    def __init__(self, system: System, group: int, port: int, destination: Path, store: S3Store | None) -> None:
        self.system = system
        self.port = port
        self.destination = destination
        self._group = group
        self._store = store

    def stored(self, name: str) -> Iterator[bytes]:
        """Yield what is stored under a name, in pieces.

        :raises OSError: there is nothing.
        """
        if self._store is not None:
            yield from map(bytes, obstore.get(self._store, name))
            return
        with (self.destination / name).open("rb") as file:
            while piece := file.read(MIB):
                yield piece

    def forget_files(self) -> None:
        """Delete all that is stored."""
        for path in self.destination.iterdir():
            path.unlink()
        if self._store is not None:
            for batch in obstore.list(self._store):
                obstore.delete(self._store, [meta["path"] for meta in batch])

    def _processes(self) -> Iterator[Path]:
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                if os.getpgid(int(path.name)) == self._group:
                    yield path

    def cpu(self) -> float:
        """Seconds that its processes ran so far, in the kernel or not."""
        ticks = 0
        for path in self._processes():
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes that its processes have in memory now."""
        return self._memory("VmRSS")

    def peak_memory(self) -> int:
        """Bytes that its processes had in memory at most since :meth:`forget_peak`."""
        return self._memory("VmHWM")

    def _memory(self, field: str) -> int:
        found = [re.search(rf"{field}:\s+(\d+) kB", (path / "status").read_text()) for path in self._processes()]
        return sum(int(match[1]) for match in found if match) * 1024

    def forget_peak(self) -> None:
        """Start :meth:`peak_memory` anew (proc(5), clear_refs)."""
        for path in self._processes():
            (path / "clear_refs").write_text("5")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(system: System, directory: Path, engine: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a system in a directory of its own, wait until it answers, and stop it in the end.

    :param engine: the environment that leads to an object store, if the system needs one.
    """
    destination, temporary, log = directory / "stored", directory / "temporary", directory / "log"
    destination.mkdir(parents=True)
    temporary.mkdir()
    port, upstream = free_port(), free_port()
    environment = {**os.environ, "DESTINATION": str(destination), "TMPDIR": str(temporary), "PATH": _PATH}
    store = None
    if system.engine and engine is not None:
        url = f"s3://{BUCKET}/{directory.name}"
        environment |= {"DESTINATION": url, **engine}
        store = connect(url, engine)
    # Apps are imported from their folder, which is the working directory.
    environment.pop("PYTHONSAFEPATH", None)
    environment["PYTHONPATH"] = str(APPS)
    command = COMMANDS["uvicorn" if system.server == "nginx" else system.server]
    arguments = command.format(app=system.app, port=upstream if system.server == "nginx" else port).split()
    with log.open("wb") as output:

        def start(command: list[str], group: int = 0) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                cwd=APPS,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=group,
            )

        process = start([system.python, *arguments])
        server = Server(system, process.pid, port, destination, store)
        if system.server == "nginx":
            configuration = directory / "nginx.conf"
            values = {"port": port, "upstream_port": upstream, "directory": directory}
            configuration.write_text(Template(_constant(system.app, "NGINX_CONF")).substitute(values))
            start(["nginx", "-c", str(configuration), "-p", str(directory)], process.pid)
    try:
        if not _answers(process, upstream if system.server == "nginx" else port, port):
            raise RuntimeError(f"{system.key} did not start: {log.read_text()[-2000:]}")
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _constant(app: str, name: str) -> str:
    """Read a constant of an app without running it."""
    for node in ast.parse((APPS / f"{app}.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return str(ast.literal_eval(node.value))
    raise ValueError(f"{app} has no {name}")


def _answers(process: subprocess.Popen[bytes], *ports: int) -> bool:
    deadline = time.monotonic() + 30
    for port in ports:
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    return True


def allow_many_files() -> None:
    """Let this process, and the servers that it starts, have as many open files as the system lets them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
