"""Commands that begin with everything imported: forks of a process that does nothing but import.

Importing takes a command three seconds of processor time, and tests run a hundred. The process has
run no computation, so that a fork of it lacks no thread; what the fork does is that of
`python -m pareto_rec`, with the standard streams, environment and folder of its caller. What an
interpreter reads as it starts (PYTHONPATH, the number of threads) is that of the process: a command
with others needs a process of its own.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

PACKAGE = "pareto_rec"
LEFT_OUT = ("pareto_rec.__main__", "pareto_rec.testing")
ELSEWHERE = (  # what commands import when they need it
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("pymoo.algorithms.moo.nsga2", "pandas", "pyarrow.parquet", "sklearn.gaussian_process"),
    *("transformers.models.bert.modeling_bert", "transformers.models.auto", "tokenizers"),
)
LONGEST = 200_000  # bytes of a request


class WarmCommand:
    """A command that has begun; used like `subprocess.Popen` with text streams."""

    def __init__(
        self,
        arguments: list[str],
        env: Mapping[str, str],
        *,
        own_session: bool = False,
        output: Path | None = None,
    ) -> None:
        """Begin a command.

        Args:
            arguments: Those after `pareto-rec`.
            env: Its environment.
            own_session: Whether it leads a session of its own, as with a shell's job control.
            output: File for both streams; None keeps them for `communicate`.
        """
        self.args = arguments
        self.returncode: int | None = None
        self._streams = (
            [output.open("w")]  # closed below
            if output
            else [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 # until it is read
        )
        self._said = ["", ""]
        asked = {"arguments": arguments, "env": dict(env), "own_session": own_session}
        request = json.dumps({**asked, "folder": os.getcwd()}).encode()
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.connect(_address())
        numbers = [self._streams[0].fileno(), self._streams[-1].fileno()]
        socket.send_fds(self._connection, [request], numbers)
        self.pid = int(self._connection.recv(100))
        if output:
            self._streams.pop().close()

    def poll(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Exit code once it has ended; raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = int(self._connection.recv(100))
            except TimeoutError:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout) from None
            self._connection.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it wrote on standard output and standard error."""
        self.wait(timeout)
        for place, stream in enumerate(self._streams):
            with stream:
                stream.seek(0)
                self._said[place] = stream.read()
        self._streams = []
        return self._said[0], self._said[1]

    def send_signal(self, number: int) -> None:
        """Send a signal if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def run_warm(
    arguments: list[str], env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; one that takes too long is killed."""
    command = WarmCommand(arguments, env)
    try:
        said = command.communicate(timeout)
    except subprocess.TimeoutExpired:
        command.kill()
        raise
    return subprocess.CompletedProcess(arguments, command.wait(), *said)


@cache
def _address() -> str:
    """Socket of this process's own server, which ends with it."""
    folder = tempfile.TemporaryDirectory(prefix="warm-")
    address = str(Path(folder.name) / "socket")
    command = [sys.executable, __file__, address]
    server = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},  # as commands have it
        start_new_session=True,  # Ctrl-C is for the tests
    )

    def end() -> None:
        server.communicate()  # it ends when its standard input does
        folder.cleanup()

    atexit.register(end)
    assert server.stdout is not None
    assert server.stdout.readline() == b"listening\n"
    return address


def _import_everything() -> None:
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        if not module.name.startswith(LEFT_OUT):
            importlib.import_module(module.name)
    for name in ELSEWHERE:
        importlib.import_module(name)


def _serve(address: str) -> list[str]:
    """Fork for every request; return in forks alone, with the arguments of their command."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        os.write(1, b"listening\n")
        _import_everything()
        gc.freeze()
        while listener in select.select([listener, 0], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                return _begin(connection)
            connection.close()
            while _reap():
                pass
    os._exit(0)


def _reap() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _begin(connection: socket.socket) -> list[str]:
    """Fork once more; the parent tells how the command ended, the child is the command."""
    content, numbers, _, _ = socket.recv_fds(connection, LONGEST, 2)
    asked = json.loads(content)
    pid = os.fork()
    if pid:
        connection.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    connection.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    if asked["own_session"]:
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for own, number in enumerate([nothing, *numbers]):
        os.dup2(number, own)
        os.close(number)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.path[0] = asked["folder"]
    return list(asked["arguments"])


if __name__ == "__main__":
    sys.argv[1:] = _serve(sys.argv[1])
    runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)
