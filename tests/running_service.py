"""A service to talk to: the real command in a process, or an application in a thread."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_experiment import program

from pareto_rec.serve.limits import Limits
from pareto_rec.serve.server import Server
from pareto_rec.serve.state import ServiceState

HOST = "127.0.0.1"
QUICK_END = Limits(drain_seconds=0.0)
PATIENCE = 300.0  # seconds until a service that does not start is given up


@dataclass(frozen=True)
class Answered:
    """Status, headers in lower case and content of an answer."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def content(self) -> Any:  # JSON
        return json.loads(self.text)


@dataclass(frozen=True)
class Client:
    """Asks over HTTP, a connection for each request."""

    port: int

    def ask(
        self, method: str, path: str, body: object = None, *, raw: bytes | None = None,
        kind: str | None = "application/json", headers: Mapping[str, str] | None = None,
    ) -> Answered:  # fmt: skip
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            data = raw if raw is not None else None if body is None else json.dumps(body).encode()
            sent = {"content-type": kind} if kind and data is not None else {}
            connection.request(method, path, data, {**sent, **(headers or {})})
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, headers, answer.read().decode())
        finally:
            connection.close()

    def recommend(self, **asked: object) -> Answered:
        return self.ask("POST", "/recommend", asked)

    def health(self) -> Any:  # JSON
        return self.ask("GET", "/health").content


@dataclass(frozen=True)
class Service:
    """The command `pareto-rec serve`, ready to answer."""

    process: subprocess.Popen[str]
    client: Client

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code, and what it wrote on standard error."""
        self.process.send_signal(how)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@contextmanager
def served(bundle: Path, *options: str | Path, temporary: Path | None = None) -> Iterator[Service]:
    """The service at a free port, ended afterwards if it has not been.

    Its temporary files lie in `temporary`, or a folder of their own: a service says what others
    have left half-written.
    """
    command = program("serve", bundle, "--port", "0", *options)
    own = tempfile.TemporaryDirectory()
    process = subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(temporary or own.name)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        start_new_session=True,  # so that its processes can be ended with it
    )
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        match = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline() if ready else "")
        if match is None:
            process.kill()
            raise AssertionError(process.communicate()[1])
        yield Service(process, Client(int(match[1])))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        own.cleanup()


@contextmanager
def in_thread(
    app: Callable[..., Any],
    limits: Limits = QUICK_END,
    state: ServiceState | None = None,
) -> Iterator[Client]:
    """An application at a free port of this process."""
    state = state or ServiceState()
    server = Server(app, limits, state, host=HOST, port=0, log_level="critical")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + PATIENCE
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield Client(int(server.servers[0].sockets[0].getsockname()[1]))
    finally:
        server.should_exit = True
        thread.join()
